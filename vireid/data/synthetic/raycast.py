"""Per-pixel ray casting of quadrics: depth, part, position and normal of a posed figure.

Rays are parallel (a person fills a small part of a surveillance camera's field of view). A primitive is a unit ball
or a unit cone frustum, ``x² + z² = (1 + taper·y)²`` for y in [0, 1], placed by an affine map from its own coordinates
to the image: column, row (downwards) and depth (towards the camera), all in pixels. In the image it is the quadric
``pᵀ Q p = 0`` with ``p = (column, row, depth, 1)``, whose depth at a pixel has a closed form.

N primitives, P pixels hit, H×W pixels.
"""

from dataclasses import dataclass

import numpy as np

from vireid.core.types import Array, FloatArray, IntArray

_FAR = np.float32(-1e9)


@dataclass(frozen=True, slots=True)
class Hits:
    """The nearest hit of every pixel that sees the figure.

    ``flat`` are indices into the flattened H×W image; ``part`` is the primitive's number; ``point`` (P×3) is in image
    coordinates; ``normal`` (P×3) has unit length, x to the right, y upwards, z towards the camera. ``depth`` is H×W.
    """

    flat: IntArray
    part: IntArray
    point: FloatArray
    normal: FloatArray
    depth: FloatArray


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
    labels = np.full((height, width), -1, dtype=np.int16)
    cut = (slab[:, 0] > -1) | (slab[:, 1] < 1) | ~ball
    with np.errstate(invalid="ignore"):
        for part, box in enumerate(boxes):
            if box[0] < box[2] and box[1] < box[3]:
                _cast_one(part, box, quadric[part], inverse[part, 1] if cut[part] else None, slab[part], depth, labels)
    return _collect(depth, labels, quadric)


def _cast_one(
    part: int, box: list[int], quadric: Array, axis: Array | None, slab: Array, depth: Array, labels: Array
) -> None:
    """Cast one primitive into the depth and part images.

    With A z² + 2 B z + C = 0 along a ray, B is linear and C quadratic in column and row. So is the discriminant
    B² − A C, of which only the mixed term needs a two-dimensional product. Rays that miss have a negative one, whose
    root is NaN, and NaN is never nearer than anything.
    """
    x0, y0, x1, y1 = box
    # About the middle of the box, so that single precision suffices for the two-dimensional part.
    middle = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
    x, y = np.arange(x0, x1) + (0.5 - middle[0]), np.arange(y0, y1) + (0.5 - middle[1])
    q = quadric
    a = q[2, 2]
    if abs(a) < 1e-12:
        return
    b0 = q[2, 0] * middle[0] + q[2, 1] * middle[1] + q[2, 3]
    cx, cy = q[0, :2] @ middle + q[0, 3], q[1, :2] @ middle + q[1, 3]
    c0 = middle @ q[:2, :2] @ middle + 2 * (q[:2, 3] @ middle) + q[3, 3]
    across = ((q[2, 0] ** 2 - a * q[0, 0]) * x + 2 * (b0 * q[2, 0] - a * cx)) * x + (b0 * b0 - a * c0)
    down = ((q[2, 1] ** 2 - a * q[1, 1]) * y + 2 * (b0 * q[2, 1] - a * cy)) * y
    mixed = 2 * (q[2, 0] * q[2, 1] - a * q[0, 1])
    z = np.multiply.outer((mixed * y).astype(np.float32), x.astype(np.float32))
    z += across.astype(np.float32)
    z += down.astype(np.float32)[:, None]
    np.sqrt(z, out=z)
    z *= np.float32(1 / a)
    z -= ((q[2, 0] * x + b0) / a).astype(np.float32)
    z -= (q[2, 1] * y / a).astype(np.float32)[:, None]
    window = depth[y0:y1, x0:x1]
    hit = z > window
    if axis is not None:
        low, high = slab
        along = z * np.float32(axis[2])
        along += (axis[0] * x).astype(np.float32)
        along += (axis[1] * y + (axis[:2] @ middle + axis[3] - (low + high) / 2)).astype(np.float32)[:, None]
        hit &= np.abs(along, out=along) <= np.float32((high - low) / 2)
    np.copyto(window, z, where=hit)
    np.copyto(labels[y0:y1, x0:x1], part, where=hit)


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


def _collect(depth: Array, labels: Array, quadric: Array) -> Hits:
    width = depth.shape[1]
    flat = np.flatnonzero(labels.ravel() >= 0)
    part = labels.ravel()[flat].astype(np.int64)
    point = np.empty((len(flat), 3), dtype=np.float32)
    row = flat // width
    point[:, 0] = flat - row * width
    point[:, 1] = row
    point[:, :2] += np.float32(0.5)
    point[:, 2] = depth.ravel()[flat]
    normal = transform(quadric[:, :3], part, point)
    normal[:, 1] *= -1
    normal /= np.sqrt(np.einsum("ij,ij->i", normal, normal))[:, None] + np.float32(1e-12)
    return Hits(flat, part, point, normal, depth)


def transform(maps: Array, part: Array, point: Array) -> FloatArray:
    """Apply to every point the affine map of its part.

    Args:
        maps: N×3×4.
        part: P, values below N.
        point: P×3.

    Returns:
        P×3 float32.
    """
    flat = maps.astype(np.float32).reshape(len(maps), 12).take(part, axis=0).reshape(-1, 3, 4)
    moved: FloatArray = flat[:, :, 3] + flat[:, :, 0] * point[:, :1]
    moved += flat[:, :, 1] * point[:, 1:2]
    moved += flat[:, :, 2] * point[:, 2:]
    return moved
