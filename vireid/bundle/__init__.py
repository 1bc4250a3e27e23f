"""Bundles: models with everything that measures them on a device without the suite, and the records that come back."""
