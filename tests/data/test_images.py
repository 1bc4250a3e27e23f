import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from vireid.core.errors import UserError
from vireid.data import cache, layout
from vireid.data.cache import cached_images
from vireid.data.config import SYSUConfig
from vireid.data.images import read_header, read_image
from vireid.data.layout import images_in
from vireid.data.sysu import SYSUMM01

THERMAL = np.linspace(20000, 35300, 64).astype(np.uint16).reshape(8, 8)


def png(bits: int, colours: int, pixels: bytes) -> bytes:
    """An 8×8 PNG as its specification says; Pillow writes no sixteen-bit colours."""

    def chunk(name: bytes, content: bytes) -> bytes:
        body = name + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 8, 8, bits, colours, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def sixteen_bit(channels: int) -> bytes:
    values = np.repeat(THERMAL[..., None], channels, axis=2).astype(">u2")
    return b"".join(b"\0" + row.tobytes() for row in values)


@pytest.mark.parametrize(
    ("name", "pixels", "words"),
    [
        ("thermal.png", THERMAL, r"16-bit \(mode I;16, values 20000–35300\)"),
        ("big_endian.tif", THERMAL.astype(">u2"), r"16-bit \(mode I;16B?, values 20000–35300\)"),
        ("counts.tif", THERMAL.astype(np.int32), r"32-bit \(mode I, values 20000–35300\)"),
        ("kelvin.tif", THERMAL.astype(np.float32) / 100, r"floating-point \(mode F, values 200–353\)"),
    ],
)
def test_pixels_without_one_conversion_are_refused_with_their_range(tmp_path, name, pixels, words):
    Image.fromarray(pixels).save(tmp_path / name)
    for read in (read_image, read_header):
        with pytest.raises(UserError, match=rf"image {tmp_path / name} is {words}.*first, for example .*a - 200"):
            read(tmp_path, name)


@pytest.mark.parametrize(("colours", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_sixteen_bit_colours_are_not_cut_to_their_upper_byte(tmp_path, colours, channels):
    (tmp_path / "deep.png").write_bytes(png(16, colours, sixteen_bit(channels)))
    with pytest.raises(UserError, match=r"deep\.png is 16-bit"):
        read_header(tmp_path, "deep.png")


def test_transparency_is_refused_and_opaque_alpha_dropped(tmp_path):
    rng = np.random.default_rng(0)
    rgba = rng.integers(0, 256, (8, 8, 4), dtype=np.uint8)
    grey = rgba[..., 0].copy()
    grey.flat[0] = 3
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    Image.fromarray(rgba[..., [0, 3]]).save(tmp_path / "la.png")
    Image.fromarray(grey).convert("P").save(tmp_path / "palette.png", transparency=3)
    Image.fromarray(grey).save(tmp_path / "key.png", transparency=3)
    for name in ("rgba.png", "la.png", "palette.png", "key.png"):
        with pytest.raises(UserError, match=rf"{name} is partly transparent.*without alpha"):
            read_image(tmp_path, name)
    rgba[..., 3] = 255
    Image.fromarray(rgba).save(tmp_path / "opaque.png")
    assert (np.asarray(read_image(tmp_path, "opaque.png")) == rgba[..., :3]).all()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK"])
def test_eight_bit_images_are_converted_as_before(tmp_path, mode):
    rng = np.random.default_rng(1)
    image = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).convert(mode)
    name = "image.jpg" if mode == "CMYK" else "image.png"
    image.save(tmp_path / name)
    with Image.open(tmp_path / name) as stored:
        assert stored.mode == mode
        expected = np.asarray(stored.convert("RGB"))
    assert (np.asarray(read_image(tmp_path, name)) == expected).all()


@pytest.mark.parametrize("name", ["image.jpg", "image.png", "image.tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_viewers_show_them(tmp_path, name, orientation):
    pixels = np.random.default_rng(2).integers(0, 256, (6, 4, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / name, exif=exif)
    assert read_header(tmp_path, name).orientation == orientation
    with Image.open(tmp_path / name) as stored:
        expected = np.asarray(ImageOps.exif_transpose(stored))
    assert expected.shape[:2] == ((6, 4) if orientation < 5 else (4, 6))
    assert (np.asarray(read_image(tmp_path, name)) == expected).all()


def test_damaged_metadata_turn_nothing(tmp_path):
    Image.new("RGB", (4, 6)).save(tmp_path / "odd.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert read_image(tmp_path, "odd.jpg").size == (4, 6)


def turn(file: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(file) as image:
        image.load()
        image.save(file, exif=exif)


def test_turned_images_reach_the_cache_and_one_made_before_is_not_used(sysu_root, tmp_path, monkeypatch):
    index = SYSUMM01(SYSUConfig(), sysu_root).training("final")
    turn(index.root / index.paths[0])
    with monkeypatch.context() as before:
        before.setattr(cache, "READER", "1")
        before.setattr(cache, "decode", lambda *_: np.zeros((3, 32, 16), dtype=np.uint8))
        assert not cached_images(index, 32, 16, tmp_path).any()
    array = cached_images(index, 32, 16, tmp_path)
    with Image.open(index.root / index.paths[0]) as stored:
        assert stored.size == (24, 48)
        shown = ImageOps.exif_transpose(stored).resize((16, 32), Image.Resampling.BILINEAR)
    assert (array[0] == np.asarray(shown).transpose(2, 0, 1)).all()


def test_the_fingerprint_of_turned_images_is_not_that_of_their_files(sysu_root, tmp_path, monkeypatch):
    index = SYSUMM01(SYSUConfig(), sysu_root).training("final")
    upright = layout.fingerprint(index, tmp_path)
    turn(index.root / index.paths[0])
    turned = layout.fingerprint(index, tmp_path)
    assert turned != upright
    header = read_header(index.root, index.paths[0])
    monkeypatch.setattr(layout, "read_header", lambda *_: header._replace(orientation=1))
    assert layout.fingerprint(index) not in (turned, upright)  # as an earlier version read the same file


def test_the_fingerprint_names_images_that_cannot_be_used(sysu_root, tmp_path):
    index = SYSUMM01(SYSUConfig(), sysu_root).training("final")
    name = "cam1/0002/0003.png"
    Image.fromarray(THERMAL).save(sysu_root / name)
    with pytest.raises(UserError, match=f"{name} is 16-bit"):
        layout.fingerprint(replace(index, paths=(name, *index.paths[1:])), tmp_path)


def test_leftovers_are_no_images(tmp_path):
    for name in ("b.jpg", "a.JPG", "c.TIFF", "._a.jpg", ".hidden.png", "Thumbs.db", "notes.txt", ".DS_Store"):
        (tmp_path / name).write_bytes(b"")
    assert images_in(tmp_path) == ["a.JPG", "b.jpg", "c.TIFF"]
    assert images_in(tmp_path / "nowhere") == []
