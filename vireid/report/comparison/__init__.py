"""The report on a study that compares systems, each at its own level of one factor."""
