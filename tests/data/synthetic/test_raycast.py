from __future__ import annotations

import numpy as np
import pytest

from vireid.data.synthetic.raycast import cast, transform


def random_placement(rng: np.random.Generator) -> np.ndarray:
    rotation, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    placed = np.eye(4)
    placed[:3, :3] = rotation * rng.uniform(4, 9, 3)
    placed[:3, 3] = rng.uniform(10, 22), rng.uniform(12, 28), rng.uniform(-3, 3)
    return placed


def march(placed: np.ndarray, ball: np.ndarray, taper: np.ndarray, slab: np.ndarray, h: int, w: int) -> np.ndarray:
    """First solid point from the camera's side in small steps along every ray, over all primitives."""
    steps = np.arange(30, -30, -0.02)
    depth = np.full((h, w), -np.inf)
    for k in range(len(placed)):
        inverse = np.linalg.inv(placed[k])
        for row in range(h):
            for column in range(w):
                ray = np.stack([np.full_like(steps, column + 0.5), np.full_like(steps, row + 0.5), steps], axis=1)
                x, y, z = (ray @ inverse[:3, :3].T + inverse[:3, 3]).T
                surface = x * x + y * y + z * z <= 1 if ball[k] else x * x + z * z <= (1 + taper[k] * y) ** 2
                inside = surface & (y >= slab[k, 0]) & (y <= slab[k, 1])
                if inside.any():
                    depth[row, column] = max(depth[row, column], steps[inside.argmax()])
    return depth


@pytest.mark.parametrize("seed", range(3))
def test_depths_of_balls_equal_a_march_along_every_ray(seed: int) -> None:
    rng = np.random.default_rng(seed)
    placed = np.stack([random_placement(rng) for _ in range(3)])
    ball, taper, slab = np.ones(3, bool), np.zeros(3), np.tile((-2.0, 2.0), (3, 1))
    hits = cast(placed, ball, taper, slab, 40, 32)
    expected = march(placed, ball, taper, slab, 40, 32)
    seen = np.zeros((40, 32), bool)
    seen.ravel()[hits.flat] = True
    assert np.mean(seen != np.isfinite(expected)) < 0.004
    both = seen & np.isfinite(expected)
    assert np.abs(hits.depth - expected)[both].max() < 0.25
    assert np.abs(hits.depth - expected)[both].mean() < 0.03


def test_depths_of_an_upright_frustum_equal_a_march_along_every_ray() -> None:
    # Its axis lies in the image plane, so that the open ends are seen by no ray.
    placed = np.array([[[8.0, 0, 0, 16], [0, 22, 0, 8], [0, 0, 6, 0], [0, 0, 0, 1]]])
    arguments = placed, np.zeros(1, bool), np.array([0.4]), np.array([[0.0, 1.0]])
    hits, expected = cast(*arguments, 40, 32), march(*arguments, 40, 32)
    seen = np.zeros((40, 32), bool)
    seen.ravel()[hits.flat] = True
    assert np.array_equal(seen, np.isfinite(expected))
    assert np.abs(hits.depth - expected)[seen].max() < 0.03


def test_normals_are_those_of_the_sphere() -> None:
    placed = np.diag([12.0, 12.0, 12.0, 1.0])[None]
    placed[0, :3, 3] = 16, 20, 0
    hits = cast(placed, np.ones(1, bool), np.zeros(1), np.array([[-2.0, 2.0]]), 40, 32)
    expected = (hits.point - placed[0, :3, 3]) / 12 * np.array([1, -1, 1])
    assert np.abs(hits.normal - expected).max() < 1e-4
    assert (hits.normal[:, 2] > 0).all()


def test_the_nearer_primitive_hides_the_farther_one() -> None:
    placed = np.stack([np.diag([8.0, 8.0, 8.0, 1.0])] * 2)
    placed[:, :3, 3] = (16, 20, 0), (16, 20, 9)
    for order in ([0, 1], [1, 0]):
        hits = cast(placed[order], np.ones(2, bool), np.zeros(2), np.tile((-2.0, 2.0), (2, 1)), 40, 32)
        middle = hits.part[np.flatnonzero(hits.flat == 20 * 32 + 16)[0]]
        assert order[middle] == 1


def test_slab_cuts_a_ball() -> None:
    placed = np.diag([8.0, -8.0, 8.0, 1.0])[None]
    placed[0, :3, 3] = 16, 20, 0
    hits = cast(placed, np.ones(1, bool), np.zeros(1), np.array([[0.0, 2.0]]), 40, 32)
    assert (hits.point[:, 1] <= 20.01).all()


def test_transform_applies_the_map_of_each_part() -> None:
    rng = np.random.default_rng(0)
    maps, part, point = rng.standard_normal((4, 3, 4)), rng.integers(0, 4, 50), rng.standard_normal((50, 3))
    expected = [maps[k][:, :3] @ p + maps[k][:, 3] for k, p in zip(part, point, strict=True)]
    assert np.allclose(transform(maps, part, point.astype(np.float32)), expected, atol=1e-5)
