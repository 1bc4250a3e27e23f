"""A picture of a synthetic dataset: identities in rows, cameras in columns, both modalities."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

from vireid.core.errors import UserError
from vireid.data.synthetic.cameras import Spectrum
from vireid.data.synthetic.config import RENDERER_VERSION, SyntheticConfig
from vireid.data.synthetic.dataset import plan_dataset
from vireid.data.synthetic.rendering_worker import render_shot, unwritable
from vireid.data.synthetic.shots import Shot, modality_of

# Okabe and Ito's palette, told apart with every common colour vision; the word stands above each column as well.
_FRAME = {"visible": (0, 114, 178), "nir": (230, 159, 0), "thermal": (213, 94, 0)}
_WORDS = {"visible": ("visible",), "nir": ("near infrared", "near IR"), "thermal": ("thermal",)}
_INK, _PAPER, _ABSENT = (34, 34, 34), (255, 255, 255), (236, 236, 236)
_GAP, _BORDER, _HEAD, _SIDE, _FOOT = 8, 3, 46, 58, 30


def contact_sheet(
    config: SyntheticConfig,
    out: Path,
    *,
    identities: Sequence[int] | None = None,
    shots_per_camera: int = 1,
    cell_height: int = 216,
) -> Path:
    """Render a sheet of one dataset and write it as PNG.

    Args:
        config: the dataset; nothing of it needs to be on disk.
        out: file to write.
        identities: identity numbers, one row each; by default six that the most cameras see.
        shots_per_camera: images side by side under each camera.
        cell_height: height of an image on the sheet, in pixels.

    Raises:
        UserError: an identity is not in the dataset, or the file cannot be written.
    """
    shots = plan_dataset(config).shots
    by_camera: dict[tuple[int, Spectrum, int], list[Shot]] = {}
    for shot in shots:
        by_camera.setdefault((shot.identity, shot.spectrum, shot.camera), []).append(shot)
    columns = sorted({(s.spectrum, s.camera) for s in shots}, key=lambda column: (modality_of(column[0]), column[1]))
    known = sorted({shot.identity for shot in shots})
    chosen = list(identities) if identities is not None else _most_seen(by_camera, known, 6)
    for identity in chosen:
        if identity not in known:
            raise UserError(f"contact sheet: identity {identity} is not in the dataset; it has e.g. {known[:5]}")
    cell_width = round(cell_height * config.width / config.height)
    column_width = shots_per_camera * (cell_width + 2 * _BORDER) + (shots_per_camera - 1) * 2
    row_height = cell_height + 2 * _BORDER
    size = (
        _SIDE + len(columns) * (column_width + _GAP) + _GAP,
        _HEAD + len(chosen) * (row_height + _GAP) + _FOOT,
    )
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, (spectrum, camera) in enumerate(columns):
        left = _SIDE + column * (column_width + _GAP)
        centre = left + column_width // 2
        _label(draw, (centre, 12), (f"camera {camera}", f"cam {camera}"), column_width, _font(14, bold=True))
        _label(draw, (centre, 30), _WORDS[spectrum], column_width, _font(12))
        for row, identity in enumerate(chosen):
            top = _HEAD + row * (row_height + _GAP)
            taken = by_camera.get((identity, spectrum, camera), [])[:shots_per_camera]
            if not taken:
                box = (left, top, left + column_width - 1, top + row_height - 1)
                draw.rectangle(box, fill=_ABSENT)
                draw.text((centre, top + row_height // 2), "not seen", (120, 120, 120), _font(12), anchor="mm")
            for position, shot in enumerate(taken):
                corner = (left + position * (cell_width + 2 * _BORDER + 2), top)
                _paste(sheet, draw, render_shot(config, shot).image, corner, (cell_width, cell_height), spectrum)
    for row, identity in enumerate(chosen):
        middle = _HEAD + row * (row_height + _GAP) + row_height // 2
        draw.text((_SIDE - 10, middle), f"{identity:04d}", _INK, _font(14, bold=True), anchor="rm")
    footer = f"synthetic, renderer {RENDERER_VERSION}, {config.layout} layout, seed {config.seed}"
    draw.text((_SIDE, size[1] - _FOOT + 8), footer, (90, 90, 90), _font(11), anchor="lt")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(out, "PNG", optimize=True)
    except OSError as error:
        raise unwritable(out, error) from error
    return out


def _label(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], texts: Sequence[str], width: int, font: ImageFont.FreeTypeFont
) -> None:
    """Write the first of ``texts`` that fits into ``width`` pixels, else the last, centred."""
    fitting = [text for text in texts if draw.textlength(text, font) <= width]
    draw.text(at, fitting[0] if fitting else texts[-1], _INK, font, anchor="mt")


def _paste(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
    corner: tuple[int, int],
    size: tuple[int, int],
    spectrum: Spectrum,
) -> None:
    """Place one image in a frame of its modality's colour."""
    left, top = corner
    right, bottom = left + size[0] + 2 * _BORDER - 1, top + size[1] + 2 * _BORDER - 1
    draw.rectangle((left, top, right, bottom), fill=_FRAME[spectrum])
    picture = Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS)
    sheet.paste(picture, (left + _BORDER, top + _BORDER))


def _most_seen(by_camera: dict[tuple[int, Spectrum, int], list[Shot]], known: Sequence[int], number: int) -> list[int]:
    """The first ``number`` identities among those that the most cameras see, in order of their numbers."""
    cameras = {identity: sum(key[0] == identity for key in by_camera) for identity in known}
    return sorted(sorted(known, key=lambda identity: (-cameras[identity], identity))[:number])


def _font(points: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and so is there on every machine."""
    properties = font_manager.FontProperties(family="DejaVu Sans", weight="bold" if bold else "regular")
    return ImageFont.truetype(font_manager.findfont(properties), points)
