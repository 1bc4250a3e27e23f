"""What the body wears: clothes as shells that stand off from the limbs; head, hair, headwear and bags."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from vireid.core.types import Array
from vireid.data.synthetic.attributes import Person
from vireid.data.synthetic.body import Bone, Figure, Pose, Proportions, Surface, pose_frames, proportions, widths
from vireid.data.synthetic.raycast import Hits, cast, transform

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


def add_head(figure: Figure, person: Person) -> None:
    """Add neck, skull, jaw, nose, ears and hair."""
    rx, ry, rz = figure.lengths.head
    torso = figure.lengths.torso
    figure.frustum(Bone.TORSO, (torso - 0.03, torso + 0.075), (0.034, 0.034), 0.027, Surface.SKIN, z=0.004)
    figure.ball(Bone.HEAD, (0, 0.08 * ry, 0), (rx, 0.94 * ry, rz), Surface.FACE)
    figure.ball(Bone.HEAD, (0, -0.42 * ry, 0.22 * rz), (0.80 * rx, 0.60 * ry, 0.70 * rz), Surface.FACE)
    figure.ball(Bone.HEAD, (0, -0.08 * ry, 1.0 * rz), (0.16 * rx, 0.24 * ry, 0.18 * rz), Surface.FACE)
    for sign in (1.0, -1.0):
        figure.ball(Bone.HEAD, (sign * rx, -0.02 * ry, -0.05 * rz), (0.12 * rx, 0.22 * ry, 0.18 * rz), Surface.SKIN)
    style = person.hair_style
    if style == "bald":
        return
    if style in ("short", "bun", "ponytail"):
        low = -0.62 if style == "short" else -0.75
        size = (1.07 * rx, 0.98 * ry, 1.02 * rz)
        figure.ball(Bone.HEAD, (0, 0.20 * ry, -0.16 * rz), size, Surface.HAIR, (low, 2.0))
    if style == "bun":
        figure.ball(Bone.HEAD, (0, 0.95 * ry, -0.75 * rz), (0.62 * rx, 0.46 * ry, 0.52 * rz), Surface.HAIR)
    if style == "ponytail":
        figure.ball(Bone.HEAD, (0, 0.35 * ry, -1.25 * rz), (0.42 * rx, 0.40 * ry, 0.42 * rz), Surface.HAIR)
        tail = (0.36 * rx, -2.1 * ry, 0.34 * rz)
        figure.off_axis_frustum(Bone.HEAD, (0, 0.3 * ry, -1.4 * rz), tail, -0.55, Surface.HAIR)
    if style in ("bob", "long"):
        size = (1.30 * rx, 1.10 * ry, 1.16 * rz)
        figure.ball(Bone.HEAD, (0, 0.10 * ry, -0.26 * rz), size, Surface.HAIR, (-0.35, 2.0))
        length = 0.75 if style == "bob" else 2.3
        fall = (1.22 * rx, -length * ry, 0.85 * rz)
        figure.off_axis_frustum(Bone.HEAD, (0, -0.25 * ry, -0.42 * rz), fall, 0.12, Surface.HAIR)
    if style == "long":
        figure.ball(Bone.HEAD, (0, -2.5 * ry, -0.42 * rz), (1.35 * rx, 0.4 * ry, 0.9 * rz), Surface.HAIR)
    if style == "curly":
        size = (1.55 * rx, 1.26 * ry, 1.42 * rz)
        figure.ball(Bone.HEAD, (0, 0.34 * ry, -0.34 * rz), size, Surface.HAIR, (-0.72, 2.0))


def add_headwear(figure: Figure, person: Person) -> None:
    """Add cap, beanie, hat or hood."""
    rx, ry, rz = figure.lengths.head
    grow = 1.28 if person.hair_style == "curly" else 1.0
    if person.headwear == "cap":
        size = (1.16 * grow * rx, 1.10 * ry, 1.16 * grow * rz)
        figure.ball(Bone.HEAD, (0, 0.16 * ry, -0.04 * rz), size, Surface.HEADWEAR, (0.12, 2.0))
        figure.ball(Bone.HEAD, (0, 0.34 * ry, 1.20 * rz), (0.85 * rx, 0.09 * ry, 0.62 * rz), Surface.HEADWEAR)
    elif person.headwear == "beanie":
        size = (1.18 * grow * rx, 1.30 * ry, 1.18 * grow * rz)
        figure.ball(Bone.HEAD, (0, 0.18 * ry, -0.06 * rz), size, Surface.HEADWEAR, (0.06, 2.0))
        band = (1.24 * grow * rx, 0.34 * ry, 1.24 * grow * rz)
        figure.off_axis_frustum(Bone.HEAD, (0, 0.18 * ry, -0.06 * rz), band, -0.03, Surface.HEADWEAR)
    elif person.headwear == "hat":
        crown = (1.18 * grow * rx, 0.95 * ry, 1.18 * grow * rz)
        figure.off_axis_frustum(Bone.HEAD, (0, 0.32 * ry, 0), crown, -0.16, Surface.HEADWEAR)
        figure.ball(Bone.HEAD, (0, 1.2 * ry, 0), (rx * grow, 0.2 * ry, rz * grow), Surface.HEADWEAR)
        figure.ball(Bone.HEAD, (0, 0.34 * ry, 0), (2.15 * rx, 0.10 * ry, 1.95 * rz), Surface.HEADWEAR)
    elif person.headwear == "hood":
        size = (1.36 * rx, 1.28 * ry, 1.32 * rz)
        figure.ball(Bone.HEAD, (0, 0.06 * ry, -0.38 * rz), size, Surface.UPPER)
        figure.ball(Bone.HEAD, (0, -1.0 * ry, -0.30 * rz), (1.4 * rx, 0.5 * ry, 1.2 * rz), Surface.UPPER)


def add_bag(figure: Figure, person: Person) -> None:
    """Add a bag's body and handles; the straps across the trunk are painted on."""
    large = person.bag_size == "large"
    sign = 1.0 if person.left_sided else -1.0
    torso = figure.lengths.torso
    body = widths(person)
    if person.bag == "backpack":
        half, height, deep = (0.098, 0.23, 0.075) if large else (0.072, 0.15, 0.052)
        back = -(body["chest_depth"] + 0.6 * deep + 0.012)
        top = torso - 0.03
        figure.off_axis_frustum(Bone.TORSO, (0, top - height, back), (half, height, deep), -0.12, Surface.BAG)
        figure.ball(Bone.TORSO, (0, top, back), (0.88 * half, 0.035, 0.88 * deep), Surface.BAG)
        figure.ball(Bone.TORSO, (0, top - height, back), (half, 0.03, deep), Surface.BAG)
    elif person.bag == "shoulder bag":
        half, height, deep = (0.040, 0.15, 0.105) if large else (0.030, 0.085, 0.066)
        x = sign * (max(body["hip"], body["waist"]) + 0.6 * half + 0.02)
        low = -0.03 - height
        figure.off_axis_frustum(Bone.TORSO, (x, low, 0.01), (half, height, deep), -0.10, Surface.BAG)
        figure.ball(Bone.TORSO, (x, low, 0.01), (half, 0.02, deep), Surface.BAG)
        figure.ball(Bone.TORSO, (x, low + height, 0.01), (0.9 * half, 0.015, 0.9 * deep), Surface.BAG)
    elif person.bag == "handbag":
        half, height, deep = (0.040, 0.15, 0.095) if large else (0.028, 0.085, 0.060)
        hand = Bone.HAND_LEFT if person.left_sided else Bone.HAND_RIGHT
        figure.off_axis_frustum(hand, (0, 0.10, 0), (half, height, deep), 0.08, Surface.BAG)
        figure.ball(hand, (0, 0.10 + height, 0), (1.05 * half, 0.018, 1.05 * deep), Surface.BAG)
        for side in (1.0, -1.0):
            figure.off_axis_frustum(hand, (0, 0.02, side * 0.35 * deep), (0.006, 0.085, 0.006), 0.0, Surface.BAG)


@dataclass(frozen=True, slots=True)
class Dressed:
    """N primitives of a dressed figure: their maps to the bones (N×4×4), bones, surfaces, shapes."""

    lengths: Proportions
    local: Array
    bone: Array
    surface: Array
    ball: Array
    taper: Array
    slab: Array


@lru_cache(maxsize=256)
def dress(person: Person) -> Dressed:
    """Build the figure of a person; poses and viewpoints come later."""
    figure = Figure(proportions(person.shape))
    add_clothes(figure, person)
    add_head(figure, person)
    add_headwear(figure, person)
    add_bag(figure, person)
    return Dressed(
        lengths=figure.lengths,
        local=figure.local_maps(),
        bone=np.asarray(figure.bones),
        surface=np.asarray(figure.surfaces),
        ball=np.asarray(figure.balls),
        taper=np.asarray(figure.tapers),
        slab=np.asarray(figure.slabs),
    )


@dataclass(frozen=True, slots=True)
class Viewpoint:
    """How the figure stands in the image: direction (radians), scale and the ground point below it (pixels)."""

    yaw: float  # 0 faces the camera
    elevation: float  # how far the camera looks down
    scale: float  # pixels per stature
    column: float
    row: float

    def matrix(self) -> Array:
        """Return the map from figure coordinates to column, row, depth towards the camera (4×4)."""
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        ce, se = np.cos(self.elevation), np.sin(self.elevation)
        return np.array(
            [
                [self.scale * c, 0, self.scale * s, self.column],
                [-self.scale * s * se, -self.scale * ce, self.scale * c * se, self.row],
                [-self.scale * s * ce, self.scale * se, self.scale * c * ce, 0],
                [0, 0, 0, 1],
            ]
        )


def cast_person(dressed: Dressed, pose: Pose, view: Viewpoint, height: int, width: int) -> tuple[Hits, Array]:
    """Pose the figure and cast it; return the hits and their body coordinates (P×3, in each point's bone frame)."""
    bones = view.matrix() @ pose_frames(dressed.lengths, pose)
    hits = cast(bones[dressed.bone] @ dressed.local, dressed.ball, dressed.taper, dressed.slab, height, width)
    to_bone = np.linalg.inv(bones)[:, :3]
    return hits, transform(to_bone, dressed.bone[hits.part], hits.point)
