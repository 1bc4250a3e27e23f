"""The loop, optimisers, schedules, stages and checkpoints."""

WEIGHTS = "model.safetensors"  # of a fit, in its directory
