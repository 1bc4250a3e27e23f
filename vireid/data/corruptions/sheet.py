"""A picture of the corruptions: kinds in rows, severities in columns, of a rendered person in both modalities."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

from vireid.core.corruption import CORRUPTIONS, OF_COLOUR, SEVERITIES
from vireid.core.types import ByteArray, Modality
from vireid.data.corruptions.images import SIZE, CorruptionDraw, corrupted
from vireid.data.synthetic.config import RENDERER_VERSION, SyntheticConfig
from vireid.data.synthetic.dataset import plan_dataset
from vireid.data.synthetic.rendering_worker import render_shot, unwritable
from vireid.data.synthetic.shots import Shot

_GAP, _HEAD, _SIDE, _FOOT = 4, 24, 118, 24
_INK, _PAPER, _QUIET = (34, 34, 34), (255, 255, 255), (110, 110, 110)


def corruption_sheet(config: SyntheticConfig, out: Path, *, seed: int = 0) -> Path:
    """Write a sheet as PNG: on the left a visible image, on the right an infrared one, as they are and corrupted.

    Args:
        config: the dataset whose first person is shown; nothing of it needs to be on disk.
        out: file to write.
        seed: of the corruptions.

    Raises:
        UserError: the file cannot be written.
    """
    height, width = SIZE[0] // 2, SIZE[1] // 2
    shots = plan_dataset(config).shots
    images = [(modality, _sized(config, next(s for s in shots if s.modality is modality))) for modality in Modality]
    columns: Sequence[int] = (0, *SEVERITIES)
    block = len(columns) * (width + _GAP) + 4 * _GAP
    size = (_SIDE + len(images) * block, _HEAD + len(CORRUPTIONS) * (height + _GAP) + _FOOT)
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, (modality, pixels) in enumerate(images):
        for position, severity in enumerate(columns):
            left = _SIDE + number * block + position * (width + _GAP)
            draw.text((left + width // 2, 5), f"{severity}" if severity else "as it is", _INK, _font(12), anchor="mt")
            for row, kind in enumerate(CORRUPTIONS):
                top = _HEAD + row * (height + _GAP)
                if modality is Modality.INFRARED and kind in OF_COLOUR:
                    draw.text((left + width // 2, top + height // 2), "no colour", _QUIET, _font(11), anchor="mm")
                    continue
                chosen = CorruptionDraw(seed, kind, severity)
                shown = corrupted(pixels, f"{kind}/{severity}", modality, chosen) if severity else pixels
                picture = Image.fromarray(shown).resize((width, height), Image.Resampling.LANCZOS)
                sheet.paste(picture, (left, top))
    for row, kind in enumerate(CORRUPTIONS):
        middle = _HEAD + row * (height + _GAP) + height // 2
        draw.text((_SIDE - 8, middle), kind.replace("_", " "), _INK, _font(13), anchor="rm")
    footer = (
        f"synthetic, renderer {RENDERER_VERSION}, {config.layout} layout, seed {config.seed}; corruptions: seed {seed}"
    )
    draw.text((_SIDE, size[1] - _FOOT + 6), footer, _QUIET, _font(11), anchor="lt")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(out, "PNG")
    except OSError as error:
        raise unwritable(out, error) from error
    return out


def _sized(config: SyntheticConfig, shot: Shot) -> ByteArray:
    pixels = render_shot(config, shot).image
    return np.asarray(Image.fromarray(pixels).resize(SIZE[::-1], Image.Resampling.BILINEAR))


def _font(points: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and so is there on every machine."""
    return ImageFont.truetype(font_manager.findfont(font_manager.FontProperties(family="DejaVu Sans")), points)
