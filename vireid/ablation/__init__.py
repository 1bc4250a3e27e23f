"""Studies: a declarative YAML becomes a plan, runs and linked records."""
