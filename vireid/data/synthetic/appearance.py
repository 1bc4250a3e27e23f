"""What every point of the figure looks like: its surface, the strength of a pattern there, and tones per spectrum.

A point's surface and pattern are decided by cut and pattern in body coordinates, the same in every spectrum. Only the
tones differ: colours in the visible, materials in the near infrared, temperatures in the thermal. So no colour can
reach an infrared image, nor a material a visible one.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from vireid.core.types import Array, FloatArray
from vireid.data.synthetic import difficulty
from vireid.data.synthetic.attributes import COLOURS, HAIR_COLOURS, MATERIALS, Garment, Person
from vireid.data.synthetic.body import Bone, Proportions, Surface
from vireid.data.synthetic.cameras import Spectrum

_ARMS: Final = (Bone.ARM_LEFT, Bone.ARM_RIGHT, Bone.FOREARM_LEFT, Bone.FOREARM_RIGHT)
_SHANKS: Final = (Bone.SHANK_LEFT, Bone.SHANK_RIGHT)
_THICKNESS: Final = {"tank top": 0.25, "t-shirt": 0.30, "dress": 0.32, "shirt": 0.40, "hoodie": 0.70, "jacket": 0.82}


@dataclass(frozen=True, slots=True)
class Points:
    """P surface points: their ``bone``, ``surface`` and ``body`` coordinates (P×3) in the bone's frame."""

    bone: Array
    surface: Array
    body: Array


def paint(person: Person, lengths: Proportions, points: Points) -> tuple[Array, Array]:
    """Return every point's surface after cut, straps and face, and how far its tone goes to the second one (0 to 1)."""
    surface = points.surface.copy()
    share = np.zeros(len(surface), dtype=np.float32)
    for which, garment, is_upper in ((Surface.UPPER, person.upper, True), (Surface.LOWER, person.lower, False)):
        rows = np.flatnonzero(points.surface == which)
        if garment.pattern != "plain" and len(rows):
            share[rows] = _pattern(garment, lengths, points.bone[rows], points.body[rows], is_upper)
    trunk = np.flatnonzero((points.bone == Bone.TORSO) & (points.surface == Surface.UPPER))
    if len(trunk):
        x, y, z = points.body[trunk].T
        _cut_front(person, lengths, surface, share, trunk, x, y, z)
        _lay_straps(person, lengths, surface, share, trunk, x, y, z)
    _draw_face(lengths, points, surface, share)
    return surface, share


def _cut_front(
    person: Person, lengths: Proportions, surface: Array, share: Array, rows: Array, x: Array, y: Array, z: Array
) -> None:
    """Neckline, and the strip that an open jacket or coat leaves."""
    top = lengths.torso
    front = z > 0
    if person.open_front:
        gap = 0.018 + 0.022 * person.upper.length
        opening = rows[front & (np.abs(x) < gap + 0.10 * np.maximum(0, 0.10 - y))]
        surface[opening] = Surface.INNER
        share[opening] = 0
    depth = {"tank top": 0.075, "dress": 0.06, "t-shirt": 0.035}.get(person.upper.kind, 0.045)
    narrow = 0.6 if person.upper.kind in ("shirt", "coat", "jacket") else 1.0
    neck = rows[front & (y - top + 0.012 + depth > np.abs(x) * 1.1 / narrow)]
    surface[neck] = Surface.INNER if person.upper.kind in ("coat", "jacket") else Surface.SKIN
    share[neck] = 0
    if person.upper.kind == "tank top":
        bare = rows[(np.abs(x) > 0.078) & (y > top - 0.062)]
        surface[bare] = Surface.SKIN
        share[bare] = 0


def _lay_straps(
    person: Person, lengths: Proportions, surface: Array, share: Array, rows: Array, x: Array, y: Array, z: Array
) -> None:
    """Straps of a backpack (front) and of a shoulder bag (across chest and back)."""
    if person.bag == "backpack":
        strap = (z > -0.02) & (np.abs(np.abs(x) - 0.062) < 0.011) & (y > lengths.torso - 0.175)
    elif person.bag == "shoulder bag":
        sign = 1.0 if person.left_sided else -1.0
        # From the shoulder opposite the bag, straight down to it.
        along = (lengths.torso - y) / (lengths.torso + 0.03)
        strap = np.abs(sign * x + 0.07 - 0.19 * along) < 0.011
    else:
        return
    surface[rows[strap]] = Surface.BAG
    share[rows[strap]] = 0


def _draw_face(lengths: Proportions, points: Points, surface: Array, share: Array) -> None:
    rows = np.flatnonzero(points.surface == Surface.FACE)
    if not len(rows):
        return
    x, y, z = (points.body[rows] / np.asarray(lengths.head, dtype=np.float32)).T
    front, across = z > 0.15, np.abs(x)
    eye = front & (np.abs(across - 0.40) < 0.13) & (np.abs(y + 0.02) < 0.055)
    brow = front & (np.abs(across - 0.42) < 0.20) & (np.abs(y - 0.18 + 0.1 * (across - 0.42)) < 0.040)
    lip = front & (across < 0.30) & (np.abs(y + 0.55) < 0.065)
    surface[rows[eye]] = Surface.EYE
    surface[rows[brow]] = Surface.HAIR
    surface[rows[lip]] = Surface.LIP
    # Cheeks, sockets and chin: a face is not one tone.
    share[rows] = np.where(front & (np.abs(y + 0.02) < 0.11) & (across > 0.2) & (across < 0.62), 0.55, 0.0)


def _pattern(garment: Garment, lengths: Proportions, bone: Array, body: Array, is_upper: bool) -> Array:
    """Share of the second tone; coordinates continue from trunk to sleeves and from thigh to shank."""
    x, y, z = body.T
    drop = np.zeros(len(Bone), dtype=np.float32)
    sign = np.full(len(Bone), -1.0, dtype=np.float32)
    radius = np.full(len(Bone), 0.045, dtype=np.float32)
    drop[list(_ARMS[:2])], drop[list(_ARMS[2:])] = lengths.torso, lengths.torso - lengths.arm
    drop[list(_SHANKS)] = -lengths.thigh
    sign[[Bone.TORSO, Bone.HEAD]] = 1.0
    radius[Bone.TORSO] = 0.095
    v = sign[bone] * y + drop[bone]
    trunk = bone == Bone.TORSO
    period = np.float32(garment.scale)
    share: Array
    if garment.pattern == "horizontal stripes":
        share = _wave(v / period)
    elif garment.pattern == "two-tone":
        share = v > lengths.torso * (0.45 + 0.2 * garment.length) if is_upper else v < -0.22
    elif garment.pattern == "print":
        low = lengths.torso * (0.40 - 0.10 * garment.length)
        share = trunk & (np.abs(x) < 0.035 + 0.3 * period) & (v > low) & (v < low + 0.9 * period + 0.03)
    elif garment.pattern == "side stripe":
        outside = np.where((bone == Bone.THIGH_LEFT) | (bone == Bone.SHANK_LEFT), x, -x)
        share = (outside > 0.2 * np.abs(z)) & (np.abs(z) < 0.017) & ~trunk
    else:
        u = np.arctan2(x, z) * radius[bone]
        if garment.pattern == "vertical stripes":
            share = _wave(u / (0.7 * period))
        elif garment.pattern == "checks":
            share = 0.5 * _wave(u / period) + 0.5 * _wave(v / period)
        else:
            share = _dots(u / (0.6 * period), v / (0.6 * period))
    return share


def _dots(u: Array, v: Array) -> Array:
    """Discs in rows, every other row shifted by half a period."""
    row = np.floor(v)
    du = np.mod(u + 0.5 * np.mod(row, 2), 1) - 0.5
    dv = v - row - 0.5
    discs: Array = du * du + dv * dv < 0.085
    return discs


def _wave(position: Array) -> Array:
    """Square wave of period 1 whose edges are as soft as a woven or printed one at these image sizes."""
    wave: Array = np.clip(2.5 * np.sin(2 * np.pi * position) + 0.5, 0, 1)
    return wave


def tones(person: Person, spectrum: Spectrum) -> FloatArray:
    """Two tones of every surface, surfaces × 2 × channels: linear colour (3), reflectance or warmth (1), 0 to 1."""
    table = np.zeros((len(Surface), 2, 3 if spectrum == "visible" else 1), dtype=np.float32)
    if spectrum == "visible":
        _visible_tones(person, table)
    elif spectrum == "nir":
        _infrared_tones(person, table)
    else:
        _thermal_tones(person, table)
    return table


def _linear(colour: tuple[int, int, int]) -> Array:
    return (np.asarray(colour) / 255.0) ** 2


def _visible_tones(person: Person, table: Array) -> None:
    light, dark = _linear((232, 190, 165)), _linear((84, 54, 40))
    skin = light ** (1 - person.skin) * dark**person.skin
    table[Surface.SKIN] = skin
    table[Surface.FACE] = skin, 0.72 * skin
    table[Surface.HAIR] = _linear(HAIR_COLOURS[person.hair_colour])
    for surface, garment in ((Surface.UPPER, person.upper), (Surface.LOWER, person.lower)):
        table[surface] = _linear(COLOURS[garment.colour]), _linear(COLOURS[garment.second_colour])
    table[Surface.INNER] = _linear(COLOURS[person.inner_colour])
    table[Surface.SHOE] = _linear(COLOURS[person.footwear_colour])
    table[Surface.BAG] = _linear(COLOURS[person.bag_colour])
    table[Surface.HEADWEAR] = _linear(COLOURS[person.headwear_colour])
    table[Surface.EYE] = _linear((38, 30, 28))
    table[Surface.LIP] = skin * np.array([0.80, 0.48, 0.48])


def _infrared_tones(person: Person, table: Array) -> None:
    # Melanin absorbs little at 850 nm: skins are alike there, and hair is far lighter than to the eye.
    skin = 0.62 - 0.08 * person.skin
    table[Surface.SKIN] = skin
    table[Surface.FACE] = np.array([[skin], [0.85 * skin]])
    table[Surface.HAIR] = 0.30
    for surface, garment in ((Surface.UPPER, person.upper), (Surface.LOWER, person.lower)):
        first = MATERIALS[garment.material] + person.reflectance_shift
        step = {
            "strong": 0.85 - first if first < 0.45 else 0.14 - first,
            "faint": difficulty.FAINT_CONTRAST if first < 0.45 else -difficulty.FAINT_CONTRAST,
            "vanishing": 0.0,
        }[garment.ink]
        table[surface] = np.array([[first], [first + step]])
    table[Surface.INNER] = MATERIALS[person.inner_material]
    table[Surface.SHOE] = 0.8 * MATERIALS[person.footwear_material]
    table[Surface.BAG] = MATERIALS[person.bag_material]
    table[Surface.HEADWEAR] = MATERIALS[person.headwear_material]
    table[Surface.EYE] = 0.10
    table[Surface.LIP] = 0.9 * skin
    np.clip(table, 0.03, 0.95, out=table)


def _thermal_tones(person: Person, table: Array) -> None:
    shift = 0.8 * person.reflectance_shift
    table[Surface.SKIN] = 0.84
    table[Surface.FACE] = np.array([[0.95], [1.0]])
    table[Surface.HAIR] = 0.56
    upper = 0.78 - 0.42 * _THICKNESS.get(person.upper.kind, 1.0) + shift
    lower = {"trousers": 0.56, "wide trousers": 0.47, "shorts": 0.58}.get(person.lower.kind, 0.45) + shift
    if person.lower.kind == "dress":
        lower = upper
    for surface, garment, warmth in ((Surface.UPPER, person.upper, upper), (Surface.LOWER, person.lower, lower)):
        # A second layer of fabric or a thick print insulates: patterns leave a trace of temperature.
        trace = {"strong": 0.16, "faint": 0.07, "vanishing": 0.0}[garment.ink]
        table[surface] = np.array([[warmth], [warmth - trace]])
    table[Surface.INNER] = upper + 0.16
    table[Surface.SHOE] = 0.34
    table[Surface.BAG] = 0.20 + 0.1 * MATERIALS[person.bag_material]
    table[Surface.HEADWEAR] = 0.46
    table[Surface.EYE] = 0.97
    table[Surface.LIP] = 0.96
