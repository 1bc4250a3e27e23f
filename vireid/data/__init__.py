"""Datasets, decoded-image cache, augmentation and the identity-balanced cross-modal sampler."""
