"""Records to tables, figures, statistics and rendered notebooks."""
