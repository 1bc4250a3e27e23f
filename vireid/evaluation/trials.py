"""Which images are queries and which are gallery in each trial of a protocol."""

import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from vireid.core.errors import UserError
from vireid.core.types import BoolArray, ImageIndex, IntArray, Modality
from vireid.evaluation.protocols import ProtocolConfig

# (camera, identity) -> trials × n image numbers, 1-based, as rand_perm_cam.mat of SYSU-MM01 holds them
Permutations = Mapping[tuple[int, int], IntArray]


@dataclass(frozen=True, slots=True)
class Trial:
    """Rows of the image index that are queries, and those that are gallery, in ranking order for ties."""

    query: IntArray
    gallery: IntArray


def plan_trials(
    config: ProtocolConfig,
    index: ImageIndex,
    permutations: Permutations | None = None,
    listed: Collection[str] | None = None,
) -> list[Trial]:
    """Return the trials of a protocol on the images of ``index`` (of any split).

    Gallery rows come by ascending identity, then camera, of both modalities the visible ones first; query rows in index
    order. Where a protocol swaps the sides (``llcm/deen-released``), this holds for the sides as the direction names
    them.

    Args:
        config: the protocol.
        index: all images of the split, both modalities.
        permutations: for protocols whose ``sampling`` they are, such as ``sysu/official``.
        listed: file names that the data set's test lists name, for ``llcm/full``; None where all images count.

    Raises:
        UserError: no query or no gallery image; a permutation that is missing, too short or names an absent image; a
            listed image that is absent.
    """
    kept = np.ones(len(index), dtype=np.bool_)
    if config.spec.listed and listed is not None:
        kept = _in_lists(config, index, listed)
    query = np.flatnonzero(kept & (index.modality == int(config.query_modality)))
    _require_images(config, index, query, "query", config.query_modality)
    halves = [_galleries(config, index, kept, modality, permutations) for modality in config.gallery_modalities]
    galleries = [np.concatenate(parts) for parts in zip(*halves, strict=True)]
    return [Trial(gallery, query) if config.swapped else Trial(query, gallery) for gallery in galleries]


def _galleries(
    config: ProtocolConfig, index: ImageIndex, kept: BoolArray, modality: Modality, permutations: Permutations | None
) -> list[IntArray]:
    """The gallery images of one modality in each trial."""
    inside = kept & (index.modality == int(modality))
    cameras = config.gallery_cameras(modality)
    if cameras is not None:
        inside &= np.isin(index.camera, cameras)
    among = "" if cameras is None else f" from cameras {', '.join(map(str, cameras))}"
    _require_images(config, index, np.flatnonzero(inside), "gallery", modality, among)
    groups = _group(index, np.flatnonzero(inside))
    if config.spec.sampling == "permutation":
        return _by_permutation(config, index, groups, permutations, cameras or ())
    if config.spec.sampling == "seeded":
        return [_by_seed(trial, groups) for trial in range(config.trials)]
    return [np.concatenate(list(groups.values()))] * config.trials


def _require_images(
    config: ProtocolConfig, index: ImageIndex, rows: IntArray, role: str, modality: Modality, among: str = ""
) -> None:
    if len(rows) == 0:
        raise UserError(
            f"{config.name} ({config.mode}, {config.direction}): {index.root} has no {modality.name.lower()} "
            f"image{among} for the {role}; check the data root, the split and the protocol's mode"
        )


def _in_lists(config: ProtocolConfig, index: ImageIndex, listed: Collection[str]) -> BoolArray:
    names = [path.rpartition("/")[2] for path in index.paths]
    absent = set(listed).difference(names)
    if absent:
        raise UserError(
            f"{config.name}: the test lists name {len(absent)} images that {index.root} does not hold, such as "
            f"{min(absent)}; complete the data set"
        )
    wanted = set(listed)
    return np.array([name in wanted for name in names], dtype=np.bool_)


def _group(index: ImageIndex, rows: IntArray) -> dict[tuple[int, int], IntArray]:
    """Rows of every (identity, camera), ascending, each group's rows by path."""
    by_path = np.array(sorted(rows.tolist(), key=lambda row: index.paths[row]), dtype=np.int64)
    identity, camera = index.identity[by_path], index.camera[by_path]
    order = np.lexsort((camera, identity))  # stable: paths stay in order within a group
    rows, identity, camera = by_path[order], identity[order], camera[order]
    cuts = np.flatnonzero((np.diff(identity) != 0) | (np.diff(camera) != 0)) + 1
    return {(int(index.identity[group[0]]), int(index.camera[group[0]])): group for group in np.split(rows, cuts)}


def _by_seed(trial: int, groups: Mapping[tuple[int, int], IntArray]) -> IntArray:
    # The protocol prescribes Python's generator seeded with the trial number and one choice per existing folder, so
    # that the images are those which AGW, CAJ and DEEN draw.
    draw = random.Random(trial)
    return np.array([draw.choice(rows.tolist()) for rows in groups.values()], dtype=np.int64)


def _by_permutation(
    config: ProtocolConfig,
    index: ImageIndex,
    groups: Mapping[tuple[int, int], IntArray],
    permutations: Permutations | None,
    cameras: Collection[int],
) -> list[IntArray]:
    if permutations is None:
        raise UserError(
            f"{config.name} needs the data set's permutations (exp/rand_perm_cam.mat under {index.root}); "
            "put the file there or evaluate with sysu/seeded"
        )
    _require_folders(cameras, index, groups, permutations)
    shots = config.shots or 1
    chosen: list[list[IntArray]] = [[] for _ in range(config.trials)]
    for (identity, camera), rows in groups.items():
        where = f"rand_perm_cam of camera {camera}, identity {identity}"
        permutation = permutations.get((camera, identity))
        if permutation is None or permutation.size == 0:
            raise UserError(
                f"{where} is missing or empty, but {index.root} holds {len(rows)} such images; "
                "use the file that belongs to these images"
            )
        if permutation.ndim != 2 or len(permutation) < config.trials:
            raise UserError(
                f"{where} has shape {permutation.shape}; {config.trials} trials need at least that many rows"
            )
        numbers = index.number[rows]
        by_number = np.argsort(numbers, kind="stable")
        wanted = permutation[: config.trials, :shots]
        at = np.minimum(np.searchsorted(numbers[by_number], wanted), len(rows) - 1)
        rows_named = by_number[at]
        absent = np.argwhere(numbers[rows_named] != wanted)
        if len(absent):
            number = int(wanted[tuple(absent[0])])
            raise UserError(
                f"{where} names image {number:04d} in trial {int(absent[0][0])}, which {index.root} does not hold "
                f"(expected cam{camera}/{identity:04d}/{number:04d}.jpg)"
            )
        for trial in range(config.trials):
            chosen[trial].append(rows[rows_named[trial]])
    return [np.concatenate(drawn) for drawn in chosen]


def _require_folders(
    cameras: Collection[int],
    index: ImageIndex,
    groups: Mapping[tuple[int, int], IntArray],
    permutations: Permutations,
) -> None:
    """Refuse a gallery that would shrink in silence because a folder was not copied."""
    for identity in np.unique(index.identity).tolist():
        for camera in cameras:
            permutation = permutations.get((camera, identity))
            if permutation is not None and permutation.size and (identity, camera) not in groups:
                raise UserError(
                    f"rand_perm_cam lists {permutation.shape[-1]} images of camera {camera}, identity {identity}, but "
                    f"{index.root}/cam{camera}/{identity:04d} has none; complete the data set"
                )
