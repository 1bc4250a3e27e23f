"""Runtimes that a deployed model can be measured in, one file each."""
