"""Stores behind URLs: a copy here that commands work on, and leases that several machines heed."""
