"""The loop, optimisers, schedules, stages and checkpoints."""
