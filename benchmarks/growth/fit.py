"""How a figure grows: the exponent of a power law through sizes, by least squares on logarithms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Growth:
    """``seconds`` proportional to ``size`` to the power of ``exponent``."""

    exponent: float
    error: float | None  # standard error of the exponent; None of two sizes, through which every line goes

    def __str__(self) -> str:
        return f"{self.exponent:.2f}" if self.error is None else f"{self.exponent:.2f} ± {self.error:.2f}"


def growth(seconds: Mapping[int, float]) -> Growth | None:
    """The power law through (size, seconds); None of fewer than two sizes.

    The error is the ordinary one of a slope: residuals about the line, with two degrees of freedom less.
    """
    if len(seconds) < 2:
        return None
    points = [(math.log(size), math.log(value)) for size, value in seconds.items()]
    x, y = (sum(column) / len(points) for column in zip(*points, strict=True))
    spread = sum((a - x) ** 2 for a, _ in points)
    slope = sum((a - x) * (b - y) for a, b in points) / spread
    if len(points) == 2:
        return Growth(slope, None)
    residuals = sum((b - y - slope * (a - x)) ** 2 for a, b in points)
    return Growth(slope, math.sqrt(residuals / (len(points) - 2) / spread))
