"""What stands before and behind the person: poles, furniture and passers-by, none of which knows who the person is."""

from functools import lru_cache
from typing import Final

import numpy as np
from PIL import Image

from vireid.core.seeding import generator
from vireid.core.types import Array
from vireid.data.synthetic import difficulty
from vireid.data.synthetic.attributes import draw_person
from vireid.data.synthetic.body import draw_pose
from vireid.data.synthetic.cameras import Camera
from vireid.data.synthetic.garments import Viewpoint, cast_person, dress
from vireid.data.synthetic.shading import shade

_PASSERS_BY: Final = 12
"""Strangers that a camera knows; their identities are negative and so never those of a dataset."""

_SPRITE: Final = (288, 160)


@lru_cache(maxsize=512)
def _passer_by(camera: Camera, number: int) -> Image.Image:
    """Return a stranger as that camera sees them (RGBA)."""
    rng = generator(camera.seed, "synthetic/passer-by", camera.spectrum, camera.number, number)
    height, width = _SPRITE
    person = draw_person(camera.seed, -1 - number)
    elevation = sum(camera.elevation) / 2
    yaw = float(camera.yaws[int(rng.integers(len(camera.yaws)))])
    view = Viewpoint(yaw, elevation, 0.95 * height, width / 2, 0.97 * height)
    dressed = dress(person)
    hits, body = cast_person(dressed, draw_pose(person.shape, difficulty.POSE_JITTER, rng), view, height, width)
    sprite = np.zeros((height * width, 4), dtype=np.uint8)
    values = shade(person, dressed, camera, hits, body, view.scale, rng)
    sprite[hits.flat, :3] = np.clip(255 * values, 0, 255).astype(np.uint8)
    sprite[hits.flat, 3] = 255
    return Image.fromarray(sprite.reshape(height, width, 4))


def add_bystander(picture: Array, camera: Camera, rng: np.random.Generator) -> None:
    """Put a smaller stranger behind where the person will stand; changes ``picture`` (h×w×channels, 0 to 1)."""
    height, width = picture.shape[:2]
    size = float(rng.uniform(0.45, 0.8))
    _paste(picture, None, camera, size, float(rng.uniform(0, 1)) * width, float(rng.uniform(0.55, 0.85)) * height, rng)


def add_occluder(picture: Array, mask: Array, camera: Camera, rng: np.random.Generator) -> None:
    """Hide part of the person; changes ``picture`` (h×w×channels, 0 to 1) and ``mask`` (h×w)."""
    height, width = mask.shape
    kind = rng.random()
    side = 1.0 if rng.random() < 0.5 else -1.0
    if kind < 0.4:
        offset = side * float(rng.uniform(0.36, 0.55))
        feet = float(rng.uniform(1.0, 1.15)) * height
        _paste(picture, mask, camera, float(rng.uniform(0.95, 1.2)), (0.5 + offset) * width, feet, rng)
        return
    if kind < 0.65:
        centre, half = (0.5 + side * float(rng.uniform(0.05, 0.4))) * width, float(rng.uniform(0.02, 0.05)) * width
        rows, columns = slice(0, height), slice(max(0, int(centre - half)), int(centre + half) + 1)
    else:
        wide, left = float(rng.uniform(0.4, 1.0)) * width, float(rng.uniform(-0.2, 0.8)) * width
        rows = slice(int(float(rng.uniform(0.66, 0.86)) * height), height)
        columns = slice(max(0, int(left)), max(1, int(left + wide)))
    level = _tone(camera, rng)
    across = np.linspace(-1, 1, max(columns.stop - columns.start, 1), dtype=np.float32)[: width - columns.start]
    picture[rows, columns] = (level[None, :] * (1 - 0.35 * across[:, None] ** 2))[None]
    picture[rows.start : rows.start + max(2, height // 60), columns] *= np.float32(1.25)
    mask[rows, columns] = False


def _tone(camera: Camera, rng: np.random.Generator) -> Array:
    if camera.spectrum == "visible":
        tint = np.sqrt(np.asarray(camera.light_colour) * camera.exposure)
        return (rng.uniform(0.15, 0.6) * tint * (1 + 0.15 * rng.standard_normal(3))).clip(0.03, 0.9).astype(np.float32)
    level = rng.uniform(0.16, 0.34) if camera.spectrum == "thermal" else rng.uniform(0.2, 0.7)
    return np.full(1, level, dtype=np.float32)


def _paste(
    picture: Array,
    mask: Array | None,
    camera: Camera,
    size: float,
    column: float,
    feet: float,
    rng: np.random.Generator,
) -> None:
    height, width = picture.shape[:2]
    sprite = _passer_by(camera, int(rng.integers(_PASSERS_BY)))
    tall = max(4, round(size * height))
    wide = max(2, round(tall * _SPRITE[1] / _SPRITE[0]))
    left, top = round(column - wide / 2), round(feet - tall)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + wide, width), min(top + tall, height)
    if x1 <= x0 or y1 <= y0:
        return
    pixels = np.asarray(sprite.resize((wide, tall), Image.Resampling.BILINEAR))
    cut = pixels[y0 - top : y1 - top, x0 - left : x1 - left]
    alpha = (cut[..., 3:] > 127).astype(np.float32)
    # Resampling mixes the sprite's border with black; where it counts as solid, that is undone.
    solid = cut[..., : picture.shape[2]] / np.maximum(cut[..., 3:], 1).astype(np.float32)
    region = picture[y0:y1, x0:x1]
    region += alpha * (solid - region)
    if mask is not None:
        mask[y0:y1, x0:x1] &= alpha[..., 0] == 0
