"""What processing and storing does: brightness, contrast, saturation, elastic distortion, pixelation, JPEG."""

import io

import numpy as np
from PIL import Image as Pictures
from scipy import ndimage

from vireid.core.types import FloatArray


def brightness(image: FloatArray, random: np.random.Generator, more: float) -> FloatArray:  # noqa: ARG001
    """Raise the value of HSV, the largest channel, leaving hue and saturation."""
    value = image.max(axis=2, keepdims=True)
    raised = np.minimum(value + more, 1)
    result: FloatArray = np.where(value > 0, image / np.where(value > 0, value, 1) * raised, raised)
    return result


def contrast(image: FloatArray, random: np.random.Generator, kept: float) -> FloatArray:  # noqa: ARG001
    """Bring every value nearer to its channel's mean, from which ``kept`` of the distance is left."""
    means = image.mean(axis=(0, 1), keepdims=True)
    result: FloatArray = (image - means) * kept + means
    return result


def saturate(image: FloatArray, random: np.random.Generator, factor: float, more: float) -> FloatArray:  # noqa: ARG001
    """Multiply the saturation of HSV, and add to it; grey pixels have the hue of red."""
    value = image.max(axis=2, keepdims=True)
    chroma = value - image.min(axis=2, keepdims=True)
    saturation = chroma / np.where(value > 0, value, 1)
    wanted = np.clip(saturation * factor + more, 0, 1)
    below = (value - image) / np.where(chroma > 0, chroma, 1)  # 0 for the largest channel, 1 for the smallest
    below = np.where(chroma > 0, below, np.array([0.0, 1.0, 1.0]))
    result: FloatArray = value * (1 - below * wanted)
    return result


def elastic(image: FloatArray, random: np.random.Generator, strength: float) -> FloatArray:
    """Move every pixel by smooth noise: uniform within 0.5 % of the height, blurred by 1 % of either side."""
    height, width = image.shape[:2]
    reach, sigma = 0.005 * height, (0.01 * height, 0.01 * width)
    right, down = (
        strength * ndimage.gaussian_filter(random.uniform(-reach, reach, (height, width)), sigma, truncate=3)
        for _ in range(2)
    )
    rows, columns = np.indices((height, width))
    at = np.stack([rows + down, columns + right])
    planes = [ndimage.map_coordinates(plane, at, order=1, mode="reflect") for plane in np.moveaxis(image, 2, 0)]
    return np.stack(planes, axis=2)


def pixelate(image: FloatArray, random: np.random.Generator, kept: float) -> FloatArray:  # noqa: ARG001
    """Shrink by box means to ``kept`` of either side, and enlarge again without interpolation."""
    picture = _picture(image)
    small = (max(1, int(picture.width * kept)), max(1, int(picture.height * kept)))
    coarse = picture.resize(small, Pictures.Resampling.BOX).resize(picture.size, Pictures.Resampling.NEAREST)
    return _values(coarse)


def jpeg(image: FloatArray, random: np.random.Generator, quality: int) -> FloatArray:  # noqa: ARG001
    """Store as JPEG of a quality, and read again."""
    stored = io.BytesIO()
    _picture(image).save(stored, "JPEG", quality=quality)
    with Pictures.open(stored) as picture:
        return _values(picture)


def _picture(image: FloatArray) -> Pictures.Image:
    """The eight-bit image that 0…1 stands for; values are whole levels already."""
    levels = np.rint(image * 255).astype(np.uint8)
    return Pictures.fromarray(levels if image.shape[2] == 3 else levels[:, :, 0])


def _values(picture: Pictures.Image) -> FloatArray:
    values: FloatArray = np.asarray(picture) / 255.0
    return values if values.ndim == 3 else values[:, :, None]
