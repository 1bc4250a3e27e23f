import json
from pathlib import Path

import numpy as np
import pytest

from vireid.core.errors import UserError
from vireid.core.types import ImageIndex, Modality
from vireid.data.captions import (
    CaptionConfig,
    CaptionDraw,
    caption_file,
    captions_digest,
    describe,
    read_captions,
    read_entries,
    rerooted,
)

PATHS = ("cam1/0001/0001.jpg", "cam1/0001/0002.jpg", "cam3/0001/0001.jpg")


def write(root: Path, name: str, rows: dict[str, dict[str, str]], *, rephrased: bool = False) -> None:
    file = caption_file(root, name, rephrased=rephrased)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(rows))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, paths in (("Blip_RGB", PATHS[:2]), ("Blip_IR", PATHS[2:])):
        rows = {f"/home/author/data/SYSU/{path}": {"description": f"said of {path}"} for path in paths}
        write(tmp_path, name, rows)
        again = {key: {**row, "aug_description": f"again {row['description']}"} for key, row in rows.items()}
        write(tmp_path, name, again, rephrased=True)
    return tmp_path


@pytest.fixture
def index(root: Path) -> ImageIndex:
    modality = np.array([int(Modality.VISIBLE)] * 2 + [int(Modality.INFRARED)])
    ones = np.ones(3, dtype=np.int64)
    return ImageIndex(root, PATHS, ones, modality, ones, ones)


def test_captions_are_found_whatever_root_their_author_had(index: ImageIndex) -> None:
    described, rephrasings = describe(index, CaptionConfig())
    assert described.captions == tuple(f"said of {path}" for path in PATHS)
    assert rephrasings == tuple(f"again said of {path}" for path in PATHS)


def test_keys_of_other_systems_and_folders_by_camera() -> None:
    entries = {"D:\\data\\vis\\0001\\0001_c01_f1.jpg": 1, "x/vis/0002/0002_c01_f1.jpg": 2, "x/cam1/0003/0001.jpg": 3}
    entries["x/cam2/0003/0001.jpg"] = 4
    paths = ["vis/0001/0001_c01_f1.jpg", "test_vis/cam1/0002/0002_c01_f1.jpg", "test_vis/cam1/0003/0001.jpg"]
    assert rerooted(entries, paths) == {paths[0]: 1, paths[1]: 2}  # the third fits two keys
    assert rerooted({"x/cam1/0003/0001.jpg": 3}, ["cam2/0003/0001.jpg"]) == {}


def test_missing_captions_are_counted_and_named(root: Path, index: ImageIndex) -> None:
    with pytest.raises(UserError, match=r"describes 1 of 2 images.*cam9/0001/0001\.jpg"):
        read_captions(root, "Blip_RGB", [PATHS[0], "cam9/0001/0001.jpg"])
    with pytest.raises(UserError, match=r"Git_RGB\.json is missing.*Blip_IR, Blip_RGB"):
        describe(index, CaptionConfig(captioner="Git"))
    caption_file(root, "Blip_IR", rephrased=True).unlink()
    with pytest.raises(UserError, match=r"rephrases 0 of 1 captions.*rephrased=0"):
        describe(index, CaptionConfig())
    assert describe(index, CaptionConfig(rephrased=0.0))[1][2] is None


@pytest.mark.parametrize("content", ["[1]", '{"a": 3}', "{"])
def test_a_file_that_is_no_caption_file_is_named(root: Path, content: str) -> None:
    caption_file(root, "Blip_IR").write_text(content)
    with pytest.raises(UserError, match=r"caption file .*caption_dict_Blip_IR\.json"):
        read_captions(root, "Blip_IR", PATHS[2:])


def test_the_digest_follows_what_is_said(root: Path) -> None:
    before = captions_digest(root)
    assert captions_digest(root) == before
    file = caption_file(root, "Blip_IR")
    file.write_text(file.read_text().replace("said", "told"))
    assert captions_digest(root) != before


def test_rephrasings_are_drawn_with_their_probability_and_by_step() -> None:
    said, again = [f"said {i}" for i in range(400)], [f"again {i}" for i in range(400)]
    rows = np.arange(400)
    draw = CaptionDraw(said, again, 0.5, seed=3)
    first = draw(rows, 1, 2)
    assert first == CaptionDraw(said, again, 0.5, seed=3)(rows, 1, 2)
    assert first != draw(rows, 1, 3)
    assert 160 < sum(text.startswith("again") for text in first) < 240
    assert all(text.endswith(f" {i}") for i, text in enumerate(first))
    assert CaptionDraw(said, again, 0.0, seed=3)(rows, 1, 2) == tuple(said)
    assert CaptionDraw(said, [None] * 400, 1.0, seed=3)(rows, 1, 2) == tuple(said)


def test_a_byte_order_mark_says_nothing(root: Path) -> None:
    file = caption_file(root, "Blip_IR")
    before = read_entries(file)
    file.write_text(file.read_text(), encoding="utf-8-sig")
    assert read_entries(file) == before
