"""The report on a dataset: its counts against loops over the files, on rendered people and on "real" ones."""

from __future__ import annotations

import shutil

import pytest

from vireid.core.errors import UserError
from vireid.explain.dataset import open_dataset, overrides_of
from vireid.report.dataset import DatasetReport


@pytest.fixture(scope="module")
def report(tmp_path_factory, rendered) -> DatasetReport:
    folder = tmp_path_factory.mktemp("report")
    return open_dataset(overrides_of([str(rendered)]), folder / "store", folder, ["csv"])


def test_counts_are_those_of_the_files(report, rendered) -> None:
    splits = report.section("splits").frame.set_index("part")
    identities = {
        name: [int(part) for part in (rendered / "exp" / f"{name}_id.txt").read_text().split(",") if part.strip()]
        for name in ("train", "val", "test")
    }
    for part, people in (
        ("training", identities["train"] + identities["val"]),
        ("of these, dev", identities["val"]),
        ("test", identities["test"]),
    ):
        for modality, cameras in (("visible", (1, 2, 4, 5)), ("infrared", (3, 6))):
            files = [f for c in cameras for i in people for f in (rendered / f"cam{c}" / f"{i:04d}").glob("*.jpg")]
            assert splits.loc[part, f"{modality} images"] == len(files)
            assert splits.loc[part, f"{modality} cameras"] == len({f.parts[-3] for f in files})
        assert splits.loc[part, "identities"] == len(people)


def test_the_literature_does_not_apply_to_rendered_people(report) -> None:
    shown = report.section("literature")
    assert "do not apply" in shown
    assert "22,258" in shown
    assert "differs" not in shown
    assert "do not apply to rendered images" in report.section("splits")
    assert "not comparable with published results" in report.section("dataset")


def test_the_same_files_as_real_images_are_held_against_the_literature(rendered, tmp_path) -> None:
    real = tmp_path / "SYSU-MM01"
    shutil.copytree(rendered, real)
    (real / "synthetic.json").unlink()
    report = open_dataset(["data=sysu", f"data.root={real}"], tmp_path / "store", tmp_path / "out", ["csv"])
    assert "pictures of real people" in report.section("dataset")
    splits = report.section("splits")
    assert "literature 22,258" in splits
    assert 'class="bad"' in splits
    assert "do not apply" not in splits
    assert "differs" in report.section("literature")
    page = "".join(report.section(name) for name in report.modules)
    assert str(tmp_path) not in page  # a page names no machine's own paths


def test_a_sheet_and_distributions_are_drawn(report) -> None:
    tiles = report.facts.sheet
    assert {tile.modality for tile in tiles} == {"visible", "infrared"}
    assert len({tile.identity for tile in tiles}) == 6
    assert "<img" in report.section("contact_sheet")
    shown = report.section("distribution")
    assert "<img" in shown
    per_camera = shown.frames["images-per-camera"]
    assert per_camera["images"].sum() == len(report.facts.images)


def test_fingerprints_are_those_that_records_carry(report, rendered) -> None:
    from tests.tiny import tiny
    from vireid.experiment.context import RunContext
    from vireid.store import Store

    run = RunContext(tiny(f"data.root={rendered}", "data.split=test"), Store(report.out / "other"))
    assert report.facts.fingerprints == {
        "training": run.data.train_fingerprint,
        "test": run.data.evaluation_fingerprint,
    }


def test_a_section_of_studies_is_refused_here(report) -> None:
    with pytest.raises(UserError, match="no section 'ablation'"):
        report.section("ablation")


@pytest.mark.check
@pytest.mark.parametrize(("layout", "known"), [("regdb", "2,060"), ("llcm", "713")])
def test_other_layouts_have_every_section(layout: str, known: str, tmp_path) -> None:
    """One camera a modality in RegDB, nine in LLCM."""
    people = [f"data.synthetic.{key}={value}" for key, value in
              {"train_ids": 5, "val_ids": 2, "test_ids": 3, "height": 64, "width": 32}.items()]  # fmt: skip
    report = open_dataset(
        [f"data={layout}_synthetic", *people, "runtime.workers=1"], tmp_path, tmp_path / "out", ["csv"]
    )
    assert known in report.section("literature")
    assert report.section("contact_sheet").count("<img") == 1
    assert report.section("distribution").count("<img") == 1
    splits = report.section("splits").frame
    assert list(splits["part"]) == ["training", "of these, dev", "test"]
    tiles = report.facts.sheet
    assert max(sum(t.identity == tile.identity for t in tiles) for tile in tiles) <= 10
