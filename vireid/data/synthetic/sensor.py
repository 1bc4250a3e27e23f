"""What the camera does to the light: point spread, vignette, stray light, noise, scaling to the file's size."""

from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from vireid.core.seeding import generator
from vireid.data.synthetic.cameras import Camera
from vireid.data.synthetic.scene import FRAME

Array = npt.NDArray[Any]

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
) -> npt.NDArray[np.uint8]:
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
    result: npt.NDArray[np.uint8] = np.asarray(image.resize((size[1], size[0]), Image.Resampling.BICUBIC))
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
