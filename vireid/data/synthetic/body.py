"""The body: proportions, a walking pose, one rigid frame per bone, and the primitives of the figure on the bones.

Lengths are shares of the stature. Figure coordinates: x to the person's left, y up from the ground, z forwards. The
torso and head frames have y upwards; arm, leg and hand frames have y down the bone, from its upper joint. Every
primitive, ball or frustum, is aligned with the axes of its bone's frame, so that the coordinates of a surface point in
that frame are body coordinates, in which garments are cut and patterns drawn.
"""

import math
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from vireid.core.types import Array
from vireid.data.synthetic.attributes import Person, Shape


class Bone(IntEnum):
    """Rigid frames; left and right are the person's own."""

    TORSO = 0
    HEAD = 1
    ARM_LEFT = 2
    ARM_RIGHT = 3
    FOREARM_LEFT = 4
    FOREARM_RIGHT = 5
    HAND_LEFT = 6
    HAND_RIGHT = 7
    THIGH_LEFT = 8
    THIGH_RIGHT = 9
    SHANK_LEFT = 10
    SHANK_RIGHT = 11
    FOOT_LEFT = 12
    FOOT_RIGHT = 13


@dataclass(frozen=True, slots=True)
class Proportions:
    """Lengths of a body, shares of its stature."""

    hip: float  # height of the hip joints
    torso: float  # from hip to shoulder line
    thigh: float
    shank: float
    arm: float
    forearm: float
    shoulder: float  # half distance of the shoulder joints
    hip_gap: float  # half distance of the hip joints
    head: tuple[float, float, float]  # half width, half height, half depth of the skull


ANKLE = 0.042


def proportions(shape: Shape) -> Proportions:
    """Return the lengths of a body of a given shape."""
    hip = 0.528 * shape.legs
    shoulder_line = 0.815 + 0.03 * (1 - shape.head)
    leg = hip - ANKLE
    return Proportions(
        hip=hip,
        torso=shoulder_line - hip,
        thigh=0.505 * leg,
        shank=0.495 * leg,
        arm=0.175,
        forearm=0.150,
        shoulder=0.107 * shape.shoulders,
        hip_gap=0.048 * (0.6 + 0.4 * shape.girth) * shape.hips,
        head=(0.0455 * shape.head, 0.0665 * shape.head, 0.0560 * shape.head),
    )


@dataclass(frozen=True, slots=True)
class Pose:
    """Joint angles in radians; positive flexion brings a limb forwards."""

    lean: float
    twist: float
    nod: float
    turn: float  # of the head
    thighs: tuple[float, float]
    knees: tuple[float, float]
    arms: tuple[float, float]
    elbows: tuple[float, float]
    spread: tuple[float, float]  # arms away from the trunk


def draw_pose(shape: Shape, jitter: float, rng: np.random.Generator) -> Pose:
    """Draw a moment of walking or, at times, of standing."""
    phase = rng.uniform(0, 2 * math.pi)
    swing = shape.stride * (rng.uniform(0.05, 0.3) if rng.random() < 0.25 else rng.uniform(0.75, 1.15))
    noise = [float(value) for value in jitter * rng.standard_normal(14)]
    sine, cosine = math.sin(phase), math.cos(phase)
    return Pose(
        lean=shape.stoop + 0.5 * noise[0],
        twist=0.15 * swing * sine + noise[1],
        nod=1.5 * noise[2] + 0.05,
        turn=3.0 * noise[3],
        thighs=(swing * sine + 0.3 * noise[4], -swing * sine + 0.3 * noise[5]),
        # The knee bends while its leg swings forwards.
        knees=(0.08 + 1.7 * swing * max(0.0, cosine) ** 2, 0.08 + 1.7 * swing * max(0.0, -cosine) ** 2),
        arms=(-0.8 * swing * sine + noise[6], 0.8 * swing * sine + noise[7]),
        elbows=(
            0.22 + abs(noise[8]) + 0.4 * swing * max(0.0, -sine),
            0.22 + abs(noise[9]) + 0.4 * swing * max(0.0, sine),
        ),
        spread=(0.10 + 0.7 * abs(noise[10]), 0.10 + 0.7 * abs(noise[11])),
    )


def pose_frames(lengths: Proportions, pose: Pose) -> Array:
    """Return the frame of every bone in figure coordinates (14×4×4 float64), the lower foot on the ground."""
    frames = np.zeros((len(Bone), 4, 4))
    frames[:, 3, 3] = 1

    def set_frame(bone: Bone, rotation: Array, origin: Array) -> None:
        frames[bone, :3, :3] = rotation
        frames[bone, :3, 3] = origin

    pelvis = np.array([0.0, lengths.hip, 0.0])
    trunk = _about_y(pose.twist) @ _about_x(pose.lean)
    set_frame(Bone.TORSO, trunk, pelvis)
    neck = pelvis + trunk @ np.array([0.0, lengths.torso + 0.045, 0.006])
    skull = trunk @ _about_y(pose.turn) @ _about_x(pose.nod)
    set_frame(Bone.HEAD, skull, neck + skull @ np.array([0.0, lengths.head[1] * 1.02, 0.012]))
    lowest = math.inf
    for side, sign in enumerate((1.0, -1.0)):
        shoulder = pelvis + trunk @ np.array([sign * (lengths.shoulder - 0.017), lengths.torso - 0.040, 0.0])
        upper = trunk @ _about_z(sign * pose.spread[side]) @ _about_x(-pose.arms[side]) @ _DOWN
        elbow = shoulder + lengths.arm * upper[:, 1]
        lower = upper @ _about_x(pose.elbows[side])
        wrist = elbow + lengths.forearm * lower[:, 1]
        set_frame(Bone(Bone.ARM_LEFT + side), upper, shoulder)
        set_frame(Bone(Bone.FOREARM_LEFT + side), lower, elbow)
        set_frame(Bone(Bone.HAND_LEFT + side), 0.35 * lower + 0.65 * _DOWN, wrist)

        hip = pelvis + np.array([sign * lengths.hip_gap, 0.0, 0.0])
        thigh = _about_z(sign * 0.025) @ _about_x(-pose.thighs[side]) @ _DOWN
        knee = hip + lengths.thigh * thigh[:, 1]
        shank = thigh @ _about_x(-pose.knees[side])
        ankle = knee + lengths.shank * shank[:, 1]
        pitch = 0.45 * (pose.knees[side] - pose.thighs[side] - 0.08)
        foot = _about_y(sign * 0.12) @ _about_x(pitch) @ _DOWN
        set_frame(Bone(Bone.THIGH_LEFT + side), thigh, hip)
        set_frame(Bone(Bone.SHANK_LEFT + side), shank, knee)
        set_frame(Bone(Bone.FOOT_LEFT + side), foot, ankle)
        lowest = min(lowest, float(ankle[1]))
    frames[:, 1, 3] += ANKLE - lowest
    return frames


# Turns y downwards and leaves x and z: a mirror, which neither the casting nor the patterns mind.
_DOWN = np.diag([1.0, -1.0, 1.0])


def _about_x(angle: float) -> Array:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def _about_y(angle: float) -> Array:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def _about_z(angle: float) -> Array:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


Triple = tuple[float, float, float]


class Surface(IntEnum):
    """What a surface point is made of; each has its own two tones in every spectrum."""

    SKIN = 0
    FACE = 1
    HAIR = 2
    UPPER = 3
    LOWER = 4
    INNER = 5
    SHOE = 6
    BAG = 7
    HEADWEAR = 8
    EYE = 9
    LIP = 10


@dataclass(slots=True)
class Figure:
    """N primitives: bone, centre and half axes in the bone's frame, surface, frustum taper (none for a ball), slab."""

    lengths: Proportions
    bones: list[int] = field(default_factory=list)
    centres: list[Triple] = field(default_factory=list)
    sizes: list[Triple] = field(default_factory=list)
    surfaces: list[int] = field(default_factory=list)
    tapers: list[float] = field(default_factory=list)
    balls: list[bool] = field(default_factory=list)
    slabs: list[tuple[float, float]] = field(default_factory=list)

    def ball(
        self, bone: int, centre: Triple, size: Triple, surface: Surface, slab: tuple[float, float] = (-2.0, 2.0)
    ) -> None:
        """Add an ellipsoid; ``slab`` keeps the part between two heights, −1 at its lowest to 1 at its highest y."""
        self._add(bone, centre, size, surface, 0.0, True, slab)

    def frustum(
        self,
        bone: int,
        y: tuple[float, float],
        start: tuple[float, float],
        end: float,
        surface: Surface,
        z: float = 0.0,
    ) -> None:
        """Add an elliptic frustum along the bone's y axis.

        Args:
            bone: frame.
            y: where it starts and ends.
            start: half width and half depth at the start.
            end: half width at the end; the depth changes in proportion.
            surface: what it is made of.
            z: how far its axis lies before the bone's.
        """
        size = (start[0], y[1] - y[0], start[1])
        self._add(bone, (0.0, y[0], z), size, surface, end / start[0] - 1, False, (0.0, 1.0))

    def off_axis_frustum(self, bone: int, base: Triple, size: Triple, taper: float, surface: Surface) -> None:
        """Add an elliptic frustum that starts at ``base``; ``size`` is half width, length (signed) and half depth."""
        self._add(bone, base, size, surface, taper, False, (0.0, 1.0))

    def _add(
        self,
        bone: int,
        centre: Triple,
        size: Triple,
        surface: Surface,
        taper: float,
        ball: bool,
        slab: tuple[float, float],
    ) -> None:
        self.bones.append(int(bone))
        self.centres.append(centre)
        self.sizes.append(size)
        self.surfaces.append(int(surface))
        self.tapers.append(taper)
        self.balls.append(ball)
        self.slabs.append(slab)

    def local_maps(self) -> Array:
        """Return the map from every primitive's own coordinates to its bone's frame (N×4×4)."""
        local = np.zeros((len(self.bones), 4, 4))
        index = np.arange(3)
        local[:, index, index] = self.sizes
        local[:, :3, 3] = self.centres
        local[:, 3, 3] = 1
        return local


def widths(person: Person) -> dict[str, float]:
    """Half widths and depths of the trunk and limb radii of a body without clothes, shares of the stature."""
    shape = person.shape
    girth, frame = shape.girth, 0.55 + 0.45 * shape.girth
    return {
        "hip": 0.086 * frame * shape.hips,
        "hip_depth": 0.063 * girth,
        "waist": 0.076 * girth,
        "waist_depth": 0.054 * girth,
        "chest": 0.096 * (0.5 * frame + 0.5 * shape.shoulders),
        "chest_depth": 0.062 * (0.4 + 0.6 * girth),
        "thigh": 0.052 * (0.3 + 0.7 * girth),
        "knee": 0.035 * frame,
        "calf": 0.036 * frame,
        "ankle": 0.022 * frame,
        "arm": 0.030 * (0.3 + 0.7 * girth),
        "elbow": 0.024 * frame,
        "wrist": 0.017 * frame,
    }
