"""Other people's files: their features, their checkpoints, and audits of both."""
