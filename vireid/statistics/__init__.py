"""Intervals, effects and multiple comparisons: the one place where the suite says how sure a number is."""
