"""One file per inference runtime."""
