"""A synthetic identity: what can be said of a person, and which modality can show it.

The catalogue of garments is limited on purpose: two people of one style often wear the same garment, and differ in
body, hair, bag or the other garment.
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
        kinds = [_LOWER_KINDS[style][i % len(_LOWER_KINDS[style])] for i in range(count)]
        lowers = tuple(_garment(kind, "none", pick(rng, _LOWER_PATTERNS[kind]), rng) for kind in kinds)
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


HAIR_STYLES = ("short", "short", "bob", "long", "bun", "ponytail", "curly", "bald")
HEADWEAR = ("cap", "beanie", "hat", "hood")
BAGS = ("backpack", "backpack", "shoulder bag", "handbag")
FOOTWEAR = ("shoes", "sneakers", "boots")


@dataclass(frozen=True, slots=True)
class Shape:
    """Continuous body parameters; 1 is the average, lengths are shares of the stature."""

    stature: float  # metres
    girth: float
    shoulders: float
    hips: float
    belly: float
    legs: float  # leg length
    head: float  # head size
    stride: float  # amplitude of the gait
    stoop: float  # forward lean in radians


@dataclass(frozen=True, slots=True)
class Person:
    """An identity. Discrete attributes have names fit for captions; an identity keeps its clothes in all images.

    A dress has the same garment as ``upper`` and ``lower``. Colours show in the visible alone, materials and inks in
    the infrared alone.
    """

    seed: int
    identity: int
    build: str  # slim, average, broad
    height: str  # short, medium, tall
    hair_style: str  # short, bob, long, bun, ponytail, curly, bald
    hair_colour: str
    headwear: str  # none, cap, beanie, hat, hood
    headwear_colour: str
    headwear_material: str
    upper: Garment  # t-shirt, shirt, hoodie, jacket, coat, tank top, dress
    lower: Garment  # trousers, wide trousers, shorts, short skirt, long skirt, dress
    inner_colour: str  # what an open jacket or coat shows below it
    inner_material: str
    open_front: bool
    tucked: bool  # a shirt or top worn inside the waistband
    footwear: str  # shoes, sneakers, boots
    footwear_colour: str
    footwear_material: str
    bag: str  # none, backpack, shoulder bag, handbag
    bag_size: str  # small, large
    bag_colour: str
    bag_material: str
    left_sided: bool  # side on which a bag is carried
    skin: float  # 0 light to 1 dark
    shape: Shape
    reflectance_shift: float  # change of all near-infrared reflectances of the clothes

    def shared_attributes(self) -> tuple[str, ...]:
        """Attributes that both modalities can show: shape, cut, pattern, bag, hair style, headwear."""
        entries = [
            f"build: {self.build}",
            f"height: {self.height}",
            f"hair: {self.hair_style}",
            f"headwear: {self.headwear}",
            f"upper: {self.upper.kind}",
            f"sleeves: {self.upper.sleeves}",
            f"upper pattern: {self.upper.pattern}",
            f"front: {'open' if self.open_front else 'closed'}",
            f"lower: {self.lower.kind}",
            f"lower pattern: {self.lower.pattern}",
            f"tucked: {'yes' if self.tucked else 'no'}",
            f"footwear: {self.footwear}",
            f"bag: {self.bag if self.bag == 'none' else f'{self.bag_size} {self.bag}'}",
        ]
        return tuple(entries)

    def visible_attributes(self) -> tuple[str, ...]:
        """Attributes that only the visible modality shows: colours."""
        entries = [f"hair colour: {self.hair_colour}", f"upper colour: {self.upper.colour}"]
        if self.upper.pattern != "plain":
            entries.append(f"upper second colour: {self.upper.second_colour}")
        if self.open_front:
            entries.append(f"inner colour: {self.inner_colour}")
        entries.append(f"lower colour: {self.lower.colour}")
        if self.lower.pattern != "plain":
            entries.append(f"lower second colour: {self.lower.second_colour}")
        entries.append(f"footwear colour: {self.footwear_colour}")
        if self.headwear not in ("none", "hood"):
            entries.append(f"headwear colour: {self.headwear_colour}")
        if self.bag != "none":
            entries.append(f"bag colour: {self.bag_colour}")
        return tuple(entries)

    def infrared_attributes(self) -> tuple[str, ...]:
        """Attributes that only the infrared shows: materials, and how patterns survive there."""
        entries = [f"upper material: {self.upper.material}", f"lower material: {self.lower.material}"]
        if self.upper.pattern != "plain":
            entries.append(f"upper ink: {self.upper.ink}")
        if self.lower.pattern != "plain":
            entries.append(f"lower ink: {self.lower.ink}")
        entries.append(f"footwear material: {self.footwear_material}")
        if self.headwear not in ("none", "hood"):
            entries.append(f"headwear material: {self.headwear_material}")
        if self.bag != "none":
            entries.append(f"bag material: {self.bag_material}")
        return tuple(entries)


@lru_cache(maxsize=4096)
def draw_person(seed: int, identity: int) -> Person:
    """Draw an identity, a pure function of ``seed`` and ``identity``, dressed from the seed's limited wardrobe."""
    rng = generator(seed, "synthetic/person", identity)
    style = str(rng.choice(STYLES, p=difficulty.STYLE_SHARE))
    uppers, lowers = wardrobe(seed)[style]
    upper = uppers[int(rng.integers(len(uppers)))]
    lower = upper if upper.kind == "dress" else lowers[int(rng.integers(len(lowers)))]
    build = pick(rng, ("slim", "average", "broad"))
    height = pick(rng, ("short", "medium", "tall"))
    headwear = pick(rng, HEADWEAR) if rng.random() < difficulty.HEADWEAR_SHARE else "none"
    if headwear == "hood" and upper.kind not in ("hoodie", "jacket", "coat"):
        headwear = "cap"
    bag = pick(rng, BAGS) if rng.random() < difficulty.BAG_SHARE else "none"
    colours, materials = tuple(COLOURS), tuple(MATERIALS)
    return Person(
        seed=seed,
        identity=identity,
        build=build,
        height=height,
        hair_style=pick(rng, HAIR_STYLES),
        hair_colour=pick(rng, tuple(HAIR_COLOURS)),
        headwear=headwear,
        headwear_colour=pick(rng, colours),
        headwear_material=pick(rng, materials),
        upper=upper,
        lower=lower,
        inner_colour=pick(rng, tuple(c for c in colours if c != upper.colour)),
        inner_material=pick(rng, tuple(m for m in materials if m != upper.material)),
        open_front=bool(upper.kind in ("jacket", "coat") and rng.random() < 0.6),
        tucked=bool(upper.kind in ("shirt", "t-shirt", "tank top") and rng.random() < 0.45),
        footwear=pick(rng, FOOTWEAR),
        footwear_colour=pick(rng, ("black", "brown", "white", "grey", "charcoal", "red", "navy")),
        footwear_material=pick(rng, materials),
        bag=bag,
        bag_size=pick(rng, ("small", "large")),
        bag_colour=pick(rng, colours),
        bag_material=pick(rng, materials),
        left_sided=bool(rng.random() < 0.5),
        skin=float(rng.random()),
        shape=_draw_shape(build, height, rng),
        reflectance_shift=float(rng.uniform(-1, 1)) * difficulty.REFLECTANCE_SHIFT,
    )


def _draw_shape(build: str, height: str, rng: np.random.Generator) -> Shape:
    girth = {"slim": 0.93, "average": 1.02, "broad": 1.11}[build] * (1 + 0.04 * rng.standard_normal())
    stature = {"short": 1.57, "medium": 1.71, "tall": 1.86}[height] + 0.03 * rng.standard_normal()
    return Shape(
        stature=float(stature),
        girth=float(girth),
        shoulders=float((1 + 0.35 * (girth - 1)) * rng.uniform(0.90, 1.12)),
        hips=float(rng.uniform(0.90, 1.14)),
        belly=float(max(0.0, girth - 0.95) * rng.uniform(0.0, 1.6)),
        # Taller people have longer legs and a smaller head against their stature: what a crop can show of height.
        legs=float(1 + 0.28 * (stature - 1.71) + 0.012 * rng.standard_normal()),
        head=float(1 - 0.55 * (stature - 1.71) + 0.02 * rng.standard_normal()),
        stride=float(rng.uniform(0.30, 0.52)),
        stoop=float(rng.normal(0.04, 0.03)),
    )
