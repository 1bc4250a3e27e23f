"""How named loss terms become one number."""
