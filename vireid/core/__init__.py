"""Types, configuration, identity, records and seeding; imports nothing else of vireid."""
