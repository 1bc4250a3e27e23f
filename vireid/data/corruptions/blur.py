"""Blur of optics and motion: defocus, glass, motion, zoom, Gaussian."""

import math

import numpy as np
from scipy import ndimage

from vireid.core.types import FloatArray


def gaussian(image: FloatArray, random: np.random.Generator, sigma: float) -> FloatArray:  # noqa: ARG001
    """Blur each channel by a Gaussian of ``sigma`` pixels."""
    return smooth(image, sigma)


def smooth(image: FloatArray, sigma: float) -> FloatArray:
    """Gaussian blur of H×W or H×W×C over rows and columns, the border's values going on outside."""
    blurred: FloatArray = ndimage.gaussian_filter(image, sigma, mode="nearest", axes=(0, 1))
    return blurred


def defocus(image: FloatArray, random: np.random.Generator, radius: int, alias: float) -> FloatArray:  # noqa: ARG001
    """Convolve with a disc of ``radius`` pixels, its rim softened by a Gaussian of ``alias`` pixels."""
    reach, rim = (8, 1) if radius <= 8 else (radius, 2)
    square = np.arange(-reach, reach + 1.0) ** 2
    disc = (square[:, None] + square <= radius**2).astype(np.float64)
    disc = ndimage.gaussian_filter(disc / disc.sum(), alias, mode="mirror", radius=rim)
    kept = np.flatnonzero(disc.any(axis=0))
    disc = disc[kept[0] : kept[-1] + 1, kept[0] : kept[-1] + 1]
    return np.stack([ndimage.convolve(plane, disc, mode="mirror") for plane in np.moveaxis(image, 2, 0)], axis=2)


def glass(image: FloatArray, random: np.random.Generator, sigma: float, reach: int, times: int) -> FloatArray:
    """Blur, let every pixel take the value of a neighbour at most ``reach`` away, ``times`` over, and blur again.

    The benchmark's code means to swap neighbours; as its two values are views of one array, it copies.
    """
    blurred = smooth(image, sigma)
    rows, columns = np.indices(image.shape[:2])
    for _ in range(times):
        down, right = random.integers(-reach, reach, (2, *image.shape[:2]))
        taken = np.clip(rows + down, 0, image.shape[0] - 1), np.clip(columns + right, 0, image.shape[1] - 1)
        blurred = blurred[taken]
    return smooth(blurred, sigma)


def motion(image: FloatArray, random: np.random.Generator, radius: int, sigma: float) -> FloatArray:
    """Smear along a direction within 45 degrees of the horizontal."""
    return streak(image, radius, sigma, random.uniform(-45, 45))


def streak(image: FloatArray, radius: int, sigma: float, angle: float) -> FloatArray:
    """Weighted mean of copies, each a pixel further at ``angle``: half a Gaussian over 2·``radius`` + 1 steps.

    Args:
        image: H×W or H×W×C.
        radius: pixels.
        sigma: of the weights, pixels.
        angle: degrees; 0 is horizontal.
    """
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    weights /= weights.sum()
    sine, cosine = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    height, width = image.shape[:2]
    reach = 2 * radius
    padded = np.pad(image, [(reach, reach), (reach, reach), *[(0, 0)] * (image.ndim - 2)], mode="edge")
    smeared = np.zeros_like(image)
    for step, weight in zip(steps.tolist(), weights.tolist(), strict=True):
        top, left = reach + math.ceil(step * sine - 0.5), reach + math.ceil(step * cosine - 0.5)
        smeared += weight * padded[top : top + height, left : left + width]
    return smeared


def zoom(image: FloatArray, random: np.random.Generator, layers: int, step: float) -> FloatArray:  # noqa: ARG001
    """Mean of the image and ``layers`` enlargements of its middle, by 1, 1 + ``step``, 1 + 2·``step`` and so on."""
    total = image.copy()
    for layer in range(layers):
        total += enlarged(image, 1 + layer * step)
    return total / (layers + 1)


def enlarged(image: FloatArray, factor: float) -> FloatArray:
    """The middle of H×W×C enlarged to its whole size, interpolated linearly."""
    centre = (np.array(image.shape[:2]) - 1) / 2
    planes = [
        ndimage.affine_transform(plane, [1 / factor] * 2, centre - centre / factor, order=1, mode="nearest")
        for plane in np.moveaxis(image, 2, 0)
    ]
    return np.stack(planes, axis=2)
