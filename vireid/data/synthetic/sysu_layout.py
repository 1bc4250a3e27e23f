"""SYSU-MM01's layout: six cameras, official identity splits, and the evaluation permutations in a MATLAB file.

Wu et al., "RGB-Infrared Cross-Modality Person Re-Identification", ICCV 2017. Cameras 1, 2 (visible) and 3 (near
infrared) are indoors, 4, 5 (visible) and 6 (near infrared) outdoors. As there, identities are numbered with gaps,
not every identity is seen indoors or by every camera, and the number of images differs.
"""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.io import savemat

from vireid.core.seeding import generator
from vireid.data.synthetic.cameras import Spectrum
from vireid.data.synthetic.config import SyntheticConfig
from vireid.data.synthetic.shots import Plan, Shot, Split, image_count, share_out

SPECTRUM: dict[int, Spectrum] = {1: "visible", 2: "visible", 3: "nir", 4: "visible", 5: "visible", 6: "nir"}
NUM_TRIALS = 10
_INDOOR_SHARE = 0.65  # of the real test identities about 60 % are seen indoors and nearly all outdoors
_MISSED = 0.1  # chance that one of the two visible cameras of a place misses a person


def plan_sysu(config: SyntheticConfig) -> Plan:
    """List the images and index files (``exp/*.txt``, ``exp/rand_perm_cam.mat``) of a SYSU-like dataset."""
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
    cells: npt.NDArray[Any] = np.empty((len(SPECTRUM), 1), dtype=object)
    for camera in SPECTRUM:
        inner: npt.NDArray[Any] = np.empty((max_identity, 1), dtype=object)
        for identity in range(1, max_identity + 1):
            rng = generator(seed, "synthetic/sysu/rand_perm_cam", camera, identity)
            count = counts.get((camera, identity), 0)
            trials = np.stack([rng.permutation(count) + 1 for _ in range(NUM_TRIALS)])
            inner[identity - 1, 0] = trials.astype(np.uint16)
        cells[camera - 1, 0] = inner
    buffer = io.BytesIO()
    savemat(buffer, {"rand_perm_cam": cells}, do_compression=True)
    return _without_date(buffer.getvalue())


def _without_date(content: bytes) -> bytes:
    """Replace the 116-byte free text at the head of a MATLAB 5 file, which holds the time of writing."""
    return b"MATLAB 5.0 MAT-file, synthetic dataset".ljust(116) + content[116:]


def _comma_separated(identities: Any) -> str:
    return ",".join(str(identity) for identity in identities) + "\n"
