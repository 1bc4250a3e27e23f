"""Trunk, pooling, attention, purifier and one file per system."""
