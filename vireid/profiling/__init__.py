"""What a model costs: complexity, latency, memory."""
