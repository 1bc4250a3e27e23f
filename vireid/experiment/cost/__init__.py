"""What a run costs: parameters, MACs and latency, of its forward pass and of a whole query."""
