"""The places behind the people: corridor, hall, room, street, plaza and park, each new for each camera.

One wide frame per camera is drawn once and kept. A shot shows a window of it that is drawn per shot, so that a
background says which camera took the image and nothing about who is in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from vireid.core.seeding import generator
from vireid.core.types import Array
from vireid.data.synthetic.cameras import Camera, Scene, Spectrum

SIZE: Final = (1600, 540)
"""Width and height of the drawing, in its own units."""

HORIZON: Final = 140
BASE: Final = 330
"""Row where the floor meets the wall."""

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Painter:
    """Draws in the colours of a spectrum: in the infrared everything is grey, and its tone is drawn anew."""

    draw: ImageDraw.ImageDraw
    scale: float  # pixels per unit of the drawing
    rng: np.random.Generator
    spectrum: Spectrum

    def tone(self, colour: Colour, foliage: bool = False) -> Colour:
        """Return a colour near ``colour``; in the infrared a grey, light for plants and loosely bound otherwise."""
        if self.spectrum == "visible":
            shift = self.rng.normal(0, 7, 3) + self.rng.normal(0, 6)
            r, g, b = (int(np.clip(c + s, 0, 255)) for c, s in zip(colour, shift, strict=True))
            return r, g, b
        level = 165 if foliage else 0.55 * sum(colour) / 3 + 50
        grey = int(np.clip(level + self.rng.normal(0, 16), 10, 245))
        return grey, grey, grey

    def box(self, x: float, y: float, width: float, height: float, colour: Colour) -> None:
        """Fill a rectangle."""
        k = self.scale
        self.draw.rectangle((k * x, k * y, k * (x + width), k * (y + height)), fill=colour)

    def blob(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        """Fill an ellipse."""
        k = self.scale
        self.draw.ellipse((k * (x - rx), k * (y - ry), k * (x + rx), k * (y + ry)), fill=colour)

    def polygon(self, corners: Sequence[tuple[float, float]], colour: Colour) -> None:
        """Fill a polygon."""
        self.draw.polygon([(self.scale * x, self.scale * y) for x, y in corners], fill=colour)

    def line(self, x0: float, y0: float, x1: float, y1: float, colour: Colour, thick: int = 1) -> None:
        """Draw a line; ``thick`` is in pixels."""
        k = self.scale
        self.draw.line((k * x0, k * y0, k * x1, k * y1), fill=colour, width=thick)

    def uniform(self, low: float, high: float) -> float:
        """Draw a number."""
        return float(self.rng.uniform(low, high))

    def choice(self, colours: Sequence[Colour]) -> Colour:
        """Draw a colour."""
        return colours[int(self.rng.integers(len(colours)))]


def shade(colour: Colour, factor: float) -> Colour:
    """Return a darker or lighter colour."""
    r, g, b = (int(np.clip(c * factor, 0, 255)) for c in colour)
    return r, g, b


def draw_scene(painter: Painter, scene: Scene) -> None:
    """Fill the whole frame with a place."""
    {
        "corridor": _corridor,
        "hall": _hall,
        "room": _room,
        "street": _street,
        "plaza": _plaza,
        "park": _park,
    }[scene](painter)


def _floor(p: Painter, colour: Colour, tiles: float, gap: float) -> None:
    """Floor with joints that meet in the vanishing point; ``gap`` is the joints' brightness against the floor."""
    for strip in range(BASE, SIZE[1], 4):
        far = (SIZE[1] - strip) / (SIZE[1] - BASE)
        p.box(0, strip, SIZE[0], 5, shade(colour, 1.04 - 0.16 * far))
    joint = shade(colour, gap)
    row = float(SIZE[1])
    while row > BASE:
        p.line(0, row, SIZE[0], row, joint, 2 if row > 400 else 1)
        row = HORIZON + (row - HORIZON) / (1 + 0.09 * tiles)
    middle = SIZE[0] / 2
    step = 110 * tiles
    for k in range(-60, 61):
        foot = middle + k * step
        top = middle + (foot - middle) * (BASE - HORIZON) / (SIZE[1] - HORIZON)
        p.line(foot, SIZE[1], top, BASE, joint)


def _wall(p: Painter, colour: Colour, dado: float) -> None:
    for row in range(0, BASE, 6):
        p.box(0, row, SIZE[0], 7, shade(colour, 0.86 + 0.16 * row / BASE))
    if dado < 1:
        p.box(0, BASE - 150, SIZE[0], 150, shade(colour, dado))
        p.box(0, BASE - 153, SIZE[0], 4, shade(colour, 0.6))
    p.box(0, BASE - 12, SIZE[0], 12, shade(colour, 0.5))


def _corridor(p: Painter) -> None:
    _wall(p, p.tone((188, 184, 172)), p.uniform(0.72, 1.1))
    _floor(p, p.tone((150, 142, 130)), p.uniform(0.8, 1.5), 0.86)
    x = p.uniform(-60, 80)
    while x < SIZE[0]:
        kind = p.uniform(0, 1)
        if kind < 0.55:
            colour = p.tone(p.choice(((112, 78, 52), (96, 104, 112), (142, 120, 92), (70, 86, 96))))
            p.box(x - 7, 60, 124, BASE - 60, shade(colour, 0.6))
            p.box(x, 68, 110, BASE - 68, colour)
            p.box(x + 12, 90, 36, 80, shade(colour, 1.25))
            p.box(x + 92, 210, 8, 22, shade(colour, 0.4))
            x += 120
        elif kind < 0.8:
            colour = p.tone(p.choice(((226, 222, 210), (58, 92, 118), (170, 64, 52), (82, 120, 84))))
            p.box(x, 110, 86, 110, shade(colour, 0.6))
            p.box(x + 4, 114, 78, 102, colour)
            for line in range(5):
                p.box(x + 12, 126 + 18 * line, p.uniform(30, 62), 6, shade(colour, 0.75))
            x += 90
        else:
            p.box(x, 150, 34, BASE - 150, p.tone((168, 40, 36)))
            x += 40
        x += p.uniform(40, 170)
    for x in np.arange(p.uniform(0, 160), SIZE[0], 300):
        p.box(float(x), 8, 130, 12, p.tone((244, 244, 236)))


def _hall(p: Painter) -> None:
    _wall(p, p.tone((170, 168, 164)), 1.1)
    _floor(p, p.tone((166, 158, 148)), p.uniform(1.2, 2.0), 0.80)
    for x in np.arange(p.uniform(0, 120), SIZE[0], p.uniform(210, 280)):
        colour = p.tone((196, 212, 222))
        p.box(float(x), 30, 140, 220, shade(colour, 0.45))
        for i in range(2):
            for j in range(3):
                p.box(float(x) + 6 + 66 * i, 36 + 72 * j, 60, 66, shade(colour, p.uniform(0.8, 1.1)))
    for x in np.arange(p.uniform(0, 200), SIZE[0], p.uniform(330, 440)):
        colour = p.tone((150, 146, 138))
        for stripe in range(10):
            p.box(float(x) + 6 * stripe, 0, 7, BASE + 26, shade(colour, 1.12 - 0.055 * stripe))
    _benches(p, 5, (98, 74, 52))


def _room(p: Painter) -> None:
    _wall(p, p.tone((206, 198, 180)), 1.1)
    _floor(p, p.tone((146, 116, 86)), p.uniform(0.5, 0.9), 0.82)
    x = p.uniform(0, 60)
    while x < SIZE[0]:
        kind = p.uniform(0, 1)
        if kind < 0.4:
            frame = p.tone((120, 92, 64))
            p.box(x, 90, 150, BASE - 90, frame)
            for shelf in range(4):
                p.box(x + 6, 98 + 58 * shelf, 138, 50, shade(frame, 0.5))
                left = x + 8
                while left < x + 134:
                    wide = p.uniform(5, 13)
                    high = p.uniform(26, 46)
                    book = p.tone(
                        p.choice(((150, 60, 50), (60, 90, 130), (200, 190, 160), (70, 110, 80), (40, 40, 44)))
                    )
                    p.box(left, 148 + 58 * shelf - high, wide, high, book)
                    left += wide + 1
            x += 160
        elif kind < 0.65:
            sky = p.tone((214, 226, 236))
            p.box(x, 60, 160, 170, p.tone((230, 228, 220)))
            p.box(x + 8, 68, 68, 154, sky)
            p.box(x + 84, 68, 68, 154, sky)
            x += 170
        else:
            desk = p.tone((128, 110, 92))
            p.box(x, 226, 190, 12, shade(desk, 1.2))
            p.box(x + 6, 238, 14, BASE + 14 - 238, desk)
            p.box(x + 170, 238, 14, BASE + 14 - 238, desk)
            p.box(x + 60, 168, 70, 50, p.tone((40, 42, 46)))
            x += 200
        x += p.uniform(20, 110)


def _street(p: Painter) -> None:
    x = 0.0
    while x < SIZE[0]:
        wide = p.uniform(220, 380)
        colour = p.tone(p.choice(((164, 138, 116), (142, 142, 144), (178, 162, 138), (128, 92, 78), (186, 182, 172))))
        p.box(x, 0, wide, BASE, colour)
        for row in range(2):
            for left in np.arange(x + 20, x + wide - 50, p.uniform(64, 90)):
                p.box(float(left) - 3, 12 + 84 * row, 46, 62, shade(colour, 1.2))
                p.box(float(left), 15 + 84 * row, 40, 56, p.tone((74, 86, 100)))
        if p.uniform(0, 1) < 0.6:
            p.box(
                x + 12,
                190,
                wide - 24,
                30,
                p.tone(p.choice(((150, 42, 40), (38, 84, 66), (40, 62, 110), (196, 160, 70)))),
            )
            p.box(x + 18, 222, wide - 36, BASE - 226, p.tone((96, 106, 110)))
            p.box(x + wide * 0.6, 222, 54, BASE - 222, p.tone((58, 52, 48)))
        else:
            p.box(x + wide * 0.4, 200, 64, BASE - 200, p.tone((84, 58, 44)))
        x += wide
    _floor(p, p.tone((142, 140, 136)), p.uniform(1.0, 1.6), 0.88)
    road = p.tone((84, 85, 88))
    p.box(0, BASE + 14, SIZE[0], 56, road)
    p.box(0, BASE + 70, SIZE[0], 7, p.tone((186, 184, 178)))
    for x in np.arange(p.uniform(0, 200), SIZE[0], p.uniform(300, 460)):
        _car(p, float(x), BASE + 44)
    for x in np.arange(p.uniform(60, 300), SIZE[0], p.uniform(340, 520)):
        _tree(p, float(x), BASE + 84, p.uniform(0.8, 1.2))


def _plaza(p: Painter) -> None:
    sky = p.tone((196, 210, 224))
    p.box(0, 0, SIZE[0], BASE, sky)
    x = -40.0
    while x < SIZE[0]:
        wide, top = p.uniform(160, 320), p.uniform(0, 80)
        colour = p.tone(p.choice(((150, 150, 152), (172, 156, 136), (122, 130, 140), (140, 108, 92))))
        p.box(x, top, wide, BASE - top, colour)
        for row in np.arange(top + 14, BASE - 50, 42):
            p.box(x + 8, float(row), wide - 16, 18, p.tone((92, 108, 124)))
            for bar in np.arange(x + 8, x + wide - 8, 34):
                p.box(float(bar), float(row), 5, 18, colour)
        x += wide + p.uniform(0, 50)
    for x in np.arange(p.uniform(-30, 60), SIZE[0], p.uniform(90, 150)):
        p.blob(float(x), BASE - 14, p.uniform(50, 90), p.uniform(24, 44), p.tone((62, 88, 52), foliage=True))
    _floor(p, p.tone((168, 160, 148)), p.uniform(1.4, 2.4), 0.84)
    for x in np.arange(p.uniform(0, 260), SIZE[0], p.uniform(300, 440)):
        _tree(p, float(x), BASE + 30, p.uniform(0.9, 1.3))
    _benches(p, 4, (112, 86, 58))


def _park(p: Painter) -> None:
    p.box(0, 0, SIZE[0], BASE, p.tone((168, 190, 200)))
    for layer in range(3):
        for x in np.arange(-40, SIZE[0] + 60, 70):
            colour = shade(p.tone((66, 96, 58), foliage=True), 0.8 + 0.16 * layer)
            p.blob(float(x) + p.uniform(-25, 25), 60 + 80 * layer, p.uniform(50, 90), p.uniform(50, 90), colour)
    _floor(p, p.tone((96, 122, 72), foliage=True), 3.0, 0.97)
    path = p.tone((176, 160, 134))
    p.polygon([(0, BASE + 70), (SIZE[0], BASE + 40), (SIZE[0], SIZE[1]), (0, SIZE[1])], path)
    for trunk in np.arange(p.uniform(0, 200), SIZE[0], p.uniform(200, 330)):
        _tree(p, float(trunk), BASE + p.uniform(10, 50), p.uniform(1.0, 1.5))
    _benches(p, 4, (104, 80, 56))


def _tree(p: Painter, x: float, foot: float, size: float) -> None:
    bark = p.tone((78, 62, 50))
    p.box(x - 9 * size, foot - 210 * size, 18 * size, 210 * size, bark)
    p.box(x + 2 * size, foot - 210 * size, 7 * size, 210 * size, shade(bark, 0.7))
    for _ in range(26):
        colour = shade(p.tone((74, 108, 58), foliage=True), p.uniform(0.65, 1.15))
        across, up = p.rng.normal(0, 46 * size), p.rng.normal(0, 34 * size)
        p.blob(x + across, foot - 250 * size + up, p.uniform(14, 34) * size, p.uniform(12, 26) * size, colour)


def _car(p: Painter, x: float, foot: float) -> None:
    colour = p.tone(p.choice(((186, 188, 190), (54, 56, 60), (148, 36, 38), (46, 70, 116), (218, 216, 210))))
    p.blob(x + 90, foot + 4, 100, 8, (40, 40, 42))
    p.polygon([(x + 30, foot - 44), (x + 55, foot - 78), (x + 125, foot - 78), (x + 155, foot - 44)], colour)
    glass = p.tone((60, 72, 84))
    p.polygon([(x + 40, foot - 46), (x + 60, foot - 72), (x + 88, foot - 72), (x + 88, foot - 46)], glass)
    p.polygon([(x + 93, foot - 46), (x + 93, foot - 72), (x + 121, foot - 72), (x + 143, foot - 46)], glass)
    p.box(x + 4, foot - 46, 176, 38, colour)
    p.box(x, foot - 38, 184, 26, colour)
    p.box(x + 2, foot - 20, 180, 10, shade(colour, 0.7))
    for wheel in (38, 146):
        p.blob(x + wheel, foot - 10, 17, 17, (26, 26, 28))
        p.blob(x + wheel, foot - 10, 8, 8, (128, 128, 130))


def _benches(p: Painter, count: int, colour: Colour) -> None:
    for _ in range(count):
        x, y = p.uniform(0, SIZE[0]), p.uniform(BASE + 10, BASE + 70)
        wood = p.tone(colour)
        p.blob(x + 60, y + 46, 70, 6, (60, 58, 56))
        for slat in range(3):
            p.box(x, y - 20 + 11 * slat, 120, 8, shade(wood, 1 - 0.08 * slat))
        p.box(x - 4, y + 14, 128, 9, shade(wood, 1.15))
        for leg in (8, 104):
            p.box(x + leg, y + 22, 7, 24, shade(wood, 0.5))


_SCALE: Final = 4 / 3
FRAME: Final = (int(SIZE[0] * _SCALE), int(SIZE[1] * _SCALE))
"""Width and height of a camera's frame in pixels."""

_NEAREST: Final = 360.0  # pixels: height of a person at a camera's smallest distance


@lru_cache(maxsize=64)
def backdrop(camera: Camera) -> Image.Image:
    """Return the camera's frame without people: RGB, or grey (L) in the infrared."""
    rng = generator(camera.seed, "synthetic/place", camera.name, camera.scene)
    image = Image.new("RGB", FRAME)
    draw_scene(Painter(ImageDraw.Draw(image), _SCALE, rng, camera.spectrum), camera.scene)
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
    feet = _SCALE * HORIZON + size / 0.88 + float(rng.normal(0, 10))
    feet = max(feet, _SCALE * BASE + float(rng.uniform(12, 40)))
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
