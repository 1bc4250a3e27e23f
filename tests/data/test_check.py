import json
from itertools import product

import pytest

from vireid.core.errors import UserError
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
    assert report.problems == ()
    assert report.synthetic is None
    row = found["training identities"]
    assert (row.found, row.expected, row.ok) == (6, 395, False)
    assert row.note == "differs from what it should be by -389"
    assert found["query images (infrared)"].found == 2 * 2 * 2
    assert found["gallery images, all-search, single-shot"].found == 2 * 4
    assert found["gallery images, indoor, single-shot"].found == 2 * 2
    assert found["gallery images, all-search, 10-shot"].found == 2 * 8
    assert found["permutation trials"].ok
    assert found["permuted images without a file"].ok
    assert found["training images, camera 3, infrared"].found == 6 * 2


def test_literature_counts_do_not_apply_to_synthetic_data(sysu_root):
    (sysu_root / "synthetic.json").write_text(json.dumps({"specification": {"renderer_version": "3"}}))
    report = check(sysu_root, decode=True)
    assert report.ok
    assert report.synthetic == "synthetic 3, not comparable with published results"
    assert {row.name for row in report.rows if row.expected is not None} == {
        "permutation trials",
        "permuted images without a file",
    }


def test_problems_are_named(llcm_root):
    broken = llcm_root / "vis/0001/0001_c01_s1_f1_vis.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    (llcm_root / "nir/0002/0002_c01_s1_f1_nir.jpg").unlink()
    for camera in (1, 2):
        for file in (llcm_root / f"test_nir/cam{camera}/0003").iterdir():
            file.unlink()
    seen = []
    report = check(llcm_root, decode=True, progress=lambda done, total: seen.append((done, total)))
    assert len(report.problems) == 3
    assert "test identity 3 has no infrared image" in report.problems
    assert any(str(broken) in problem for problem in report.problems)
    assert any("0002_c01_s1_f1_nir.jpg is missing" in problem for problem in report.problems)
    assert seen[-1][0] == seen[-1][1]
    assert not any("0001_c01_s1" in problem for problem in check(llcm_root).problems)


def test_a_missing_split_file_is_a_row_not_a_crash(regdb_root):
    report = check(regdb_root)
    found = rows(report)
    assert found["training identities"].found == 5
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
    assert found["images both in training and test of a split"].found == 10


def test_permutations_must_name_images_that_exist(sysu_root):
    (sysu_root / "cam1" / "0006" / "0002.jpg").unlink()
    row = rows(check(sysu_root))["permuted images without a file"]
    assert (row.found, row.ok) == (1, False)
