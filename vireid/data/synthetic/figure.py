"""The figure: ball and frustum primitives of body, hair and bags on their bones.

Every primitive is aligned with the axes of its bone's frame, so that the coordinates of a surface point in that frame
are body coordinates, in which garments are cut and patterns drawn.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from vireid.data.synthetic.attributes import Person
from vireid.data.synthetic.body import Proportions

Array = npt.NDArray[Any]
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
