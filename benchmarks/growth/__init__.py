"""How time grows with records, cells, rows of a gallery and images of an evaluation."""
