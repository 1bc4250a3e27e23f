"""The cameras of the three layouts: each with its own place, light, viewpoint, noise, blur and compression.

SYSU-MM01 (Wu et al., ICCV 2017) has six cameras: 1, 2 visible and 3 near infrared indoors, 4, 5 visible and 6 near
infrared outdoors. RegDB (Nguyen et al., Sensors 2017) has one visible and one thermal camera on a roof. LLCM (Zhang
and Wang, CVPR 2023) has nine places; the third has no near-infrared images.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from vireid.core.seeding import generator

Spectrum = Literal["visible", "nir", "thermal"]
Scene = Literal["corridor", "hall", "room", "street", "plaza", "park"]


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera and its place. ``seed`` draws the place itself: doors, windows, trees, where they stand."""

    name: str
    spectrum: Spectrum
    number: int
    seed: int
    scene: Scene
    night: bool
    yaws: tuple[float, ...]  # directions people walk in, radians; 0 walks towards the camera
    yaw_spread: float  # standard deviation about them, radians
    elevation: tuple[float, float]  # how far the camera looks down, radians
    distance: tuple[float, float]  # metres
    light: tuple[float, float, float]  # direction to the light in camera coordinates (right, up, towards the camera)
    light_colour: tuple[float, float, float]
    ambient: tuple[float, float, float]
    exposure: float
    haze: float  # lifts black: stray light, low contrast
    noise: float  # standard deviation, 8-bit levels
    rows: int  # how many sensor rows a person's box covers: the resolution before scaling to the file's size
    vignette: float  # loss of brightness at the corners of the frame
    jpeg_quality: int


_FRONT_SIDE = (0.0, 0.7, -0.7)
_BACK_SIDE = (np.pi, 2.6, -2.6)
_ALL_ROUND = (0.0, 0.8, -0.8, np.pi, 2.4, -2.4)


def _visible(number: int, scene: Scene, seed: int, yaws: tuple[float, ...], **changes: object) -> Camera:
    outdoor = scene in ("street", "plaza", "park")
    values: dict[str, object] = {
        "name": f"visible {number}",
        "spectrum": "visible",
        "number": number,
        "seed": seed,
        "scene": scene,
        "night": False,
        "yaws": yaws,
        "yaw_spread": 0.30,
        "elevation": (0.12, 0.26),
        "distance": (5.0, 14.0) if outdoor else (3.0, 8.0),
        "light": (0.5, 0.75, 0.45),
        "light_colour": (0.95, 0.92, 0.86) if outdoor else (0.72, 0.70, 0.66),
        "ambient": (0.40, 0.44, 0.52) if outdoor else (0.42, 0.41, 0.40),
        "exposure": 1.0,
        "haze": 0.02,
        "noise": 3.0,
        "rows": 224,
        "vignette": 0.15,
        "jpeg_quality": 85,
    }
    return Camera(**(values | changes))  # type: ignore[arg-type]


def _near_infrared(number: int, scene: Scene, seed: int, yaws: tuple[float, ...], **changes: object) -> Camera:
    values: dict[str, object] = {
        "name": f"near infrared {number}",
        "spectrum": "nir",
        "night": True,
        # The lamps sit around the lens: light comes from where the camera is, and falls off with distance.
        "light": (0.05, 0.15, 1.0),
        "light_colour": (1.05, 1.05, 1.05),
        "ambient": (0.18, 0.18, 0.18),
        "haze": 0.03,
        "noise": 4.0,
        "rows": 204,
        "vignette": 0.35,
        "jpeg_quality": 82,
    }
    return _visible(number, scene, seed, yaws, **(values | changes))


def _sysu(seed: int) -> list[Camera]:
    return [
        _visible(1, "room", seed, _FRONT_SIDE, light_colour=(0.80, 0.74, 0.62), distance=(3.0, 6.0), noise=2.5),
        _visible(
            2,
            "corridor",
            seed,
            _ALL_ROUND,
            light=(-0.2, 0.95, 0.3),
            light_colour=(0.62, 0.66, 0.68),
            exposure=0.92,
            elevation=(0.18, 0.34),
            jpeg_quality=80,
        ),
        _near_infrared(3, "corridor", seed, _ALL_ROUND, elevation=(0.10, 0.25)),
        _visible(
            4, "street", seed, _BACK_SIDE + _FRONT_SIDE, light=(-0.6, 0.7, 0.3), exposure=1.08, rows=216, noise=3.5
        ),
        _visible(
            5,
            "plaza",
            seed,
            _ALL_ROUND,
            light=(0.7, 0.6, -0.1),
            light_colour=(1.0, 0.90, 0.74),
            ambient=(0.34, 0.38, 0.46),
            jpeg_quality=78,
            elevation=(0.2, 0.36),
        ),
        _near_infrared(6, "street", seed, _ALL_ROUND, noise=5.5, exposure=0.95, rows=188, vignette=0.45),
    ]


def _regdb(seed: int) -> list[Camera]:
    roof = {"elevation": (0.28, 0.42), "distance": (10.0, 18.0)}
    yaws = (0.0, 0.5, -0.5, np.pi)
    thermal = {"noise": 2.0, "rows": 116, "vignette": 0.1, "night": False, "name": "thermal 1", "spectrum": "thermal"}
    return [
        _visible(1, "plaza", seed, yaws, rows=196, noise=4.0, **roof),
        _near_infrared(1, "plaza", seed, yaws, **(roof | thermal)),
    ]


def _llcm(seed: int) -> list[Camera]:
    scenes: tuple[Scene, ...] = ("street", "corridor", "plaza", "hall", "park", "room", "street", "hall", "plaza")
    cameras: list[Camera] = []
    for number, scene in enumerate(scenes, start=1):
        rng = generator(seed, "synthetic/llcm/camera", number)
        warm = float(rng.uniform(-0.12, 0.14))
        dim = float(rng.uniform(0.5, 0.95))  # low light is what LLCM is about
        low = float(rng.uniform(0.08, 0.2))
        view = {"elevation": (low, low + 0.14), "rows": int(rng.integers(180, 232))}
        cameras.append(
            _visible(
                number,
                scene,
                seed,
                _ALL_ROUND if number % 2 else _FRONT_SIDE,
                light=(float(rng.uniform(-0.8, 0.8)), 0.7, float(rng.uniform(0.0, 0.5))),
                light_colour=(0.85 + warm, 0.82, 0.80 - warm),
                exposure=dim,
                noise=float(2.5 + 5 * (1 - dim)),
                jpeg_quality=int(rng.integers(75, 90)),
                **view,
            )
        )
        if number != 3:
            noise = float(rng.uniform(4.0, 7.0))
            cameras.append(_near_infrared(number, scene, seed, _ALL_ROUND, noise=noise, **view))
    return cameras


@lru_cache(maxsize=32)
def _cameras(layout: str, seed: int) -> tuple[Camera, ...]:
    return tuple({"sysu": _sysu, "regdb": _regdb, "llcm": _llcm}[layout](seed))


def cameras_for(layout: Literal["sysu", "regdb", "llcm"], seed: int) -> dict[tuple[Spectrum, int], Camera]:
    """Return the cameras of a layout by (spectrum, camera number)."""
    return {(camera.spectrum, camera.number): camera for camera in _cameras(layout, seed)}
