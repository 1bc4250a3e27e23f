"""Clothes as shells around the body: sleeves, hems, skirts and coats that stand off from the limbs."""

import math
from typing import Final

from vireid.data.synthetic.attributes import Person
from vireid.data.synthetic.body import Bone
from vireid.data.synthetic.figure import Figure, Surface, widths

_EASE: Final[dict[str, float]] = {
    "tank top": 0.004,
    "t-shirt": 0.008,
    "shirt": 0.009,
    "dress": 0.006,
    "hoodie": 0.017,
    "jacket": 0.020,
    "coat": 0.022,
}
"""How far cloth stands off from the body, a share of the stature."""


def hem(person: Person) -> float:
    """Height of the upper garment's hem over the hip joints (negative: below them)."""
    kind, length = person.upper.kind, person.upper.length
    if person.tucked or kind == "dress":
        return 0.075
    if kind == "coat":
        return -0.10 - 0.15 * length
    return {"tank top": -0.015, "t-shirt": -0.025, "shirt": -0.04, "hoodie": -0.03, "jacket": -0.02}[
        kind
    ] - 0.03 * length


def waist(figure: Figure) -> float:
    """Height of the waist over the hip joints."""
    return 0.40 * figure.lengths.torso


def add_clothes(figure: Figure, person: Person) -> None:
    """Add trunk, arms and legs, dressed."""
    _add_trunk(figure, person)
    for side in (0, 1):
        _add_arm(figure, person, side)
        _add_leg(figure, person, side)
    _add_skirt(figure, person)


def _add_trunk(figure: Figure, person: Person) -> None:
    body, ease, torso = widths(person), _EASE[person.upper.kind], figure.lengths.torso
    middle, top = waist(figure), torso - 0.02
    waist_size = body["waist"] + ease, body["waist_depth"] + ease
    chest = body["chest"] + 0.6 * ease
    figure.frustum(Bone.TORSO, (middle - 0.012, top - 0.01), waist_size, chest, Surface.UPPER)
    shoulder = figure.lengths.shoulder + 0.012
    yoke = (shoulder + 0.006 + 0.3 * ease, 0.044 + 0.4 * ease, 0.85 * body["chest_depth"] + 0.6 * ease)
    figure.ball(Bone.TORSO, (0, top - 0.022, 0), yoke, Surface.UPPER)
    figure.ball(
        Bone.TORSO,
        (0, top - 0.075, 0.004),
        (chest, 0.075, body["chest_depth"] + ease),
        Surface.UPPER,
    )
    figure.ball(Bone.TORSO, (0, 0.0, -0.004), (body["hip"] + 0.004, 0.065, body["hip_depth"] + 0.006), Surface.LOWER)
    low = hem(person)
    flare = 1.16 if person.upper.kind == "coat" else 1.0
    hip = max(body["hip"], 0.96 * body["waist"]) + ease
    if low < middle:
        if person.tucked or person.upper.kind == "dress":
            start, end = waist_size[0] * 1.02, waist_size[0]
        else:
            start, end = (hip + 0.010) * flare, waist_size[0]
        depth = max(body["hip_depth"] + ease + 0.014 + 0.25 * max(0.0, -low), waist_size[1]) * flare
        # The frustum's depth tapers with its width; the larger end decides, so that the hips stay covered.
        figure.frustum(Bone.TORSO, (low, middle), (start, depth), end, Surface.UPPER)
    if person.tucked:
        belt = body["waist"] + 0.006, body["waist_depth"] + 0.008
        figure.frustum(Bone.TORSO, (0.0, low), (body["hip"] + 0.004, body["hip_depth"] + 0.006), belt[0], Surface.LOWER)
    if person.shape.belly > 0.05:
        size = (0.9 * waist_size[0], 0.075, waist_size[1] + 0.06 * person.shape.belly)
        figure.ball(Bone.TORSO, (0, middle - 0.03, 0.012), size, Surface.UPPER, ((low - middle + 0.03) / 0.075, 2.0))
    if person.upper.kind in ("shirt", "coat", "jacket"):
        figure.frustum(Bone.TORSO, (top - 0.015, top + 0.032), (0.050, 0.050), 0.040, Surface.UPPER, z=-0.002)
    if person.upper.kind == "hoodie" and person.headwear != "hood":
        figure.ball(Bone.TORSO, (0, top + 0.012, -0.052), (0.066, 0.034, 0.042), Surface.UPPER)
    if person.upper.kind in ("jacket", "hoodie"):
        band = hip * 1.02, max(body["hip_depth"] + ease + 0.006, waist_size[1]) * 1.02
        figure.frustum(Bone.TORSO, (low - 0.012, low + 0.018), band, band[0], Surface.UPPER)


def _add_arm(figure: Figure, person: Person, side: int) -> None:
    body, kind, sleeves = widths(person), person.upper.kind, person.upper.sleeves
    ease = 0.75 * _EASE[kind]
    upper, lower = Bone.ARM_LEFT + side, Bone.FOREARM_LEFT + side
    arm, forearm = figure.lengths.arm, figure.lengths.forearm
    bare = Surface.SKIN
    cloth = bare if sleeves == "none" else Surface.UPPER
    shoulder = body["arm"] + (0.002 if sleeves == "none" else ease + 0.002)
    figure.ball(upper, (0, 0.010, 0), (0.96 * shoulder, 0.92 * shoulder, 0.96 * shoulder), cloth)
    if sleeves == "long":
        elbow = body["elbow"] + ease
        cuff = body["wrist"] + 0.8 * ease + 0.003
        figure.frustum(upper, (0.012, arm), (0.95 * shoulder, 0.95 * shoulder), elbow, cloth)
        figure.ball(upper, (0, arm, 0), (elbow, elbow, elbow), cloth)
        figure.frustum(lower, (0, forearm * 0.98), (elbow, elbow), cuff, cloth)
    else:
        end = 0.55 + 0.35 * person.upper.length
        if sleeves == "short":
            opening = body["arm"] + ease + 0.007
            figure.frustum(upper, (0.012, end * arm), (0.95 * shoulder, 0.95 * shoulder), opening, cloth)
        figure.frustum(upper, (0, arm), (body["arm"], body["arm"]), body["elbow"], bare)
        figure.ball(upper, (0, arm, 0), (body["elbow"],) * 3, bare)
        figure.frustum(lower, (0, forearm), (body["elbow"], body["elbow"]), body["wrist"], bare)
    figure.ball(lower, (0, forearm + 0.028, 0.003), (0.014, 0.040, 0.022), bare)


def _add_leg(figure: Figure, person: Person, side: int) -> None:
    body, kind = widths(person), person.lower.kind
    upper, lower, foot = Bone.THIGH_LEFT + side, Bone.SHANK_LEFT + side, Bone.FOOT_LEFT + side
    thigh, shank = figure.lengths.thigh, figure.lengths.shank
    if kind in ("trousers", "wide trousers"):
        wide = kind == "wide trousers"
        top, knee = body["thigh"] + 0.008, body["knee"] + (0.016 if wide else 0.007)
        opening = 0.052 + 0.012 * person.lower.length if wide else body["ankle"] + 0.012
        figure.ball(upper, (0, 0, 0), (top, top, top), Surface.LOWER)
        figure.frustum(upper, (0, thigh), (top, top), knee, Surface.LOWER)
        figure.ball(upper, (0, thigh, 0), (knee, knee, knee), Surface.LOWER)
        tucked_in = person.footwear == "boots" and not wide
        figure.frustum(lower, (0, shank * (0.55 if tucked_in else 0.99)), (knee, knee), opening, Surface.LOWER)
    else:
        if kind == "shorts":
            top = body["thigh"] + 0.010
            figure.ball(upper, (0, 0, 0), (top, top, top), Surface.LOWER)
            end = (0.62 + 0.34 * person.lower.length) * thigh
            figure.frustum(upper, (0, end), (top, top), body["thigh"] + 0.014, Surface.LOWER)
        figure.frustum(upper, (0, thigh), (body["thigh"], body["thigh"]), body["knee"], Surface.SKIN)
        figure.ball(upper, (0, thigh, 0), (body["knee"],) * 3, Surface.SKIN)
        figure.ball(lower, (0, 0.30 * shank, -0.006), (body["calf"], 0.32 * shank, 1.08 * body["calf"]), Surface.SKIN)
        figure.frustum(lower, (0, shank), (body["knee"], body["knee"]), body["ankle"], Surface.SKIN)
    if person.footwear == "boots" and kind != "wide trousers":
        shaft = body["calf"] + 0.010
        figure.frustum(lower, (0.45 * shank, shank), (shaft, shaft), 0.030, Surface.SHOE)
    sole = 0.058 if person.footwear == "shoes" else 0.064
    bulk = 0.022 if person.footwear == "shoes" else 0.027
    figure.ball(foot, (0, 0.022, 0.034), (bulk, 0.022, sole), Surface.SHOE)
    figure.ball(foot, (0, 0.008, -0.004), (0.92 * bulk, 0.034, 0.034), Surface.SHOE)


def _add_skirt(figure: Figure, person: Person) -> None:
    body, kind, length = widths(person), person.lower.kind, person.lower.length
    if kind == "dress":
        low, surface = -0.13 - 0.22 * length, Surface.UPPER
    elif kind == "short skirt":
        low, surface = -0.12 - 0.07 * length, Surface.LOWER
    elif kind == "long skirt":
        low, surface = -0.30 - 0.12 * length, Surface.LOWER
    else:
        return
    top = 0.08
    start = body["hip"] + 0.018 + 0.13 * -low
    # Wide enough for the wearer's own stride.
    step = body["thigh"] + math.sin(1.1 * person.shape.stride) * (-low + 0.03)
    depth = max(body["hip_depth"] + 0.020 + 0.20 * -low, step)
    figure.frustum(Bone.TORSO, (low, top), (start, depth), body["waist"] + 0.008, surface)
