"""The complete figure of a person, as arrays ready for posing and casting."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from vireid.core.types import Array
from vireid.data.synthetic.attributes import Person
from vireid.data.synthetic.body import Figure, Pose, Proportions, pose_frames, proportions
from vireid.data.synthetic.garments import add_bag, add_clothes, add_head, add_headwear
from vireid.data.synthetic.raycast import Hits, cast, transform


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
