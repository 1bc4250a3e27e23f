import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from vireid.core.errors import UserError
from vireid.data.synthetic import dataset, rendering_worker
from vireid.data.synthetic.config import SyntheticConfig, split_identities
from vireid.data.synthetic.dataset import plan_dataset, write_dataset
from vireid.data.synthetic.rendering_worker import decode_mask

from .helpers import tiny


def digests(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_bytes_do_not_depend_on_the_number_of_processes(datasets, tmp_path):
    calls: list[tuple[int, int]] = []
    again = write_dataset(tmp_path / "two", tiny("sysu"), workers=2, progress=lambda *counts: calls.append(counts))
    assert digests(again) == digests(datasets["sysu"])
    total = len(plan_dataset(tiny("sysu")).shots)
    assert [count for _, count in calls] == [total] * len(calls)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert calls[-1] == (total, total)


def test_another_seed_gives_other_images(datasets, tmp_path):
    other = write_dataset(tmp_path / "other", tiny("regdb", seed=6))
    one = sorted(datasets["regdb"].glob("Visible/1/*"))[0]
    assert one.read_bytes() != sorted(other.glob("Visible/1/*"))[0].read_bytes()


def test_a_finished_dataset_is_returned_at_once(datasets, monkeypatch):
    monkeypatch.setattr(dataset, "write_all", lambda *_: pytest.fail("rendered again"))
    before = digests(datasets["llcm"])
    assert write_dataset(datasets["llcm"], tiny("llcm")) == datasets["llcm"]
    assert digests(datasets["llcm"]) == before


def test_another_specification_is_refused_by_name(datasets):
    with pytest.raises(UserError, match=r"sysu: holds another synthetic dataset: seed 5 \(wanted 6\)"):
        write_dataset(datasets["sysu"], tiny("sysu", seed=6))


def test_foreign_folders_and_files_are_refused(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("precious")
    with pytest.raises(UserError, match="is not empty and holds no synthetic dataset"):
        write_dataset(tmp_path / "mine", tiny("sysu"))
    assert (tmp_path / "mine/thesis.tex").read_text() == "precious"
    with pytest.raises(UserError, match="is a file"):
        write_dataset(tmp_path / "mine/thesis.tex", tiny("sysu"))


def test_an_unwritable_place_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file.*cannot write the dataset"):
        write_dataset(tmp_path / "file/below/root", tiny("sysu"))


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match="No space left on device"):
        write_dataset(tmp_path / "root", tiny("sysu"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.check
def test_a_killed_writing_leaves_no_dataset_and_the_next_one_clears_up(tmp_path):
    root = tmp_path / "root"
    config = tiny("regdb", train_ids=400)
    code = (
        "import sys; from pathlib import Path\n"
        "from vireid.data.synthetic.config import SyntheticConfig\n"
        "from vireid.data.synthetic.dataset import write_dataset\n"
        "write_dataset(Path(sys.argv[1]), SyntheticConfig.model_validate_json(sys.argv[2]))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(root), config.model_dump_json()])
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".root.*.partial/Visible/*/*.jpg")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not root.exists()
    assert len(list(tmp_path.glob(".root.*.partial"))) == 1
    write_dataset(root, tiny("regdb"))
    assert [path.name for path in tmp_path.iterdir()] == ["root"]


def die(*_: object) -> None:
    os._exit(1)


@pytest.mark.check
def test_a_dead_worker_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(rendering_worker, "write_identity", die)
    with pytest.raises(UserError, match="a rendering process died"):
        write_dataset(tmp_path / "root", tiny("regdb"), workers=2)
    assert list(tmp_path.iterdir()) == []


def test_a_writing_in_progress_is_not_cleared_away(tmp_path):
    with dataset._partial_folder(tmp_path / "root") as folder:
        (folder / "image").write_text("here")
        write_dataset(tmp_path / "root", tiny("regdb"))
        assert (folder / "image").exists()


def test_the_card_and_the_tables_describe_every_image(datasets):
    for layout, root in datasets.items():
        config = tiny(layout)
        card = json.loads((root / "synthetic.json").read_text())
        assert card["data_kind"] == "synthetic"
        assert card["specification"] == config.specification()
        shots = plan_dataset(config).shots
        table = pd.read_parquet(root / "attributes.parquet")
        assert table["path"].tolist() == [shot.path for shot in shots]
        assert table["file_size"].tolist() == [(root / path).stat().st_size for path in table["path"]]
        assert set(table["split"]) == {"train", "val", "test"}
        assert (table["box_right"] > table["box_left"]).all()
        assert table.groupby("identity")["shared"].apply(lambda own: len({tuple(names) for names in own})).eq(1).all()
        masks = pd.read_parquet(root / "silhouettes.parquet")
        assert masks["path"].tolist() == table["path"].tolist()
        mask = decode_mask(masks["silhouette"][0])
        assert mask.shape == (64, 32)
        assert 0.02 < mask.mean() < 0.9


def test_the_specification_holds_what_decides_the_images():
    base = tiny("sysu").specification()
    assert {"renderer_version", "writer_version", "seed", "layout", "height", "width"} <= base.keys()
    assert SyntheticConfig(layout="sysu").specification()["visible_per_camera"] == 6
    assert SyntheticConfig(layout="regdb").specification()["infrared_per_camera"] == 10


@pytest.mark.parametrize("total", [4, 7, 100, 491])
def test_identities_are_shared_out_whole(total):
    sizes = split_identities(total)
    assert sum(sizes.values()) == total
    assert min(sizes.values()) >= 1
    if total == 100:
        assert sizes == {"train_ids": 60, "val_ids": 15, "test_ids": 25}


def test_too_few_identities_are_refused():
    with pytest.raises(UserError, match="--ids 3"):
        split_identities(3)
