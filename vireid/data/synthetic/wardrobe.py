"""What people can wear: names, visible colours, near-infrared materials, and a limited catalogue by style.

The catalogue is limited on purpose: two people of one style often wear the same garment, and differ in body, hair,
bag or the other garment.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from vireid.core.seeding import generator
from vireid.data.synthetic import difficulty

COLOURS: Final[dict[str, tuple[int, int, int]]] = {
    "black": (28, 28, 31),
    "charcoal": (62, 64, 68),
    "grey": (128, 130, 134),
    "white": (226, 226, 222),
    "beige": (196, 178, 146),
    "brown": (104, 70, 46),
    "red": (172, 34, 40),
    "orange": (214, 112, 36),
    "yellow": (222, 190, 62),
    "green": (46, 118, 66),
    "olive": (98, 100, 56),
    "sky blue": (120, 168, 212),
    "blue": (40, 82, 168),
    "navy": (34, 44, 82),
    "purple": (104, 58, 128),
    "pink": (220, 142, 164),
}
"""Visible colour by name, sRGB 0-255. It says nothing about the near infrared."""

_COMMON: Final = ("black", "charcoal", "grey", "white", "navy", "blue", "beige", "olive", "brown")
"""Colours that most clothes have; the others are worn more rarely."""

HAIR_COLOURS: Final[dict[str, tuple[int, int, int]]] = {
    "black": (26, 23, 22),
    "dark brown": (54, 38, 28),
    "brown": (92, 62, 40),
    "blond": (186, 150, 94),
    "grey": (150, 148, 146),
    "red": (128, 62, 32),
}

MATERIALS: Final[dict[str, float]] = {
    "cotton": 0.72,
    "polyester": 0.88,
    "wool": 0.58,
    "denim": 0.46,
    "nylon": 0.34,
    "leather": 0.22,
    "carbon-dyed": 0.10,
}
"""Near-infrared reflectance (850 nm) by material: dyes that are dark to the eye are mostly transparent there."""

STYLES: Final = ("casual", "office", "sport", "summer", "outdoor")

_UPPER_KINDS: Final[dict[str, tuple[str, ...]]] = {
    "casual": ("t-shirt", "shirt", "hoodie", "jacket"),
    "office": ("shirt", "jacket", "coat", "dress"),
    "sport": ("t-shirt", "hoodie", "tank top"),
    "summer": ("t-shirt", "tank top", "dress", "shirt"),
    "outdoor": ("coat", "jacket", "hoodie"),
}
_LOWER_KINDS: Final[dict[str, tuple[str, ...]]] = {
    "casual": ("trousers", "wide trousers", "shorts"),
    "office": ("trousers", "wide trousers", "short skirt", "long skirt"),
    "sport": ("shorts", "trousers", "trousers"),
    "summer": ("shorts", "short skirt", "long skirt", "wide trousers"),
    "outdoor": ("trousers", "wide trousers", "long skirt"),
}
_SLEEVES: Final[dict[str, tuple[str, ...]]] = {
    "t-shirt": ("short",),
    "shirt": ("long", "short"),
    "hoodie": ("long",),
    "jacket": ("long",),
    "coat": ("long",),
    "tank top": ("none",),
    "dress": ("none", "short", "long"),
}
_PATTERNS: Final = ("horizontal stripes", "vertical stripes", "checks", "dots", "print", "two-tone")
_LOWER_PATTERNS: Final[dict[str, tuple[str, ...]]] = {
    "trousers": ("plain", "plain", "plain", "side stripe", "checks"),
    "wide trousers": ("plain", "plain", "vertical stripes", "checks"),
    "shorts": ("plain", "plain", "side stripe", "checks"),
    "short skirt": ("plain", "checks", "dots", "horizontal stripes"),
    "long skirt": ("plain", "dots", "horizontal stripes", "vertical stripes", "two-tone"),
}


@dataclass(frozen=True, slots=True)
class Garment:
    """A garment of the catalogue.

    ``scale`` is the period of the pattern as a share of the wearer's height. ``ink`` says how the pattern's second
    dye shows in the near infrared: strong, faint or vanishing. ``length`` moves the hem, 0 to 1. ``colour`` and
    ``second_colour`` show in the visible alone, ``material`` and ``ink`` in the infrared alone, all else in both.
    """

    kind: str
    sleeves: str
    pattern: str
    scale: float
    length: float
    colour: str
    second_colour: str
    material: str
    ink: str


@lru_cache(maxsize=8)
def wardrobe(seed: int) -> dict[str, tuple[tuple[Garment, ...], tuple[Garment, ...]]]:
    """Return the upper and lower garments of every style that exist for a seed."""
    shelves: dict[str, tuple[tuple[Garment, ...], tuple[Garment, ...]]] = {}
    for style in STYLES:
        rng = generator(seed, "synthetic/wardrobe", style)
        count = difficulty.GARMENTS_PER_STYLE
        uppers = tuple(_upper(_UPPER_KINDS[style][i % len(_UPPER_KINDS[style])], rng) for i in range(count))
        lowers = tuple(_lower(_LOWER_KINDS[style][i % len(_LOWER_KINDS[style])], rng) for i in range(count))
        shelves[style] = uppers, lowers
    return shelves


def pick(rng: np.random.Generator, names: tuple[str, ...]) -> str:
    """Draw one of ``names``, all equally likely."""
    return names[int(rng.integers(len(names)))]


def _upper(kind: str, rng: np.random.Generator) -> Garment:
    plain = rng.random() < difficulty.PLAIN_SHARE
    # A coat with a print on the chest is rare in any street; long garments carry patterns that cover them.
    patterns = tuple(p for p in _PATTERNS if p != "print") if kind in ("coat", "dress") else _PATTERNS
    return _garment(kind, pick(rng, _SLEEVES[kind]), "plain" if plain else pick(rng, patterns), rng)


def _lower(kind: str, rng: np.random.Generator) -> Garment:
    return _garment(kind, "none", pick(rng, _LOWER_PATTERNS[kind]), rng)


def _garment(kind: str, sleeves: str, pattern: str, rng: np.random.Generator) -> Garment:
    colour = pick(rng, _COMMON if rng.random() < 0.55 else tuple(COLOURS))
    second = pick(rng, tuple(name for name in COLOURS if _contrast(name, colour) > 150))
    ink = str(rng.choice(tuple(difficulty.INK_SHARE), p=tuple(difficulty.INK_SHARE.values())))
    return Garment(
        kind=kind,
        sleeves=sleeves,
        pattern=pattern,
        scale=float(rng.uniform(0.07, 0.15)),
        length=float(rng.random()),
        colour=colour,
        second_colour=second,
        material=pick(rng, tuple(MATERIALS)),
        ink=ink,
    )


def _contrast(first: str, second: str) -> int:
    return sum(abs(a - b) for a, b in zip(COLOURS[first], COLOURS[second], strict=True))
