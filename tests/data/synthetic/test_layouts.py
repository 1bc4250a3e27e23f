"""The files on disk are those that readers of the real datasets expect."""

import functools
import operator
import random
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat

from vireid.data.synthetic.dataset import plan_dataset

from .helpers import tiny


def files(root: Path, pattern: str) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.glob(pattern) if path.is_file())


def ids(path: Path) -> list[int]:
    lines = path.read_text().splitlines()
    assert len(lines) == 1
    return [int(part) for part in lines[0].split(",")]


def labelled(path: Path) -> tuple[list[str], list[int]]:
    rows = [line.split(" ") for line in path.read_text().splitlines()]
    return [row[0] for row in rows], [int(row[1]) for row in rows]


@pytest.mark.parametrize("layout", ["sysu", "regdb", "llcm"])
def test_every_planned_image_is_a_jpeg_of_the_right_size_and_nothing_else_is_there(layout, datasets):
    root, config = datasets[layout], tiny(layout)
    shots = plan_dataset(config).shots
    planned = {shot.path for shot in shots} | {copy for shot in shots for copy in shot.copies}
    assert set(files(root, "**/*.jpg")) == planned
    for path in planned:
        with Image.open(root / path) as image:
            assert (image.format, image.size, image.mode) == ("JPEG", (config.width, config.height), "RGB")
    for shot in shots:
        for copy in shot.copies:
            assert (root / copy).read_bytes() == (root / shot.path).read_bytes()


def test_sysu_identities_are_split_and_spread(datasets):
    root = datasets["sysu"]
    parts = [ids(root / f"exp/{name}_id.txt") for name in ("train", "val", "test")]
    assert [len(part) for part in parts] == [3, 2, 2]
    everyone = sorted(functools.reduce(operator.iadd, parts, []))
    assert ids(root / "exp/available_id.txt") == everyone == sorted(set(everyone))
    assert len(files(root, "exp/*")) == 5
    seen = {path.parent.name for path in root.glob("cam*/*/*.jpg")}
    assert seen == {f"{identity:04d}" for identity in everyone}
    many = plan_dataset(tiny("sysu", train_ids=60)).text_files["exp/available_id.txt"]
    numbers = [int(part) for part in many.split(",")]
    assert max(numbers) > len(numbers)  # with gaps, as the real ones


def test_sysu_every_identity_has_both_modalities_and_images_are_numbered_from_one(datasets):
    root = datasets["sysu"]
    for identity in ids(root / "exp/available_id.txt"):
        cameras = {int(path.parent.name[3:]) for path in root.glob(f"cam*/{identity:04d}")}
        assert cameras & {1, 2, 4, 5}
        assert cameras & {3, 6}
        for camera in cameras:
            names = files(root / f"cam{camera}/{identity:04d}", "*")
            assert names == [f"{n:04d}.jpg" for n in range(1, len(names) + 1)]


def test_sysu_not_everybody_is_seen_everywhere_and_counts_vary():
    shots = plan_dataset(tiny("sysu", train_ids=40, visible_per_camera=6)).shots
    places: dict[int, set[int]] = {}
    counts: dict[tuple[int, int], int] = {}
    for shot in shots:
        places.setdefault(shot.identity, set()).add(shot.camera)
        counts[shot.identity, shot.camera] = shot.number
    assert len({frozenset(cameras) for cameras in places.values()}) > 3
    assert {count for (_, camera), count in counts.items() if camera == 4} == {3, 4, 5, 6}


def test_rand_perm_cam_answers_as_the_evaluators_ask(datasets):
    root = datasets["sysu"]
    permutations = loadmat(root / "exp/rand_perm_cam.mat")["rand_perm_cam"]
    assert permutations.shape == (6, 1)
    everyone = ids(root / "exp/available_id.txt")
    differing = 0
    for camera in range(1, 7):
        cell = permutations[camera - 1][0].squeeze()
        assert len(cell) == max(everyone)
        for identity in range(1, max(everyone) + 1):
            count = len(files(root / f"cam{camera}/{identity:04d}", "*.jpg"))
            for trial in range(10):
                numbers = permutations[camera - 1][0][identity - 1][0][trial]
                assert sorted(numbers.tolist()) == list(range(1, count + 1))
                assert cell[identity - 1][trial][:1].tolist() == numbers[:1].tolist()
                for number in numbers.tolist():
                    assert (root / f"cam{camera}/{identity:0>4d}/{number:0>4d}.jpg").is_file()
            differing += len(np.unique(cell[identity - 1], axis=0)) > 1
    assert differing


def test_sysu_paths_can_be_read_from_their_end(datasets):
    path = str(next(iter(sorted(datasets["sysu"].glob("cam6/*/*.jpg")))))
    assert int(path[-15]) == 6
    assert int(path[-13:-9]) == int(Path(path).parent.name)


def test_regdb_ten_splits_halve_the_identities(datasets):
    root = datasets["regdb"]
    assert len(files(root, "idx/*")) == 40
    halves = set()
    for split in range(1, 11):
        members: dict[str, set[int]] = {}
        for part in ("train", "test"):
            for spectrum, folder in (("visible", "Visible"), ("thermal", "Thermal")):
                paths, labels = labelled(root / f"idx/{part}_{spectrum}_{split}.txt")
                identities = [int(path.split("/")[1]) for path in paths]
                assert all(path.startswith(f"{folder}/") and (root / path).is_file() for path in paths)
                assert labels == np.unique(identities, return_inverse=True)[1].tolist()
                assert np.bincount(labels).tolist() == [10] * len(set(identities))
                assert members.setdefault(part, set(identities)) == set(identities)
        assert members["train"] | members["test"] == set(range(1, 8))
        assert not members["train"] & members["test"]
        assert abs(len(members["train"]) - len(members["test"])) <= 1
        halves.add(frozenset(members["train"]))
    assert len(halves) > 1


def test_regdb_names_tell_modality_and_identity(datasets):
    for path in datasets["regdb"].glob("*/*/*.jpg"):
        found = re.search(r"_([vt])_(\d{5})_(\d+)\.jpg$", path.name)
        assert found is not None
        assert (found[1] == "v") == (path.parts[-3] == "Visible")
        assert found[3] == path.parent.name


def test_llcm_index_files_and_folders_agree(datasets):
    root = datasets["llcm"]
    test_ids = ids(root / "idx/test_id.txt")
    assert len(test_ids) == 2
    assert len(files(root, "idx/*")) == 5
    for short in ("vis", "nir"):
        train, train_labels = labelled(root / f"idx/train_{short}.txt")
        test, _ = labelled(root / f"idx/test_{short}.txt")
        assert sorted(train + test) == files(root, f"{short}/*/*.jpg")
        assert sorted(set(train_labels)) == list(range(5))
        assert {int(path.split("/")[1]) for path in test} == set(test_ids)
        by_camera = files(root, f"test_{short}/cam*/*/*.jpg")
        assert sorted(Path(path).name for path in by_camera) == sorted(Path(path).name for path in test)
        for path in by_camera:
            camera, identity = int(path.split("cam")[1][0]), int(path.split("cam")[1][2:6])
            assert Path(path).name.startswith(f"{identity:04d}_c{camera:02d}_s")
            assert Path(path).name.endswith(f"_{short}.jpg")
    assert not list(root.glob("nir/*/*_c03_*")), "camera 3 has no near infrared"


def test_llcm_every_identity_shares_two_cameras_between_the_modalities():
    shots = plan_dataset(tiny("llcm", train_ids=60)).shots
    for identity in {shot.identity for shot in shots}:
        cameras = [
            {s.camera for s in shots if s.identity == identity and s.spectrum == spectrum}
            for spectrum in ("visible", "nir")
        ]
        assert len(cameras[0] & cameras[1]) >= 2


def test_llcm_gallery_can_be_drawn_as_released_code_does(datasets):
    root = datasets["llcm"]
    rng = random.Random(0)
    drawn = []
    for identity in sorted(f"{number:04d}" for number in ids(root / "idx/test_id.txt")):
        for camera in range(1, 10):
            folder = root / f"test_vis/cam{camera}/{identity}"
            if folder.is_dir():
                drawn.append(rng.choice(sorted(folder.iterdir())))
    assert len(drawn) >= 4
