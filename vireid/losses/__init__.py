"""Losses: one short file each, functions on tensors with no knowledge of models.

All compute in float32 (or in float64 where that is given), also under autocast, and none loops over samples.
"""
