"""Tiny datasets of random JPEGs in the true layouts."""

from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

SYSU_IDS = {"train": [2, 5, 8, 9], "val": [3, 7], "test": [6, 10]}
EVERYONE = [identity for identities in SYSU_IDS.values() for identity in identities]
SYSU_CAMERAS = (1, 2, 3, 4, 5, 6)


def write_image(path: Path, rng: np.random.Generator, size: tuple[int, int] = (24, 48)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(path)


@pytest.fixture
def sysu_root(tmp_path: Path) -> Path:
    """Identities 2…10; every identity is in cameras 1–4 and 6, only even ones in camera 5; 2 images each."""
    rng = np.random.default_rng(0)
    root = tmp_path / "SYSU-MM01"
    (root / "exp").mkdir(parents=True)
    for split, identities in SYSU_IDS.items():
        (root / "exp" / f"{split}_id.txt").write_text(",".join(map(str, identities)) + "\n")
    cells = np.empty((6, 1), dtype=object)
    for camera in SYSU_CAMERAS:
        people = np.empty((10, 1), dtype=object)
        for identity in range(1, 11):
            present = identity in EVERYONE and (camera != 5 or identity % 2 == 0)
            people[identity - 1, 0] = (
                np.stack([rng.permutation(2) + 1 for _ in range(10)]).astype(np.uint8)
                if present
                else np.zeros((0, 0), dtype=np.uint8)
            )
            if present:
                for number in (1, 2):
                    write_image(root / f"cam{camera}" / f"{identity:04d}" / f"{number:04d}.jpg", rng)
        cells[camera - 1, 0] = people
    scipy.io.savemat(root / "exp" / "rand_perm_cam.mat", {"rand_perm_cam": cells})
    return root


@pytest.fixture
def stored_arrays(sysu_root: Path) -> dict[str, np.ndarray]:
    """Pre-processed training arrays beside the JPEG tree of ``sysu_root``: 12 visible and 8 infrared images."""
    rng = np.random.default_rng(3)
    written = {}
    for name, count in (("rgb", 12), ("ir", 8)):
        written[name] = rng.integers(0, 256, (count, 20, 10, 3), dtype=np.uint8)
        np.save(sysu_root / f"train_{name}_resized_img.npy", written[name])
        np.save(sysu_root / f"train_{name}_resized_label.npy", np.arange(count) % 6)
    return written


@pytest.fixture
def regdb_root(tmp_path: Path) -> Path:
    """Ten persons, two images per modality; five train in each of two splits."""
    rng = np.random.default_rng(1)
    root = tmp_path / "RegDB"
    (root / "idx").mkdir(parents=True)
    for person in range(1, 11):
        for folder, kind in (("Visible", "v"), ("Thermal", "t")):
            for shot in (1, 2):
                write_image(root / folder / str(person) / f"male_back_{kind}_{shot:05d}_{person}.bmp", rng)
    for split in (1, 2):
        people = rng.permutation(np.arange(1, 11))
        for part, chosen in (("train", people[:5]), ("test", people[5:])):
            for folder, kind in (("Visible", "visible"), ("Thermal", "thermal")):
                lines = [
                    f"{folder}/{person}/male_back_{kind[0]}_{shot:05d}_{person}.bmp {label}"
                    for label, person in enumerate(chosen)
                    for shot in (1, 2)
                ]
                (root / "idx" / f"{part}_{kind}_{split}.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def llcm_root(tmp_path: Path) -> Path:
    """Five training identities in cameras 1 and 2, two test identities; camera 3 without infrared."""
    rng = np.random.default_rng(2)
    root = tmp_path / "LLCM"
    (root / "idx").mkdir(parents=True)
    for part, identities in (("train", (1, 2, 4, 5, 8)), ("test", (3, 6))):
        for name in ("vis", "nir"):
            lines = []
            for identity in identities:
                for camera in (1, 2, 3) if name == "vis" else (1, 2):
                    for shot in (1, 2):
                        file = f"{identity:04d}_c{camera:02d}_s{shot}_f1_{name}.jpg"
                        path = f"{name}/{identity:04d}/{file}"
                        lines.append(f"{path} {identity}")
                        write_image(root / path, rng)
                        if part == "test":
                            write_image(root / f"test_{name}" / f"cam{camera}" / f"{identity:04d}" / file, rng)
            (root / "idx" / f"{part}_{name}.txt").write_text("\n".join(lines) + "\n")
    (root / "idx" / "test_id.txt").write_text("3,6\n")
    return root
