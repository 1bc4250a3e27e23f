"""Effects of a study's toggles: which a design can tell, their estimates, and how they are put into words."""

from __future__ import annotations

from vireid.report.effects.design import Method, choose_method, toggles
from vireid.report.effects.estimate import CostRatios, Effect, Family, families
from vireid.report.effects.words import Names, sentence

__all__ = [
    "CostRatios",
    "Effect",
    "Family",
    "Method",
    "Names",
    "choose_method",
    "families",
    "sentence",
    "toggles",
]
