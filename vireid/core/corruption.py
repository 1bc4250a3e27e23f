"""Names of the image corruptions of the corruption-invariance benchmark: what configurations, cards and pixels share.

Chen, Wang and Zheng, "Benchmarks for Corruption Invariant Person Re-identification", NeurIPS 2021 Datasets and
Benchmarks (arXiv 2111.00880): the nineteen of ImageNet-C (Hendrycks and Dietterich, ICLR 2019) and rain.
"""

from typing import Literal, get_args

CorruptionName = Literal[
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "speckle_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "gaussian_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "spatter",
    "rain",
    "contrast",
    "elastic",
    "pixelate",
    "jpeg",
    "saturate",
]
CORRUPTIONS: tuple[CorruptionName, ...] = get_args(CorruptionName)
OF_COLOUR: frozenset[CorruptionName] = frozenset({"saturate"})  # which an infrared image, without colour, cannot have
SEVERITIES = (1, 2, 3, 4, 5)
VERSION = "1"  # part of the identity of an evaluation on corrupted images: raised when a pixel changes
