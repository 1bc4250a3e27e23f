"""From records to what reports compare: studies, timings, models that can be deployed, published numbers."""
