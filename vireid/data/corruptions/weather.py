"""Weather and dirt before the lens: snow, frost, fog, spatter, rain."""

import numpy as np
from PIL import Image as Pictures
from PIL import ImageDraw
from scipy import ndimage

from vireid.core.types import FloatArray
from vireid.data.corruptions.blur import enlarged, smooth, streak

LUMINANCE = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
_WATER = np.array([175, 238, 238]) / 255
_MUD = np.array([63, 42, 20]) / 255
_ICE = np.array([0.86, 0.94, 1.0])
_DROP = 200 / 255


def _tint(colour: FloatArray, image: FloatArray) -> FloatArray:
    """A colour as an image of as many channels shows it."""
    return colour if image.shape[2] == 3 else colour @ LUMINANCE[:, None]


def snow(
    image: FloatArray,
    random: np.random.Generator,
    mean: float,
    sigma: float,
    size: float,
    threshold: float,
    radius: int,
    smear: float,
    kept: float,
) -> FloatArray:
    """Whiten, and add flakes: thresholded noise, enlarged ``size`` times and falling, together with its half turn."""
    flakes = enlarged(random.normal(mean, sigma, (*image.shape[:2], 1)), size)
    flakes = np.clip(np.where(flakes < threshold, 0, flakes), 0, 1)
    flakes = streak(flakes, radius, smear, random.uniform(-135, -45))
    grey = image @ LUMINANCE[:, None] if image.shape[2] == 3 else image
    whitened = kept * image + (1 - kept) * np.maximum(image, grey * 1.5 + 0.5)
    result: FloatArray = whitened + flakes + np.rot90(flakes, 2)
    return result


def frost(image: FloatArray, random: np.random.Generator, kept: float, ice: float) -> FloatArray:
    """Add ``ice`` times a texture of frost to ``kept`` times the image.

    Not the benchmark's frost: its textures are photographs without a licence of their own. Ours is drawn for every
    image: needles of ice in six directions, in patches as cloudy noise has them.
    """
    height, width = image.shape[:2]
    cover = plasma(random, height, width, 1.8)
    seeds = np.clip(random.normal(size=(height, width)) - 1.6, 0, None)
    turn = random.uniform(0, 60)
    needles = np.max([streak(seeds, 12, 7, turn + 60 * side) for side in range(6)], axis=0)
    texture = np.clip(0.25 + 0.55 * cover + needles / needles.max() * (0.3 + 0.7 * cover), 0, 1)
    result: FloatArray = kept * image + ice * texture[:, :, None] * _tint(_ICE, image)
    return result


def fog(image: FloatArray, random: np.random.Generator, strength: float, decay: float) -> FloatArray:
    """Add cloudy noise ``strength`` times, and bring the brightest value back to where it was."""
    brightest = image.max()
    mist = plasma(random, image.shape[0], image.shape[1], decay)
    result: FloatArray = (image + strength * mist[:, :, None]) * brightest / (brightest + strength)
    return result


def plasma(random: np.random.Generator, height: int, width: int, decay: float) -> FloatArray:
    """Cloudy noise H×W in 0…1 by midpoint displacement (diamond-square) on a torus.

    Args:
        random: where its draws come from.
        height: pixels.
        width: pixels.
        decay: by what the displacement shrinks from one scale to the next, half as large.
    """
    side = 1 << (max(height, width) - 1).bit_length()
    heights = np.zeros((side, side))
    step, spread = side, 1.0
    while step > 1:
        half = step // 2
        corners = heights[::step, ::step]
        centres = heights[half::step, half::step]
        across = corners + np.roll(corners, -1, 0)
        centres[:] = (across + np.roll(across, -1, 1)) / 4 + random.uniform(-spread, spread, corners.shape)
        above = heights[::step, half::step]
        around = centres + np.roll(centres, 1, 0) + corners + np.roll(corners, -1, 1)
        above[:] = around / 4 + random.uniform(-spread, spread, corners.shape)
        left = heights[half::step, ::step]
        around = centres + np.roll(centres, 1, 1) + corners + np.roll(corners, -1, 0)
        left[:] = around / 4 + random.uniform(-spread, spread, corners.shape)
        step, spread = half, spread / decay
    heights -= heights.min()
    result: FloatArray = heights[:height, :width] / heights.max()
    return result


def spatter(
    image: FloatArray,
    random: np.random.Generator,
    mean: float,
    sigma: float,
    size: float,
    threshold: float,
    strength: float,
    mud: bool,
) -> FloatArray:
    """Drops of water, brighter at one side of their rim, or splashes of mud, whose border is blurred by ``strength``.

    Drops lie where noise blurred by ``size`` pixels is above ``threshold``. The benchmark finds the rim of a drop with
    Canny's edges; here it is the outline of what is above the threshold.
    """
    liquid = smooth(random.normal(mean, sigma, image.shape[:2]), size)
    drops = liquid >= threshold
    if mud:
        cover = smooth(drops.astype(np.float64), strength)
        cover = np.where(cover < 0.8, 0, cover)[:, :, None]
        return image * (1 - cover) + cover * _tint(_MUD, image)
    if not drops.any():
        return image
    outline = drops & ~ndimage.binary_erosion(drops)
    distance = np.minimum(ndimage.distance_transform_edt(~outline), 20)
    relief = _equalised(ndimage.uniform_filter(distance, 3, mode="mirror"))
    relief = ndimage.correlate(relief, np.array([[-2.0, -1, 0], [-1, 1, 1], [0, 1, 2]]), mode="mirror")
    relief = ndimage.uniform_filter(np.clip(relief, 0, 255), 3, mode="mirror")
    shine = np.where(drops, liquid, 0) * relief
    shine *= strength / max(shine.max(), np.finfo(np.float64).tiny)
    result: FloatArray = image + np.clip(shine[:, :, None] * _tint(_WATER, image), 0, 1)
    return result


def _equalised(values: FloatArray) -> FloatArray:
    """Histogram equalisation of values 0…255 to 0…255, by the 256 whole numbers below them."""
    levels = np.floor(values + 2.0**-20).astype(np.int64)
    below = np.cumsum(np.bincount(levels.ravel(), minlength=256)).astype(np.float64)
    first = below[levels.min()]
    spread = max(below[-1] - first, 1.0)
    result: FloatArray = np.floor((below[levels] - first) / spread * 255 + 0.5)
    return result


def rain(
    image: FloatArray, random: np.random.Generator, area: int, length: int, blurred: int, darker: float
) -> FloatArray:
    """A line for every ``area`` pixels, ``length`` pixels high and all slanting alike; then a box blur, and darker."""
    height, width = image.shape[:2]
    slant = int(random.uniform(-10, 10))
    drops = Pictures.new("1", (width, height))
    draw = ImageDraw.Draw(drops)
    count = height * width // area
    xs = random.integers(max(0, -slant), max(1, width - max(0, slant)), count).tolist()
    ys = random.integers(0, max(1, height - length), count).tolist()
    for x, y in zip(xs, ys, strict=True):
        draw.line((x, y, x + slant, y + length), fill=1)
    rained = np.where(np.asarray(drops)[:, :, None], _DROP, image)
    result: FloatArray = ndimage.uniform_filter(rained, blurred, mode="mirror", axes=(0, 1)) - darker
    return result
