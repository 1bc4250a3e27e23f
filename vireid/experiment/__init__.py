"""The composition root: a configuration becomes data, model, fit, evaluations, cost and latency records."""
