"""Per-pixel ray casting of quadrics: depth, part, position and normal of a posed figure.

Rays are parallel (a person fills a small part of a surveillance camera's field of view). A primitive is a unit ball
or a unit cone frustum, ``x² + z² = (1 + taper·y)²`` for y in [0, 1], placed by an affine map from its own coordinates
to the image: column, row (downwards) and depth (towards the camera), all in pixels. In the image it is the quadric
``pᵀ Q p = 0`` with ``p = (column, row, depth, 1)``, whose depth at a pixel has a closed form.

N primitives, P pixels hit, H×W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_FAR = np.float32(-1e9)


@dataclass(frozen=True, slots=True)
class Hits:
    """The nearest hit of every pixel that sees the figure.

    ``flat`` are indices into the flattened H×W image; ``part`` is the primitive's number; ``point`` (P×3) is in image
    coordinates; ``normal`` (P×3) has unit length, x to the right, y upwards, z towards the camera. ``depth`` is H×W.
    """

    flat: npt.NDArray[np.int64]
    part: npt.NDArray[np.int64]
    point: npt.NDArray[np.float32]
    normal: npt.NDArray[np.float32]
    depth: npt.NDArray[np.float32]


def cast(placed: Array, ball: Array, taper: Array, slab: Array, height: int, width: int) -> Hits:
    """Cast one ray per pixel and keep the hit nearest to the camera.

    Args:
        placed: N×4×4 float64, affine maps from primitive to image coordinates.
        ball: N bool, ball (true) or frustum.
        taper: N, change of a frustum's radius from y = 0 to y = 1, relative to the radius at 0.
        slab: N×2, lowest and highest y of the primitive that exists.
        height: H.
        width: W.
    """
    inverse = np.linalg.inv(placed)
    quadric = _quadrics(inverse, ball, taper)
    boxes = _boxes(placed, ball, taper, height, width)
    depth = np.full((height, width), _FAR, dtype=np.float32)
    parts = np.full((height, width), -1, dtype=np.int16)
    columns, rows = np.arange(width) + 0.5, np.arange(height) + 0.5
    for part, (x0, y0, x1, y1) in enumerate(boxes):
        if x1 <= x0 or y1 <= y0:
            continue
        q, axis, (low, high) = quadric[part], inverse[part, 1], slab[part]
        a = q[2, 2]
        if abs(a) < 1e-12:
            continue
        x, y = columns[x0:x1], rows[y0:y1, None]
        # B = q20·x + q21·y + q23, disc = B² − a·C: both polynomials, so their one-variable parts stay one-dimensional.
        bx, by = q[2, 0] * x, q[2, 1] * y + q[2, 3]
        cx = q[0, 0] * x * x + 2 * q[0, 3] * x
        cy = q[1, 1] * y * y + 2 * q[1, 3] * y + q[3, 3]
        disc_x = (bx * bx - a * cx).astype(np.float64)
        disc_y = by * by - a * cy
        cross = 2 * (q[2, 0] * by - a * q[0, 1] * y)
        disc = (cross * x + disc_x + disc_y).astype(np.float32)
        hit = disc > 0
        z = np.sqrt(np.maximum(disc, 0, out=disc), out=disc)
        z *= np.float32(1 / a)
        z -= (bx / a).astype(np.float32)
        z -= (by / a).astype(np.float32)
        along = z * np.float32(axis[2])
        along += (axis[0] * x).astype(np.float32)
        along += (axis[1] * y + axis[3]).astype(np.float32)
        hit &= along >= low
        hit &= along <= high
        window = depth[y0:y1, x0:x1]
        hit &= z > window
        np.copyto(window, z, where=hit)
        np.copyto(parts[y0:y1, x0:x1], part, where=hit)
    return _collect(depth, parts, quadric, columns, rows, width)


def _quadrics(inverse: Array, ball: Array, taper: Array) -> Array:
    local = np.zeros_like(inverse)
    local[:, 0, 0] = local[:, 2, 2] = 1
    local[:, 1, 1] = np.where(ball, 1, -(taper**2))
    local[:, 1, 3] = local[:, 3, 1] = np.where(ball, 0, -taper)
    local[:, 3, 3] = -1
    result: Array = inverse.transpose(0, 2, 1) @ local @ inverse
    return result


def _boxes(placed: Array, ball: Array, taper: Array, height: int, width: int) -> list[list[int]]:
    """Smallest pixel boxes (x0, y0, x1, y1) around every primitive, clipped to the image."""
    centre, axes = placed[:, :2, 3], placed[:, :2, :3]
    reach = np.sqrt((axes**2).sum(2))
    ring = np.sqrt(axes[:, :, 0] ** 2 + axes[:, :, 2] ** 2)
    tip, tip_ring = centre + axes[:, :, 1], ring * np.abs(1 + taper)[:, None]
    is_ball = ball[:, None]
    low = np.where(is_ball, centre - reach, np.minimum(centre - ring, tip - tip_ring))
    high = np.where(is_ball, centre + reach, np.maximum(centre + ring, tip + tip_ring))
    limit = np.array([width, height])
    corners = np.concatenate([np.clip(np.floor(low), 0, limit), np.clip(np.ceil(high), 0, limit)], axis=1)
    boxes: list[list[int]] = corners.astype(int).tolist()
    return boxes


def _collect(depth: Array, parts: Array, quadric: Array, columns: Array, rows: Array, width: int) -> Hits:
    flat = np.flatnonzero(parts.ravel() >= 0)
    part = parts.ravel()[flat].astype(np.int64)
    point = np.empty((len(flat), 3), dtype=np.float32)
    point[:, 0] = columns[flat % width]
    point[:, 1] = rows[flat // width]
    point[:, 2] = depth.ravel()[flat]
    normal = transform(quadric[:, :3], part, point)
    normal[:, 1] *= -1
    normal /= np.sqrt(np.einsum("ij,ij->i", normal, normal))[:, None] + np.float32(1e-12)
    return Hits(flat, part, point, normal, depth)


def transform(maps: Array, part: Array, point: Array) -> npt.NDArray[np.float32]:
    """Apply to every point the affine map of its part.

    Args:
        maps: N×3×4.
        part: P, values below N.
        point: P×3.

    Returns:
        P×3 float32.
    """
    flat = maps.astype(np.float32).reshape(len(maps), 12).take(part, axis=0).reshape(-1, 3, 4)
    moved: npt.NDArray[np.float32] = np.einsum("pij,pj->pi", flat[:, :, :3], point) + flat[:, :, 3]
    return moved
