"""What the camera does to the light: blur, vignette, stray light, noise."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from vireid.core.seeding import generator
from vireid.data.synthetic.cameras import Camera
from vireid.data.synthetic.scene import FRAME

Array = npt.NDArray[Any]

_FIELD: Final = 512


@lru_cache(maxsize=2)
def _noise_field(grey: bool) -> Array:
    """Unit noise that repeats without a seam (512×512×3), mostly brightness; with three equal channels if ``grey``."""
    rng = generator(0, "synthetic/noise", int(grey))
    field = np.repeat(rng.standard_normal((_FIELD, _FIELD, 1), dtype=np.float32), 3, axis=2)
    if not grey:
        field = 0.8 * field + 0.6 * rng.standard_normal((_FIELD, _FIELD, 3), dtype=np.float32)
    return field


def expose(
    picture: Array, camera: Camera, gain: float, blur: float, box: tuple[float, ...], rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Turn shown values (H×W×3, 0 to 1) into the camera's image (H×W×3 uint8).

    Args:
        picture: what arrives at the lens; overwritten.
        camera: the camera.
        gain: the shot's exposure.
        blur: point spread in pixels of this image.
        box: left, top, right, bottom of the crop in the frame, for the vignette.
        rng: the shot's generator.
    """
    height, width = picture.shape[:2]
    across = (np.linspace(box[0], box[2], width, dtype=np.float32) / FRAME[0] - 0.5) * 2
    down = (np.linspace(box[1], box[3], height, dtype=np.float32) / FRAME[1] - 0.5) * 2
    vignette = np.float32(camera.vignette / 2)
    scale = 255 * gain * (1 - camera.haze) * (1 - vignette * (across**2)[None, :] - vignette * (down**2)[:, None])
    picture *= scale.astype(np.float32)[..., None]
    picture += np.float32(255 * camera.haze)
    np.clip(picture, 0, 255, out=picture)
    image = Image.fromarray(picture.astype(np.uint8)).filter(ImageFilter.GaussianBlur(blur))
    rows, columns = ((rng.integers(_FIELD) + np.arange(n)) % _FIELD for n in (height, width))
    noisy = _noise_field(camera.spectrum != "visible")[rows][:, columns]
    noisy *= np.float32(camera.noise)
    noisy += np.asarray(image)
    np.clip(noisy, 0, 255, out=noisy)
    result: npt.NDArray[np.uint8] = noisy.astype(np.uint8)
    return result
