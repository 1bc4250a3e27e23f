"""Operation counters, one file each, and the counting rules that they share."""
