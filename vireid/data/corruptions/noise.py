"""Noise of the sensor: Gaussian, shot, impulse, speckle; drawn for every channel of every pixel on its own."""

import numpy as np

from vireid.core.types import FloatArray


def gaussian(image: FloatArray, random: np.random.Generator, sigma: float) -> FloatArray:
    """Add normal noise of standard deviation ``sigma`` (H×W×C, 0…1), as in little light."""
    return image + random.normal(0, sigma, image.shape)


def shot(image: FloatArray, random: np.random.Generator, photons: float) -> FloatArray:
    """Draw every value from a Poisson distribution where ``photons`` stand for white."""
    return random.poisson(image * photons) / photons


def impulse(image: FloatArray, random: np.random.Generator, share: float) -> FloatArray:
    """Replace a ``share`` of the values by black or white, half each."""
    replaced = random.random(image.shape) < share
    return np.where(replaced, random.integers(0, 2, image.shape), image)


def speckle(image: FloatArray, random: np.random.Generator, sigma: float) -> FloatArray:
    """Add normal noise in proportion to the value."""
    return image + image * random.normal(0, sigma, image.shape)
