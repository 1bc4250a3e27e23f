"""One image of one person: the renderer's entry point, and what the camera does to the light."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from PIL import Image

from vireid.core.seeding import generator
from vireid.core.types import Array, BoolArray, ByteArray
from vireid.data.synthetic import difficulty
from vireid.data.synthetic.attributes import Person, draw_person
from vireid.data.synthetic.body import draw_pose
from vireid.data.synthetic.cameras import Camera, Spectrum, cameras_for
from vireid.data.synthetic.config import RENDERER_VERSION
from vireid.data.synthetic.garments import Viewpoint, cast_person, dress
from vireid.data.synthetic.occlusion import add_bystander, add_occluder
from vireid.data.synthetic.places import FRAME, backdrop, window
from vireid.data.synthetic.shading import shade

_FIELD: Final = 512


@lru_cache(maxsize=2)
def _noise_field(channels: int) -> Array:
    """Unit noise that repeats without a seam (512×512×channels), in colour mostly of brightness."""
    rng = generator(0, "synthetic/noise", channels)
    field = rng.standard_normal((_FIELD, _FIELD, 1), dtype=np.float32)
    if channels == 3:
        field = 0.8 * field + 0.6 * rng.standard_normal((_FIELD, _FIELD, 3), dtype=np.float32)
    return field


def expose(
    picture: Array, camera: Camera, gain: float, box: tuple[float, ...], size: tuple[int, int], rng: np.random.Generator
) -> ByteArray:
    """Turn shown values into the camera's image.

    Args:
        picture: what arrives at the sensor (h×w×1 or h×w×3, 0 to 1); overwritten.
        camera: the camera.
        gain: the shot's exposure.
        box: left, top, right, bottom of the crop in the frame, for the vignette.
        size: height and width of the image.
        rng: the shot's generator.

    Returns:
        H×W×3 uint8.
    """
    height, width, channels = picture.shape
    across = (np.linspace(box[0], box[2], width) / FRAME[0] - 0.5) * 2
    down = (np.linspace(box[1], box[3], height) / FRAME[1] - 0.5) * 2
    loss = camera.vignette / 2
    scale = 255 * gain * (1 - camera.haze) * (1 - loss * (across**2)[None, :] - loss * (down**2)[:, None])
    picture = _spread(picture)
    picture *= scale.astype(np.float32)[..., None]
    row, column = (int(start) for start in rng.integers(0, _FIELD, 2))
    field = _noise_field(channels).take(np.arange(row, row + height), axis=0, mode="wrap")
    noise = field.take(np.arange(column, column + width), axis=1, mode="wrap")
    noise *= np.float32(camera.noise)
    picture += noise
    picture += np.float32(255 * camera.haze)
    np.clip(picture, 0, 255, out=picture)
    levels = picture.astype(np.uint8)
    image = Image.fromarray(levels if channels == 3 else levels[..., 0])
    result: ByteArray = np.asarray(image.resize((size[1], size[0]), Image.Resampling.BICUBIC))
    return result if channels == 3 else np.repeat(result[..., None], 3, axis=2)


def _spread(picture: Array) -> Array:
    """Blur by (1, 2, 1)/4 in both directions; the lens does it, and it smooths the cut-out's edges."""
    blurred = picture.copy()
    blurred[1:-1] *= 2
    blurred[1:-1] += picture[:-2]
    blurred[1:-1] += picture[2:]
    blurred[1:-1] *= np.float32(0.25)
    result = blurred.copy()
    result[:, 1:-1] *= 2
    result[:, 1:-1] += blurred[:, :-2]
    result[:, 1:-1] += blurred[:, 2:]
    result[:, 1:-1] *= np.float32(0.25)
    return result


__all__ = ["RENDERER_VERSION", "Camera", "Person", "Rendering", "Spectrum", "cameras_for", "draw_person", "render"]


@dataclass(frozen=True, slots=True)
class Rendering:
    """An image and what the renderer knows of it.

    ``image``: H×W×3 uint8, sRGB; infrared has three equal channels. ``mask``: H×W bool, the visible part of the
    person. ``box``: (x0, y0, x1, y1) in pixels, the detector-like crop in the camera's full frame.
    """

    image: ByteArray
    mask: BoolArray
    box: tuple[int, int, int, int]


def render(person: Person, camera: Camera, *, seed: int, shot: int, height: int, width: int) -> Rendering:
    """Render one shot of a person, a pure function of its arguments.

    Args:
        person: who.
        camera: where; one of ``cameras_for``.
        seed: render seed; with identity, camera and shot it keys pose, viewpoint, crop, light and noise.
        shot: number of the shot of this person by this camera.
        height: H, pixels.
        width: W, pixels.
    """
    rng = generator(seed, "synthetic/shot", person.identity, camera.spectrum, camera.number, shot)
    rows, columns = camera.rows, max(8, round(camera.rows * width / height))
    distance = float(rng.uniform(*camera.distance))
    box = window(camera, distance, width / height, rng)
    view = _viewpoint(camera, rows, columns, rng)
    dressed = dress(person)
    pose = draw_pose(person.shape, difficulty.POSE_JITTER, rng)
    hits, body = cast_person(dressed, pose, view, rows, columns)
    values = shade(person, dressed, camera, hits, body, view.scale, rng)
    gain = math.exp(difficulty.EXPOSURE_JITTER * float(rng.standard_normal()))
    if camera.spectrum == "visible":
        values *= np.float32(math.sqrt(camera.exposure))
    elif camera.spectrum == "nir":
        # The lamp's light falls off with distance; automatic exposure takes back most of it.
        values *= np.float32(camera.exposure * (camera.distance[0] / distance) ** 0.3)
    picture = _background(camera, box, rows, columns)
    if rng.random() < difficulty.BYSTANDER_CHANCE:
        add_bystander(picture, camera, rng)
    if camera.spectrum != "thermal":
        _ground_shadow(picture, camera, view)
    picture.reshape(rows * columns, -1)[hits.flat] = values
    mask = np.zeros((rows, columns), dtype=bool)
    mask.ravel()[hits.flat] = True
    if rng.random() < difficulty.OCCLUSION_CHANCE:
        add_occluder(picture, mask, camera, rng)
    image = expose(picture, camera, gain, box, (height, width), rng)
    full_mask = np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))
    x0, y0, x1, y1 = (round(value) for value in box)
    return Rendering(image, full_mask, (x0, y0, x1, y1))


def _viewpoint(camera: Camera, height: int, width: int, rng: np.random.Generator) -> Viewpoint:
    """Draw direction and detector jitter: every person fills the box alike, whatever their stature."""
    spread = camera.yaw_spread * difficulty.YAW_SPREAD_SCALE
    yaw = float(camera.yaws[int(rng.integers(len(camera.yaws)))]) + spread * float(rng.standard_normal())
    elevation = float(rng.uniform(*camera.elevation))
    shift, drop, grow = difficulty.CROP_JITTER * rng.standard_normal(3)
    # From above, the body shortens and the feet reach out: head to foot sole as they appear.
    extent = math.cos(elevation) + 0.08 * math.sin(elevation)
    scale = 0.90 * height / extent * math.exp(-abs(float(grow)))
    return Viewpoint(
        yaw=yaw,
        elevation=elevation,
        scale=scale,
        column=width * (0.5 + 0.8 * float(shift)),
        row=height * (0.945 + 0.5 * float(drop)),
    )


def _background(camera: Camera, box: tuple[float, float, float, float], rows: int, columns: int) -> Array:
    crop = backdrop(camera).resize((columns, rows), Image.Resampling.BILINEAR, box=box)
    picture = np.asarray(crop, dtype=np.float32).reshape(rows, columns, -1)
    return picture * np.float32(1 / 255)


def _ground_shadow(picture: Array, camera: Camera, view: Viewpoint) -> None:
    """Darken the floor around the feet, and along the way the light falls."""
    height, width = picture.shape[:2]
    top = max(0, int(view.row - 0.16 * view.scale))
    flat = max(0.18, math.sin(view.elevation))
    slant = 0.0 if camera.spectrum == "nir" else -camera.light[0]
    x = (np.arange(width, dtype=np.float32) - np.float32(view.column)) / np.float32(0.16 * view.scale)
    y = (np.arange(top, height, dtype=np.float32) - np.float32(view.row)) / np.float32(0.16 * view.scale * flat * 1.4)
    near = np.exp(-(x**2)[None, :] * 1.6 - (y**2)[:, None] * 2.2)
    away = np.exp(-((x[None, :] - np.float32(1.3 * slant)) ** 2) * 0.7 - ((y - 0.2) ** 2)[:, None] * 1.8)
    picture[top:] *= (1 - 0.42 * near - 0.20 * away)[..., None]
