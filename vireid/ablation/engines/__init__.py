"""Where planned runs execute: one file per engine."""
