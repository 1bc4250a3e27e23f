"""Corruptions: every one changes an image, more so with severity, alike on all machines; grey images stay grey."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vireid.core.corruption import CORRUPTIONS, OF_COLOUR, SEVERITIES
from vireid.core.errors import UserError
from vireid.core.seeding import generator
from vireid.core.types import ImageIndex, Modality
from vireid.data.corruptions import blur, corrupt, digital, noise, weather
from vireid.data.corruptions.images import SIZE, CorruptionDraw, corrupted, corrupted_images
from vireid.data.corruptions.sheet import corruption_sheet
from vireid.data.synthetic.config import SyntheticConfig, split_identities

ROOT = Path(__file__).parents[2]
GOLDEN = "77693c38150648a46749caa3c4201aa4964636cc3a216bbc8ef2917674a02c10"
# Those whose constants are not ordered by how far a picture is from the original: snow and spatter become another kind
# of snow and dirt, saturation falls and then rises, patches of fog and frost lie where they are drawn.
NOT_ORDERED = {"snow", "spatter", "saturate", "fog", "frost", "glass_blur", "pixelate"}


def picture() -> np.ndarray:
    """Whole numbers alone, so that it is the same everywhere."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    red, green, blue = (rows * columns) // 97, 3 * rows + 5 * columns, rows // 9 * columns // 7
    return np.stack([red % 256, green % 256, blue % 256], axis=2).astype(np.uint8)


def person() -> np.ndarray:
    """A figure before a wall: smooth, as photographs are."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    wall = np.stack([120 + rows / 6, 110 + columns / 4, 140 - rows / 9], axis=2)
    wall[60:140, 40:100] = (170, 60, 50)
    wall[140:260, 50:95] = (40, 60, 110)
    return wall.astype(np.uint8)


def all_digests() -> str:
    total, image = hashlib.sha256(), picture()
    for grey in (False, True):
        for kind in CORRUPTIONS:
            for severity in SEVERITIES:
                if not (grey and kind in OF_COLOUR):
                    source = image[:, :, :1] if grey else image
                    made = corrupt(source, kind, severity, generator(0, "corruption", f"{kind}/{severity}"))
                    total.update(hashlib.sha256(made.tobytes()).hexdigest().encode())
    return total.hexdigest()


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    error = float(((one.astype(float) - other) ** 2).mean())
    return float("inf") if error == 0 else 10 * np.log10(255**2 / error)


def test_all_pixels_are_what_they_were():
    assert all_digests() == GOLDEN


def test_a_processor_without_wide_instructions_gives_the_same_pixels():
    """NumPy, OpenBLAS, libjpeg and the C library held to what every x86-64 has; elsewhere the settings say nothing."""
    narrow = {
        "NPY_DISABLE_CPU_FEATURES": " ".join(np._core._multiarray_umath.__cpu_dispatch__),
        "OPENBLAS_CORETYPE": "Nehalem",
        "JSIMD_FORCENONE": "1",
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX512F",
    }
    code = "from tests.data.test_corruptions import all_digests; print(all_digests())"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=ROOT,
        env={**os.environ, **narrow, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [GOLDEN]


@pytest.mark.parametrize("modality", list(Modality))
@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_every_severity_changes_the_image_and_the_last_more_than_the_first(kind, modality):
    if modality is Modality.INFRARED and kind in OF_COLOUR:
        pytest.skip("infrared images have no colour")
    image = person()
    if modality is Modality.INFRARED:
        image = np.repeat(image[:, :, :1], 3, axis=2)
    near, alike = [], []
    for severity in SEVERITIES:
        draws = [corrupted(image, f"{n}.jpg", modality, CorruptionDraw(0, kind, severity)) for n in range(2)]
        assert all(made.shape == image.shape and made.dtype == np.uint8 for made in draws)
        if modality is Modality.INFRARED:
            assert all((made == made[:, :, :1]).all() for made in draws), "grey stays grey"
        near.append(float(np.mean([psnr(made, image) for made in draws])))
        alike.append(float(np.mean([np.corrcoef(made.ravel(), image.ravel())[0, 1] for made in draws])))
    assert max(near) < float("inf")
    if kind not in NOT_ORDERED:
        assert near == sorted(near, reverse=True)
    elif kind == "frost":
        assert alike[4] < alike[0], "its light makes up for what the image loses"
    elif kind != "saturate":
        assert near[4] < near[0]


def test_draws_follow_seed_and_path_and_cover_all_kinds():
    image = person()[:32, :16]
    draw = CorruptionDraw(0)
    once, again = (corrupted(image, "cam1/0001/0001.jpg", Modality.VISIBLE, draw) for _ in range(2))
    assert (once == again).all()
    others = [corrupted(image, f"cam1/0001/{n:04d}.jpg", Modality.VISIBLE, draw) for n in range(2, 9)]
    assert len({made.tobytes() for made in others}) > 1
    seeds = [corrupted(image, "cam1/0001/0001.jpg", Modality.VISIBLE, CorruptionDraw(seed)) for seed in range(6)]
    assert len({made.tobytes() for made in seeds}) > 1


def test_noise_is_what_a_loop_over_pixels_makes():
    image, sigma = person()[:5, :4] / 255.0, 0.3
    draws = generator(1).normal(0, sigma, image.shape)
    by_hand = np.zeros_like(image)
    for at in np.ndindex(image.shape):
        by_hand[at] = image[at] + image[at] * draws[at]
    assert np.allclose(noise.speckle(image, generator(1), sigma), by_hand)
    assert noise.impulse(image, generator(1), 1.0).min() == 0, "all replaced, by black or white"
    assert set(np.unique(noise.impulse(image, generator(1), 1.0))) == {0, 1}


def test_colour_follows_the_hexcone():
    import colorsys

    image = person()[55:145, 35:105] / 255.0
    for function, change in (
        (lambda x: digital.brightness(x, generator(0), 0.2), lambda h, s, v: (h, s, min(v + 0.2, 1))),
        (lambda x: digital.saturate(x, generator(0), 2, 0.1), lambda h, s, v: (h, min(2 * s + 0.1, 1), v)),
    ):
        made = function(image)
        for at in ((0, 0), (40, 30), (89, 69)):
            assert made[at] == pytest.approx(colorsys.hsv_to_rgb(*change(*colorsys.rgb_to_hsv(*image[at]))))
    grey = np.full((2, 2, 3), 0.5)
    assert digital.saturate(grey, generator(0), 5, 0.1)[0, 0] == pytest.approx(colorsys.hsv_to_rgb(0, 0.1, 0.5))


def test_a_smear_is_the_weighted_mean_of_shifted_copies():
    image = np.zeros((9, 15, 1))
    image[4, 7] = 1
    made = blur.streak(image, 2, 1.5, 0)[4, :, 0]
    weights = np.exp(-(np.arange(5.0) ** 2) / (2 * 1.5**2))
    assert made[3:8][::-1] == pytest.approx(weights / weights.sum())
    assert made.sum() == pytest.approx(1)


def test_cloudy_noise_fills_its_range():
    clouds = weather.plasma(generator(0), 64, 32, 2)
    assert clouds.shape == (64, 32)
    assert 0 <= clouds.min() < 0.5 < clouds.max() <= 1


def test_an_unknown_severity_is_a_programming_error():
    with pytest.raises(ValueError, match="severity 6"):
        corrupt(person(), "rain", 6, generator(0))


def index_of(root: Path, count: int = 3) -> ImageIndex:
    paths = []
    for number in range(count):
        for modality, name in enumerate(("visible", "infrared")):
            image = Image.fromarray(np.roll(person(), 7 * number, axis=1))
            paths.append(f"{name}/{number}.png")
            (root / name).mkdir(parents=True, exist_ok=True)
            (image.convert("L") if modality else image).resize((60, 130)).save(root / paths[-1])
    zeros = np.zeros(len(paths), dtype=np.int64)
    modality = np.arange(len(paths), dtype=np.int64) % 2
    return ImageIndex(root, tuple(paths), zeros, modality, zeros, zeros)


def test_images_of_an_index_have_one_digest_at_every_size(tmp_path):
    index, calls = index_of(tmp_path / "data"), []
    draw = CorruptionDraw(3)
    made = corrupted_images(index, draw, 96, 48, tmp_path / "cache", progress=lambda *at: calls.append(at))
    assert made.array.shape == (6, 3, 96, 48)
    assert calls[-1] == (6, 6)
    assert (made.array[1::2] == made.array[1::2, :1]).all(), "infrared rows are grey"
    kept = corrupted_images(index, draw, 96, 48, tmp_path / "cache", progress=lambda *_: pytest.fail("not again"))
    assert (kept.array == made.array).all()
    larger = corrupted_images(index, draw, 192, 96, tmp_path / "cache", workers=1)
    elsewhere = corrupted_images(index, draw, 96, 48, tmp_path / "other", workers=1)
    assert made.digest == kept.digest == larger.digest == elsewhere.digest
    assert (elsewhere.array == made.array).all()
    assert corrupted_images(index, CorruptionDraw(4), 96, 48, tmp_path / "cache").digest != made.digest
    backwards = index.select(np.arange(len(index))[::-1])
    turned = corrupted_images(backwards, draw, 96, 48, tmp_path / "cache")
    assert (turned.array[::-1] == made.array).all(), "an image's corruption hangs on its path alone"


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "corrupted").write_text("a file")
    with pytest.raises(UserError, match=r"image cache .*corrupted: .*it needs"):
        corrupted_images(index_of(tmp_path / "data"), CorruptionDraw(0), 96, 48, tmp_path / "cache")


def test_the_sheet_shows_all(tmp_path):
    config = SyntheticConfig(layout="sysu", seed=0, height=64, width=32, **split_identities(4))
    with Image.open(corruption_sheet(config, tmp_path / "sheet.png")) as sheet:
        assert sheet.format == "PNG"
        assert sheet.height > len(CORRUPTIONS) * SIZE[0] // 2
        assert sheet.width > 2 * 6 * SIZE[1] // 2
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"sheet\.png"):
        corruption_sheet(config, tmp_path / "file/sheet.png")
