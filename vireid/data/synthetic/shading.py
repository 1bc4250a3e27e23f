"""From hits to pixel values: light, cloth folds and shadows of the figure on itself, per spectrum."""

from functools import lru_cache
from typing import Final

import numpy as np
from scipy.ndimage import gaussian_filter

from vireid.core.seeding import generator
from vireid.core.types import Array, FloatArray
from vireid.data.synthetic.appearance import Points, paint, tones
from vireid.data.synthetic.attributes import Person
from vireid.data.synthetic.body import Surface
from vireid.data.synthetic.cameras import Camera
from vireid.data.synthetic.garments import Dressed
from vireid.data.synthetic.raycast import Hits

_FOLD_DEPTH: Final = np.zeros(len(Surface), dtype=np.float32)
_FOLD_DEPTH[[Surface.UPPER, Surface.INNER]] = 0.34
_FOLD_DEPTH[Surface.LOWER] = 0.30
_FOLD_DEPTH[Surface.HAIR] = 0.22
_FOLD_DEPTH[[Surface.BAG, Surface.HEADWEAR]] = 0.10


@lru_cache(maxsize=1)
def _folds() -> Array:
    """Two slope maps (256×256×2) of rumpled cloth that repeat without a seam."""
    noise = generator(0, "synthetic/folds").standard_normal((256, 256))
    relief = gaussian_filter(noise, (9, 15), mode="wrap") * 25 + gaussian_filter(noise.T, (20, 7), mode="wrap") * 22
    slopes = np.stack([np.roll(relief, -1, axis) - np.roll(relief, 1, axis) for axis in (1, 0)], axis=-1)
    folds: Array = (slopes / slopes.std()).astype(np.float32)
    return folds


def shade(
    person: Person, dressed: Dressed, camera: Camera, hits: Hits, body: Array, scale: float, rng: np.random.Generator
) -> FloatArray:
    """Return the value of every hit (P×3, in the infrared P×1), as shown: 0 to 1 and possibly above."""
    points = Points(dressed.bone[hits.part], dressed.surface[hits.part], body)
    surface, share = paint(person, dressed.lengths, points)
    table = tones(person, camera.spectrum)
    first = table[:, 0].take(surface, axis=0)
    first += share[:, None] * (table[:, 1] - table[:, 0]).take(surface, axis=0)
    normal = _fold(hits.normal, surface, body, rng)
    if camera.spectrum == "thermal":
        warmth: Array = first * (np.float32(0.86) + np.float32(0.14) * normal[:, 2:])
        return warmth
    towards = np.asarray(camera.light) + 0.12 * rng.standard_normal(3)
    light = (towards / np.linalg.norm(towards)).astype(np.float32)
    facing = (normal @ light + np.float32(0.25)) / np.float32(1.25)
    np.maximum(facing, 0, out=facing)
    facing *= _self_shadow(hits, light, scale)
    # Light from above fills what the lamp leaves; the ground gives some back.
    fill = np.float32(0.72) + np.float32(0.28) * normal[:, 1]
    channels = first.shape[1]
    tint = np.asarray(camera.light_colour[:channels], dtype=np.float32)
    ambient = np.asarray(camera.ambient[:channels], dtype=np.float32)
    first *= facing[:, None] * tint + fill[:, None] * ambient
    if camera.spectrum == "visible":
        np.sqrt(first, out=first)
    return first


def _fold(normal: Array, surface: Array, body: Array, rng: np.random.Generator) -> Array:
    """Tilt the normals by cloth folds that lie anew in every shot."""
    shift = rng.integers(0, 256, 2)
    column = ((body[:, 0] - body[:, 2]) * 620).astype(np.int64) + shift[0]
    row = (body[:, 1] * 620).astype(np.int64) + shift[1]
    slope = _folds().reshape(-1, 2).take(((row & 255) << 8) | (column & 255), axis=0)
    slope *= _FOLD_DEPTH[surface][:, None]
    tilted = normal.copy()
    tilted[:, :2] += slope
    tilted /= np.sqrt(np.einsum("ij,ij->i", tilted, tilted))[:, None]
    return tilted


def _self_shadow(hits: Hits, light: Array, scale: float) -> Array:
    """Share of the light that reaches a point past the rest of the figure, from three steps towards the light."""
    height, width = hits.depth.shape
    z = hits.point[:, 2]
    row, column = np.divmod(hits.flat, width)
    open_share = np.ones(len(z), dtype=np.float32)
    for step in (0.022, 0.045, 0.08):
        reach = step * scale
        r = np.clip(row - round(float(light[1]) * reach), 0, height - 1)
        c = np.clip(column + round(float(light[0]) * reach), 0, width - 1)
        ahead = hits.depth.ravel().take(r * width + c) - z - np.float32(float(light[2]) * reach)
        open_share -= 0.24 * (ahead > 0.006 * scale)
    return open_share
