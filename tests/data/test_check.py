import json
import shutil
from itertools import product

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from vireid.cli.data import app
from vireid.core.errors import UserError
from vireid.data import check as pixels
from vireid.data.check import check, detect


def rows(report):
    return {row.name: row for row in report.rows}


def test_layouts_are_detected(sysu_root, regdb_root, llcm_root, tmp_path):
    assert detect(sysu_root) == "sysu"
    assert detect(regdb_root) == "regdb"
    assert detect(llcm_root) == "llcm"
    with pytest.raises(UserError, match="no known dataset layout"):
        detect(tmp_path)


def test_real_counts_are_compared_with_the_literature(sysu_root):
    report = check(sysu_root)
    found = rows(report)
    assert not report.ok
    assert report.findings == ()
    assert not report.wrong
    assert report.synthetic is None
    row = found["training identities"]
    assert (row.count, row.expected, row.ok) == (6, 395, False)
    assert row.note == "differs from what it should be by -389"
    assert found["query images (infrared)"].count == 2 * 2 * 2
    assert found["gallery images, all-search, single-shot"].count == 2 * 4
    assert found["gallery images, indoor, single-shot"].count == 2 * 2
    assert found["gallery images, all-search, 10-shot"].count == 2 * 8
    assert found["permutation trials"].ok
    assert found["permuted images without a file"].ok
    assert found["training images, camera 3, infrared"].count == 6 * 2


def test_literature_counts_do_not_apply_to_synthetic_data(sysu_root):
    (sysu_root / "synthetic.json").write_text(json.dumps({"specification": {"renderer_version": "3"}}))
    report = check(sysu_root, decode=True)
    assert report.ok
    assert report.synthetic == "synthetic data (renderer 3), not comparable with published results"
    assert {row.name for row in report.rows if row.expected is not None} == {
        "permutation trials",
        "permuted images without a file",
    }


def test_problems_are_named(llcm_root):
    broken = llcm_root / "vis/0001/0001_c01_s1_f1_vis.jpg"
    broken.write_bytes(broken.read_bytes()[:-200])
    (llcm_root / "nir/0002/0002_c01_s1_f1_nir.jpg").unlink()
    for camera in (1, 2):
        for file in (llcm_root / f"test_nir/cam{camera}/0003").iterdir():
            file.unlink()
    seen = []
    report = check(llcm_root, decode=True, progress=lambda done, total: seen.append((done, total)))
    found = {finding.what: finding for finding in report.findings}
    assert set(found) == {
        "test identities without an infrared image",
        "truncated or unreadable images",
        "missing or empty images",
    }
    assert found["test identities without an infrared image"].example == "3, of which there are visible images"
    assert found["truncated or unreadable images"].example == str(broken)
    assert found["missing or empty images"].example.endswith("0002_c01_s1_f1_nir.jpg")
    assert all(finding.count == 1 and finding.wrong for finding in report.findings)
    assert seen[-1][0] == seen[-1][1]


def test_a_missing_split_file_is_a_row_not_a_crash(regdb_root):
    report = check(regdb_root)
    found = rows(report)
    assert found["training identities"].count == 5
    assert found["ten splits"].ok is False
    assert "train_visible_3.txt is missing" in found["ten splits"].note
    for split in range(3, 11):
        for part, kind in product(("train", "test"), ("visible", "thermal")):
            copy = regdb_root / "idx" / f"{part}_{kind}_1.txt"
            (regdb_root / "idx" / f"{part}_{kind}_{split}.txt").write_text(copy.read_text())
    found = rows(check(regdb_root))
    assert found["splits read"].ok
    assert found["splits whose counts differ from split 1"].ok
    (regdb_root / "idx" / "test_visible_7.txt").write_text((regdb_root / "idx" / "train_visible_7.txt").read_text())
    found = rows(check(regdb_root))
    assert found["images both in training and test of a split"].count == 10


def test_permutations_must_name_images_that_exist(sysu_root):
    (sysu_root / "cam1" / "0006" / "0002.jpg").unlink()
    row = rows(check(sysu_root))["permuted images without a file"]
    assert (row.count, row.ok) == (1, False)


def one_of_each(root):
    """Spoil a tidy SYSU tree in every way that people report; returns the words that must name each, once."""
    thermal = np.linspace(20000, 35300, 48 * 24).reshape(48, 24)
    for identity, kind, suffix in ((2, np.uint16, "png"), (5, np.float32, "tif")):
        file = root / f"cam3/{identity:04d}/0001.jpg"
        Image.fromarray(thermal.astype(kind)).save(file.with_suffix(f".{suffix}"))
        file.unlink()
    Image.new("RGB", (24, 48), (90, 90, 90)).save(root / "cam6/0008/0001.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(root / "cam1/0006/0001.jpg") as image:
        image.load()
        image.save(root / "cam1/0006/0001.jpg", exif=exif)
    Image.new("RGBA", (24, 48), (90, 90, 90, 10)).save(root / "cam2/0009/0003.png")
    (root / "cam1/0006/._0001.jpg").write_bytes(b"\0\5\x16\7")
    (root / "Thumbs.db").write_bytes(b"")
    for identity in (3, 7):
        (root / f"cam4/{identity:04d}").rename(root / f"cam4/{identity}")
    shutil.copytree(root / "cam1/0006", root / "cam7/0006", ignore=shutil.ignore_patterns("._*"))
    truncated = root / "cam2/0006/0002.jpg"
    truncated.write_bytes(truncated.read_bytes()[:-200])
    for camera in (3, 6):
        shutil.rmtree(root / f"cam{camera}/0009")
        shutil.rmtree(root / f"cam{camera}/0010")
    shutil.copy(root / "cam1/0006/0001.jpg", root / "cam1/0006/0009.webp")
    return {
        "16-bit images, which are refused: 1 ": "mode I;16, values 20000–35300); which of these values",
        "floating-point images, which are refused: 1 ": "mode F, values 20000–35300); which of these values",
        "flat images, of one grey level: 1 ": "cam6/0008/0001.jpg); they show nothing",
        "images with an EXIF orientation: 1 ": "cam1/0006/0001.jpg); nothing to do: they are turned",
        "partly transparent images, which are refused: 1 ": "cam2/0009/0003.png); write them without alpha",
        "files left behind by other systems: 2 ": "such as",
        "identity folders that are not numbered by four digits: 2 ": "cam4/3); rename them with leading zeros",
        "camera folders of other numbers: 1 ": "cam7); this layout has visible cameras",
        "truncated or unreadable images: 1 ": "cam2/0006/0002.jpg); restore them",
        "training identities without an infrared image: 1 ": "9, of which there are visible images); restore",
        "test identities without an infrared image: 1 ": "10, of which there are visible images); restore",
        "images of formats that are not read: 1 ": "0009.webp); write them as one of",
    }


@pytest.mark.parametrize("decode", [(), ("--decode",)])
def test_each_kind_of_trouble_is_named_once_with_its_count_and_remedy(sysu_root, decode):
    expected = one_of_each(sysu_root)
    result = CliRunner().invoke(app, ["data", "check", str(sysu_root), *decode])
    lines = [line for line in result.output.splitlines() if line.startswith(("problem: ", "note: "))]
    for what, words in expected.items():
        (line,) = [line for line in lines if f": {what}" in line]
        assert words in line
    assert len(lines) == len(expected)
    assert result.exit_code == 2
    for mode in ("RGB", "I;16", "F", "RGBA"):
        assert (f"images of mode {mode}" in result.output) == (mode not in ("I;16", "F"))


def test_harmless_finds_are_notes(sysu_root):
    (sysu_root / "synthetic.json").write_text(json.dumps({"specification": {"renderer_version": "3"}}))
    (sysu_root / "cam1/0006/._0001.jpg").write_bytes(b"")
    report = check(sysu_root)
    assert [finding.wrong for finding in report.findings] == [False]
    assert report.ok
    assert CliRunner().invoke(app, ["data", "check", str(sysu_root)]).exit_code == 0


def test_a_sample_is_decoded_and_all_headers_are_read(sysu_root, monkeypatch):
    monkeypatch.setattr(pixels, "SAMPLE", 5)
    report = check(sysu_root)
    found = rows(report)
    total = sum(row.count for row in report.rows if row.name.startswith("images of mode"))
    assert (found["images of mode RGB"].count, total) == (found["image sizes"].count * total, total)
    assert found["image sizes"].note == f"width×height 24×48: {total}"
    assert (found["images decoded"].count, found["images decoded"].note) == (
        5,
        f"a sample of {total}; --decode decodes all",
    )
    assert rows(check(sysu_root, decode=True))["images decoded"].count == total
