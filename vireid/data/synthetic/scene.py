"""The places behind the people: one wide frame per camera, drawn once and kept.

A shot shows a window of the frame that is drawn per shot, so that a background says which camera took the image and
nothing about who is in it.
"""

from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from vireid.core.seeding import generator
from vireid.data.synthetic import places
from vireid.data.synthetic.cameras import Camera
from vireid.data.synthetic.places import Painter, draw_place

Array = npt.NDArray[Any]

_SCALE: Final = 4 / 3
FRAME: Final = (int(places.SIZE[0] * _SCALE), int(places.SIZE[1] * _SCALE))
"""Width and height of a camera's frame in pixels."""

_NEAREST: Final = 360.0  # pixels: height of a person at a camera's smallest distance


@lru_cache(maxsize=64)
def backdrop(camera: Camera) -> Image.Image:
    """Return the camera's frame without people: RGB, or grey (L) in the infrared."""
    rng = generator(camera.seed, "synthetic/place", camera.name, camera.place)
    image = Image.new("RGB", FRAME)
    draw_place(Painter(ImageDraw.Draw(image), _SCALE, rng, camera.spectrum), camera.place)
    image = image.filter(ImageFilter.GaussianBlur(0.8))
    light = np.asarray(image, dtype=np.float32) / 255
    light = light * _clouds(rng, 90, 0.10)[..., None] * _clouds(rng, 5, 0.045)[..., None]
    light = light * _grain(rng, 0.02)[..., None]
    if camera.spectrum == "thermal":
        grey = light.mean(axis=2, keepdims=True)
        light = np.repeat(0.16 + 0.22 * (grey - grey.min()) / np.ptp(grey), 3, axis=2)
    elif camera.spectrum == "nir":
        light = light * _lamp()[..., None]
    else:
        # The person's light is the place's light: colour temperature and exposure act on both.
        cast = np.asarray(camera.light_colour) * 0.55 + np.asarray(camera.ambient) * 0.75
        light = light * np.sqrt(cast) * np.sqrt(camera.exposure)
    levels = (np.clip(light, 0, 1) * 255).astype(np.uint8)
    return Image.fromarray(levels if camera.spectrum == "visible" else levels[..., 0])


def window(
    camera: Camera, distance: float, aspect: float, rng: np.random.Generator
) -> tuple[float, float, float, float]:
    """Draw where in the frame a person at a distance (metres) stands: left, top, right, bottom of a crop of them.

    Args:
        camera: the camera.
        distance: within the camera's range.
        aspect: width of the crop over its height.
        rng: the shot's generator.
    """
    size = _NEAREST * (camera.distance[0] / distance) ** 0.7
    feet = _SCALE * places.HORIZON + size / 0.88 + float(rng.normal(0, 10))
    feet = max(feet, _SCALE * places.BASE + float(rng.uniform(12, 40)))
    height = size / 0.9
    width = height * aspect
    left = float(rng.uniform(0, FRAME[0] - width))
    bottom = min(feet + 0.05 * height, FRAME[1])
    return left, bottom - height, left + width, bottom


def _lamp() -> Array:
    """Light of a lamp beside the lens: strong on the near floor and in the middle, weak far away."""
    rows, columns = np.linspace(0, 1, FRAME[1])[:, None], np.linspace(-1, 1, FRAME[0])[None, :]
    lamp: Array = (0.50 + 0.5 * rows**1.3) * (1.05 - 0.35 * columns**2)
    return lamp.astype(np.float32)


def _clouds(rng: np.random.Generator, scale: int, strength: float) -> Array:
    """Smooth noise about 1, with blobs of ``scale`` pixels: stains, reflections, uneven paint."""
    small = rng.standard_normal((FRAME[1] // scale + 2, FRAME[0] // scale + 2)).astype(np.float32)
    smooth = Image.fromarray(small).resize(FRAME, Image.Resampling.BICUBIC)
    clouds: Array = 1 + strength * np.asarray(smooth)
    return clouds


def _grain(rng: np.random.Generator, strength: float) -> Array:
    grain: Array = 1 + strength * rng.standard_normal((FRAME[1], FRAME[0])).astype(np.float32)
    return grain
