"""A page beside a run: ranked lists, hardest queries, people, cameras and similarities."""
