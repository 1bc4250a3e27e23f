"""The list of images that a layout asks for, decided before anything is rendered."""

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.io import savemat

from vireid.core.seeding import generator
from vireid.core.types import Array, IntArray, Modality
from vireid.data.synthetic.cameras import Spectrum
from vireid.data.synthetic.config import SyntheticConfig

Split = Literal["train", "val", "test"]


@dataclass(frozen=True, slots=True)
class Shot:
    """One image to render: who, by which camera, and where the file goes.

    ``number`` counts from 1 within the identity and camera; ``path`` is relative to the root. ``copies`` are further
    places of the same file (LLCM lists its test images a second time by camera).
    """

    identity: int
    spectrum: Spectrum
    camera: int
    number: int
    path: str
    split: Split
    copies: tuple[str, ...] = ()

    @property
    def modality(self) -> Modality:
        """Visible, or infrared for ``nir`` and ``thermal``."""
        return modality_of(self.spectrum)


def modality_of(spectrum: Spectrum) -> Modality:
    """Modality of a spectrum: visible, or infrared for ``nir`` and ``thermal``."""
    return Modality.VISIBLE if spectrum == "visible" else Modality.INFRARED


@dataclass(frozen=True, slots=True)
class Plan:
    """All images of a dataset, identity by identity, and its index files.

    ``text_files`` maps a relative path to its content; ``binary_files`` likewise.
    """

    shots: tuple[Shot, ...]
    text_files: Mapping[str, str]
    binary_files: Mapping[str, bytes]


def share_out(identities: Sequence[int], sizes: Mapping[Split, int], rng: np.random.Generator) -> dict[int, Split]:
    """Assign every identity to a split at random; ``sizes`` add up to the number of identities."""
    shuffled = rng.permutation(np.asarray(identities))
    splits: dict[int, Split] = {}
    start = 0
    for split, size in sizes.items():
        splits.update({int(identity): split for identity in shuffled[start : start + size]})
        start += size
    return dict(sorted(splits.items()))


def image_count(most: int, rng: np.random.Generator) -> int:
    """Number of images of one identity in one camera: between half of ``most`` and ``most``."""
    return int(rng.integers((most + 1) // 2, most + 1))


def labelled_lines(shots: Sequence[Shot]) -> str:
    """Lines ``path label`` with labels 0…C−1 by sorted identity, as RegDB's and LLCM's index files have them."""
    identities = np.unique([shot.identity for shot in shots])
    label: IntArray = np.searchsorted(identities, [shot.identity for shot in shots])
    return "".join(f"{shot.path} {row}\n" for shot, row in zip(shots, label.tolist(), strict=True))


def duplicate(source: Path, target: Path) -> None:
    """Give a file a second name, without using space where the file system allows it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        target.write_bytes(source.read_bytes())


SPECTRUM: dict[int, Spectrum] = {1: "visible", 2: "visible", 3: "nir", 4: "visible", 5: "visible", 6: "nir"}
NUM_TRIALS = 10
_INDOOR_SHARE = 0.65  # of the real test identities about 60 % are seen indoors and nearly all outdoors
_MISSED = 0.1  # chance that one of the two visible cameras of a place misses a person


def plan_sysu(config: SyntheticConfig) -> Plan:
    """List the images and index files (``exp/*.txt``, ``exp/rand_perm_cam.mat``) of a SYSU-like dataset.

    Wu et al., "RGB-Infrared Cross-Modality Person Re-Identification", ICCV 2017. Cameras 1, 2 (visible) and 3 (near
    infrared) are indoors, 4, 5 (visible) and 6 (near infrared) outdoors. As there, identities are numbered with gaps,
    not every identity is seen indoors or by every camera, and the number of images differs.
    """
    total = config.num_ids
    numbering = generator(config.seed, "synthetic/sysu/identities")
    identities = sorted(int(i) for i in 1 + numbering.permutation(total + max(2, total // 12))[:total])
    sizes: dict[Split, int] = {"train": config.train_ids, "val": config.val_ids, "test": config.test_ids}
    splits = share_out(identities, sizes, numbering)
    shots: list[Shot] = []
    counts: dict[tuple[int, int], int] = {}
    for identity, cameras in _sightings(config, splits).items():
        for camera in cameras:
            rng = generator(config.seed, "synthetic/sysu/count", identity, camera)
            count = image_count(config.images_per_camera(SPECTRUM[camera]), rng)
            counts[camera, identity] = count
            folder = f"cam{camera}/{identity:04d}"
            shots += [
                Shot(identity, SPECTRUM[camera], camera, n, f"{folder}/{n:04d}.jpg", splits[identity])
                for n in range(1, count + 1)
            ]
    lists = {f"exp/{split}_id.txt": _comma_separated(i for i in identities if splits[i] == split) for split in sizes}
    lists["exp/available_id.txt"] = _comma_separated(identities)
    permutations = {"exp/rand_perm_cam.mat": rand_perm_cam(counts, max(identities), config.seed)}
    return Plan(tuple(shots), lists, permutations)


def _sightings(config: SyntheticConfig, splits: Mapping[int, Split]) -> dict[int, list[int]]:
    """Cameras that see each identity: at least one visible and one infrared camera each.

    The share seen indoors is kept within every split, and the first of them is seen by all six cameras, so that
    indoor search has something to rank even in a very small dataset.
    """
    cameras: dict[int, list[int]] = {}
    for split in ("train", "val", "test"):
        members = [identity for identity, of in splits.items() if of == split]
        rng = generator(config.seed, "synthetic/sysu/sightings", split)
        order = rng.permutation(len(members))
        for rank, position in enumerate(order):
            indoors = rank < np.ceil(_INDOOR_SHARE * len(members))
            outdoors = not indoors or rank == 0 or rng.random() > 0.05
            seen: list[int] = []
            for present, visible, infrared in ((indoors, (1, 2), 3), (outdoors, (4, 5), 6)):
                missed = int(rng.choice(visible)) if rank > 0 and rng.random() < 2 * _MISSED else None
                if present:
                    seen += [camera for camera in visible if camera != missed] + [infrared]
            cameras[members[position]] = seen
    return dict(sorted(cameras.items()))


def rand_perm_cam(counts: Mapping[tuple[int, int], int], max_identity: int, seed: int) -> bytes:
    """MATLAB file with the variable ``rand_perm_cam``: which images are the gallery in each of ten trials.

    A 6×1 cell by camera; each holds a cell by identity (``max_identity``×1, identity i at position i−1 in Python);
    each of these an integer matrix, trials (10) × a permutation of the image numbers 1…n, with n = 0 columns where the
    camera never saw the identity, so that the evaluators' ``perm[cam−1][0][id−1][0][trial][:shots]`` is empty there.

    Args:
        counts: number of images by (camera, identity).
        max_identity: largest identity number.
        seed: render seed.
    """
    cells: Array = np.empty((len(SPECTRUM), 1), dtype=object)
    for camera in SPECTRUM:
        inner: Array = np.empty((max_identity, 1), dtype=object)
        for identity in range(1, max_identity + 1):
            rng = generator(seed, "synthetic/sysu/rand_perm_cam", camera, identity)
            count = counts.get((camera, identity), 0)
            trials = np.stack([rng.permutation(count) + 1 for _ in range(NUM_TRIALS)])
            inner[identity - 1, 0] = trials.astype(np.uint16)
        cells[camera - 1, 0] = inner
    buffer = io.BytesIO()
    savemat(buffer, {"rand_perm_cam": cells}, do_compression=True)
    # MATLAB 5 files begin with 116 bytes of free text, which hold the time of writing: replaced.
    return b"MATLAB 5.0 MAT-file, synthetic dataset".ljust(116) + buffer.getvalue()[116:]


def _comma_separated(identities: Any) -> str:
    return ",".join(str(identity) for identity in identities) + "\n"


NUM_SPLITS = 10
_FOLDERS: tuple[tuple[Spectrum, str, str], ...] = (("visible", "Visible", "v"), ("thermal", "Thermal", "t"))


def plan_regdb(config: SyntheticConfig) -> Plan:
    """List the images and index files (``idx/{train,test}_{visible,thermal}_<1…10>.txt``) of a RegDB-like dataset.

    Nguyen et al., "Person Recognition System Based on a Combination of Body Images from Visible Light and Thermal
    Cameras", Sensors 17(3), 2017: ten images of each camera, ten random halvings of the identities. The real files are
    ``.bmp``, named ``male_front_v_00007_1.bmp`` (``v`` or ``t``, frame, identity). These are JPEG, and name neither sex
    nor view, which a file name should not give away; readers follow the index files and so need no particular ending.
    """
    identities = list(range(1, config.num_ids + 1))
    sizes: dict[Split, int] = {"train": config.train_ids, "val": config.val_ids, "test": config.test_ids}
    splits = share_out(identities, sizes, generator(config.seed, "synthetic/regdb/identities"))
    shots: list[Shot] = []
    for identity in identities:
        for spectrum, folder, letter in _FOLDERS:
            count = config.images_per_camera(spectrum)
            rng = generator(config.seed, "synthetic/regdb/frames", identity, spectrum)
            frames = sorted(rng.choice(99_999, size=count, replace=False).tolist())
            shots += [
                Shot(
                    identity,
                    spectrum,
                    1,
                    number,
                    f"{folder}/{identity}/person_{letter}_{frame:05d}_{identity}.jpg",
                    splits[identity],
                )
                for number, frame in enumerate(frames, start=1)
            ]
    lists: dict[str, str] = {}
    for split in range(1, NUM_SPLITS + 1):
        halves: dict[Split, int] = {"train": len(identities) // 2, "test": len(identities) - len(identities) // 2}
        half = share_out(identities, halves, generator(config.seed, "synthetic/regdb/split", split))
        for part in halves:
            for spectrum, _, _ in _FOLDERS:
                chosen = [s for s in shots if s.spectrum == spectrum and half[s.identity] == part]
                lists[f"idx/{part}_{spectrum}_{split}.txt"] = labelled_lines(chosen)
    return Plan(tuple(shots), lists, {})


NIR_CAMERAS = (1, 2, 4, 5, 6, 7, 8, 9)
_SPECTRA: tuple[tuple[Spectrum, str], ...] = (("visible", "vis"), ("nir", "nir"))


def plan_llcm(config: SyntheticConfig) -> Plan:
    """List the images and index files (``idx/{train,test}_{vis,nir}.txt``, ``idx/test_id.txt``) of an LLCM-like set.

    Zhang and Wang, "Diverse Embedding Expansion Network and Low-Light Cross-Modality Benchmark for Visible-Infrared
    Person Re-identification", CVPR 2023. ``vis/`` and ``nir/`` hold every image, named
    ``0351_c06_s200656_f4830_nir.jpg`` (identity, camera, time of day, frame); ``test_vis/cam<k>/`` and
    ``test_nir/cam<k>/`` hold those of the test identities a second time, by camera. Camera 3 has no near infrared.
    """
    identities = list(range(1, config.num_ids + 1))
    sizes: dict[Split, int] = {"train": config.train_ids, "val": config.val_ids, "test": config.test_ids}
    splits = share_out(identities, sizes, generator(config.seed, "synthetic/llcm/identities"))
    shots: list[Shot] = []
    for identity in identities:
        seen = _cameras_seeing(config, identity)
        for spectrum, short in _SPECTRA:
            for camera in seen[spectrum]:
                rng = generator(config.seed, "synthetic/llcm/count", identity, camera, spectrum)
                count = image_count(config.images_per_camera(spectrum), rng)
                names = _file_names(identity, camera, short, count, rng)
                for number, name in enumerate(names, start=1):
                    file = f"{identity:04d}/{name}"
                    again = (f"test_{short}/cam{camera}/{file}",) if splits[identity] == "test" else ()
                    shots.append(Shot(identity, spectrum, camera, number, f"{short}/{file}", splits[identity], again))
    lists = {"idx/test_id.txt": ",".join(str(i) for i in identities if splits[i] == "test") + "\n"}
    for spectrum, short in _SPECTRA:
        listed = [shot for shot in shots if shot.spectrum == spectrum]
        lists[f"idx/train_{short}.txt"] = labelled_lines([s for s in listed if s.split != "test"])
        lists[f"idx/test_{short}.txt"] = labelled_lines([s for s in listed if s.split == "test"])
    return Plan(tuple(shots), lists, {})


def _cameras_seeing(config: SyntheticConfig, identity: int) -> dict[str, list[int]]:
    """Cameras by spectrum: three to five that see the person at night or by day, at least two of them both.

    LLCM's protocol removes gallery images of the query's own identity and camera, so one shared camera would leave a
    query without a match.
    """
    rng = generator(config.seed, "synthetic/llcm/sightings", identity)
    cameras = rng.permutation(np.asarray(NIR_CAMERAS))[: rng.integers(3, 6)].tolist()
    by_day, by_night = list(cameras), list(cameras)
    for camera in cameras[2:]:
        fate = rng.random()
        if fate < 0.2:
            by_day.remove(camera)
        elif fate < 0.4:
            by_night.remove(camera)
    if rng.random() < 0.3:
        by_day.append(3)
    return {"visible": sorted(by_day), "nir": sorted(by_night)}


def _file_names(identity: int, camera: int, short: str, count: int, rng: np.random.Generator) -> list[str]:
    """File names of one identity in one camera, in order; day images before 18:00, night images after."""
    hour = int(rng.integers(8, 18)) if short == "vis" else int(rng.integers(18, 23))
    time = f"{hour:02d}{int(rng.integers(60)):02d}{int(rng.integers(60)):02d}"
    frames = sorted(rng.choice(9999, size=count, replace=False).tolist())
    return [f"{identity:04d}_c{camera:02d}_s{time}_f{frame:04d}_{short}.jpg" for frame in frames]
