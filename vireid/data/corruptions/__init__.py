"""The twenty corruptions of the corruption-invariance benchmark for person re-identification, as pure functions.

Kinds, severities and their constants are the benchmark's (Chen et al., NeurIPS 2021 Datasets and Benchmarks, arXiv
2111.00880): nineteen as the package imagecorruptions 1.1.2 has them after ImageNet-C (Hendrycks and Dietterich, ICLR
2019), and rain by albumentations 0.5.2. Neither package is used: the first wants numba and OpenCV, draws from a global
generator, and computes in float32; both round as the machine does. Here every corruption computes in float64 from a
generator that a key gives, with NumPy, SciPy and Pillow, and rounds once, so that pixels are equal on all machines.

An image is a float64 array H×W×C in 0…1 with three channels, or with one: of a grey image, which stays grey; tints are
then given by their luminance.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from vireid.core.corruption import SEVERITIES, CorruptionName
from vireid.core.types import ByteArray, FloatArray
from vireid.data.corruptions import blur, digital, noise, weather

_NUDGE = 2.0**-20  # of a grey level

_KINDS: Mapping[CorruptionName, tuple[Callable[..., FloatArray], tuple[Any, ...]]] = {
    "gaussian_noise": (noise.gaussian, (0.08, 0.12, 0.18, 0.26, 0.38)),
    "shot_noise": (noise.shot, (60, 25, 12, 5, 3)),
    "impulse_noise": (noise.impulse, (0.03, 0.06, 0.09, 0.17, 0.27)),
    "speckle_noise": (noise.speckle, (0.15, 0.2, 0.35, 0.45, 0.6)),
    "defocus_blur": (blur.defocus, ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))),
    "glass_blur": (blur.glass, ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2))),
    "motion_blur": (blur.motion, ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))),
    "zoom_blur": (blur.zoom, ((12, 0.01), (16, 0.01), (11, 0.02), (13, 0.02), (11, 0.03))),
    "gaussian_blur": (blur.gaussian, (1, 2, 3, 4, 6)),
    "snow": (
        weather.snow,
        (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
    ),
    "frost": (weather.frost, ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))),
    "fog": (weather.fog, ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4))),
    "brightness": (digital.brightness, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "spatter": (
        weather.spatter,
        (
            (0.65, 0.3, 4, 0.69, 0.6, False),
            (0.65, 0.3, 3, 0.68, 0.6, False),
            (0.65, 0.3, 2, 0.68, 0.5, False),
            (0.65, 0.3, 1, 0.65, 1.5, True),
            (0.67, 0.4, 1, 0.65, 1.5, True),
        ),
    ),
    "rain": (
        weather.rain,
        ((770, 10, 3, 0.1), (600, 30, 4, 0.15), (600, 30, 5, 0.2), (500, 60, 6, 0.25), (500, 60, 7, 0.3)),
    ),
    "contrast": (digital.contrast, (0.4, 0.3, 0.2, 0.1, 0.05)),
    "elastic": (digital.elastic, (12.5, 16.25, 21.25, 25, 30)),
    "pixelate": (digital.pixelate, (0.6, 0.5, 0.4, 0.3, 0.25)),
    "jpeg": (digital.jpeg, (25, 18, 15, 10, 7)),
    "saturate": (digital.saturate, ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2))),
}


def corrupt(image: ByteArray, kind: CorruptionName, severity: int, random: np.random.Generator) -> ByteArray:
    """Corrupt one image.

    Values are rounded to the nearest, and what lies on the border between two (means of whole numbers do) goes up, by
    adding far less than shows and far more than the last bits in which processors differ.

    Args:
        image: uint8 H×W×3, or H×W×1 for a grey one.
        kind: which corruption.
        severity: 1…5.
        random: where its draws come from.

    Returns:
        uint8, of the same shape.
    """
    if severity not in SEVERITIES:
        raise ValueError(f"severity {severity} is none of {SEVERITIES}")
    function, constants = _KINDS[kind]
    constant = constants[severity - 1]
    settings = constant if isinstance(constant, tuple) else (constant,)
    values = function(image / 255.0, random, *settings)
    result: ByteArray = np.floor(np.clip(values, 0, 1) * 255 + (0.5 + _NUDGE)).astype(np.uint8)
    return result
