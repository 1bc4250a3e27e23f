"""The images of a run: prepared, listed for its protocols, loaded, and whether a record still rests on them.

List files (gallery permutations, test lists) are taken by what is read, not by their bytes: line ends and blank lines
decide nothing, and a user's own layout is covered.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import numpy as np

from vireid.config import ExperimentConfig
from vireid.core.config import canonical_json
from vireid.core.errors import UserError
from vireid.core.records import EvaluationRecord, FitRecord
from vireid.core.seeding import generator
from vireid.core.types import Batch, ByteArray, ImageIndex, IntArray, Modality
from vireid.data import AUGMENTATIONS
from vireid.data.cache import cached_images
from vireid.data.captions import CaptionDraw
from vireid.data.corruptions.images import CorruptionDraw, corrupted_images
from vireid.data.layout import EvaluationPart, Layout
from vireid.data.loader import CROSS_MODAL, EvaluationLoader, IdentitySampler, TrainingLoader
from vireid.data.shares import WHOLE, Share, shared
from vireid.evaluation.protocols import ProtocolConfig, ProtocolSpec
from vireid.evaluation.test_time import ModelProtocol
from vireid.evaluation.trials import Trial, plan_trials
from vireid.experiment.context import RunContext
from vireid.experiment.images import PreparedData
from vireid.experiment.records import device_of, fit_fields
from vireid.weighting import CURRICULA
from vireid.weighting.curriculum import Curriculum


def data_step(run: RunContext) -> PreparedData:
    """Bring a configuration's images: render them where they are synthetic and absent, and decode all once.

    So that none is found broken when training has ended.

    Raises:
        UserError: as ``prepare``; an image cannot be decoded, or the cache has no room.
    """
    for index in (run.data.train, run.data.evaluation, run.data.dev):
        _decoded(run, index)
    return run.data


def listed_images(run: RunContext, protocol: ProtocolConfig) -> frozenset[str] | None:
    """The test lists, where a protocol asks for them; development images all come from lists."""
    return run.data.layout.test_list() if protocol.spec.listed and run.config.data.split == "test" else None


def trials_of(run: RunContext, protocol: ProtocolConfig) -> list[Trial]:
    """Queries and galleries of a protocol.

    Raises:
        UserError: gallery permutations or test lists are missing or name absent images, or nobody is left to rank.
    """
    return plan_trials(protocol, run.data.evaluation, run.data.layout.permutations(), listed_images(run, protocol))


def training_loader(run: RunContext, share: Share = WHOLE) -> "TrainingLoader | RedrawnLabels":
    """Batches of the training images, decoded on first use; of several processes, one's share of each."""
    train, seed = run.data.train, run.config.training_seed
    match run.config.data.shuffle_identities:
        case "every_epoch":
            return RedrawnLabels(lambda epoch: shared(_loader(run, _shuffled(train, seed, epoch)), share))
        case True:
            return shared(_loader(run, _shuffled(train, seed)), share)
        case _:
            return shared(_loader(run, train), share)


class RedrawnLabels:
    """Training batches whose labels are permuted anew in every epoch: nothing about an image can be learnt by heart.

    Args:
        loader_of: the loader of an epoch, with that epoch's labels.
    """

    def __init__(self, loader_of: Callable[[int], TrainingLoader]) -> None:
        self._loader_of = lru_cache(maxsize=1)(loader_of)
        first = loader_of(0)
        self.num_classes, self.steps_per_epoch = first.num_classes, first.steps_per_epoch

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """Iterate over the batches of an epoch from ``first_step`` on."""
        return self._loader_of(epoch).epoch(epoch, first_step)


def _loader(run: RunContext, index: ImageIndex) -> TrainingLoader:
    config, data = run.config, run.data
    sampler = IdentitySampler(
        index.identity,
        index.modality,
        batch_size=config.recipe.batch_size,
        identities=config.recipe.identities,
        seed=config.training_seed,
        steps_per_epoch=config.recipe.steps_per_epoch,
        modalities=CROSS_MODAL if config.data.training_modalities == "both" else (Modality.VISIBLE,),
    )
    return TrainingLoader(
        _decoded(run, data.train),
        index,
        sampler,
        AUGMENTATIONS.load(config.augmentation.name)(config.augmentation),
        seed=config.training_seed,
        workers=_batches_ahead(config),
        strength=build_curriculum(config).strength,
        captions=_caption_draw(config, data),
    )


def _caption_draw(config: ExperimentConfig, data: PreparedData) -> CaptionDraw | None:
    settings, captions = config.data.captions, data.train.captions
    if settings is None or captions is None or data.rephrasings is None:
        return None
    return CaptionDraw(captions, data.rephrasings, settings.rephrased, config.training_seed)


def build_curriculum(config: ExperimentConfig) -> Curriculum:
    """What rises in the course of training, over the recipe's epochs."""
    curriculum: Curriculum = CURRICULA.load(config.curriculum.name)(config.curriculum, config.recipe.total_epochs)
    return curriculum


def evaluation_loader(run: RunContext, index: ImageIndex | None = None) -> EvaluationLoader:
    """All evaluation images, or those of ``index``, in the order of their index."""
    index = run.data.evaluation if index is None else index
    return EvaluationLoader(_decoded(run, index), index, workers=_batches_ahead(run.config))


def corrupted_loader(run: RunContext, protocol: ModelProtocol, rows: IntArray) -> tuple[EvaluationLoader, str]:
    """The evaluation images at ``rows``, corrupted as the protocol has it, and the digest of their pixels."""
    corruption, size, index = protocol.corruption, run.config.data, run.data.evaluation.select(rows)
    assert corruption is not None
    draw = CorruptionDraw(corruption.seed, corruption.kind, corruption.severity)
    report = partial(run.progress, "corrupt images")
    made = corrupted_images(index, draw, size.height, size.width, run.cache, workers=run.workers, progress=report)
    return EvaluationLoader(made.array, index, workers=_batches_ahead(run.config)), made.digest


def _batches_ahead(config: ExperimentConfig) -> int:
    """Threads that prepare batches while the model computes.

    None on a CPU: every thread that calls torch brings an OpenMP pool of its own, which there competes with the model's
    (measured on two cores: a step of 120 ms becomes one of 175 ms, while preparing a batch takes 4 ms).
    """
    return 0 if device_of(config).type == "cpu" else 2


def _decoded(run: RunContext, index: ImageIndex) -> ByteArray:
    size, report = run.config.data, partial(run.progress, "decode images")
    return cached_images(index, size.height, size.width, run.cache, workers=run.workers, progress=report)


def _shuffled(index: ImageIndex, seed: int, epoch: int | None = None) -> ImageIndex:
    """Permute identities among the images of each modality, for good or for one epoch: an identity keeps its counts."""
    identity = index.identity.copy()
    drawn = () if epoch is None else (epoch,)
    for modality in Modality:
        rows = np.flatnonzero(index.modality == modality)
        identity[rows] = identity[generator(seed, "shuffle identities", int(modality), *drawn).permutation(rows)]
    return replace(index, identity=identity)


LABELS, PERMUTATIONS, TEST_LISTS = "labels", "gallery permutations", "test lists"
Lists = dict[str, str]  # what -> digest


def check_same_images(record: FitRecord, data: PreparedData) -> None:
    """Refuse to reuse a fit whose training images or labels have changed on disk since.

    Raises:
        UserError: they have.
    """
    if record.data["fingerprint"] != data.train_fingerprint:
        raise UserError(
            f"run {record.id} was trained on other images than those under {data.train.root} now (fingerprint "
            f"{record.data['fingerprint']}, now {data.train_fingerprint}); restore the data or use another --store"
        )
    check_lists(record.id, record.data.get("lists", {}), data.layout, data.train, data.lists.setdefault("train", {}))


def check_same_evaluation_images(record: EvaluationRecord, data: PreparedData) -> None:
    """Refuse to reuse an evaluation whose images, labels or protocol lists have changed on disk since.

    Raises:
        UserError: they have.
    """
    if record.fingerprint != data.evaluation_fingerprint:
        raise UserError(
            f"run {record.id} evaluated other images than those under {data.evaluation.root} now (fingerprint "
            f"{record.fingerprint}, now {data.evaluation_fingerprint}); restore the data or use another --store"
        )
    known = data.lists.setdefault("evaluation", {})
    check_lists(record.id, record.lists, data.layout, data.evaluation, known)


def finished_fields(run: RunContext, started: str, identities: int) -> dict[str, Any]:
    """Fields of a finished fit's record: those of every attempt, and what its images are."""
    fields, data = fit_fields(run, started), run.data
    fields["data"] = {
        "name": run.config.data.dataset.name,
        **fields["data"],
        "fingerprint": data.train_fingerprint,
        "lists": training_lists(data.train),
        "images": len(data.train),
        "identities": identities,
    }
    return fields


def training_lists(index: ImageIndex) -> Lists:
    """Digest of the labels of the training images."""
    return {LABELS: _labels(index)}


def evaluation_lists(layout: Layout, index: ImageIndex, spec: ProtocolSpec, part: EvaluationPart) -> Lists:
    """Digests of what the evaluation of ``index`` rests on under a protocol."""
    names = [LABELS]
    names += [PERMUTATIONS] if spec.sampling == "permutation" else []
    names += [TEST_LISTS] if spec.listed and part == "test" else []
    return {name: _digest(name, layout, index) for name in names}


def check_lists(
    run: str, recorded: Mapping[str, str], layout: Layout, index: ImageIndex, known: Lists | None = None
) -> None:
    """Refuse to reuse a record whose lists have changed since; records older than this say nothing of theirs.

    Args:
        run: id of the record.
        recorded: its digests.
        layout: of the images now.
        index: the images that the record rests on, now.
        known: digests that were worked out before for the same images; takes in new ones.

    Raises:
        UserError: they have.
    """
    known = {} if known is None else known
    for name, digest in recorded.items():
        if name not in known:
            known[name] = _digest(name, layout, index)
        if (now := known[name]) != digest:
            folders = [f"{folder}/" for folder in ("exp", "idx") if (index.root / folder).is_dir()]
            raise UserError(
                f"run {run} rests on other {name} than those under {index.root} now (digest {digest}, now {now}); "
                f"restore the dataset's list files ({' or '.join(folders) or 'beside the images'}) or use another "
                "--store"
            )


def _digest(name: str, layout: Layout, index: ImageIndex) -> str:
    if name == LABELS:
        return _labels(index)
    if name == TEST_LISTS:
        return _short(canonical_json(sorted(layout.test_list() or ())))
    permutations = layout.permutations() or {}
    return _short(canonical_json([[*key, permutations[key].tolist()] for key in sorted(permutations)]))


def _labels(index: ImageIndex) -> str:
    columns = (index.identity, index.modality, index.camera, index.number)
    rows = sorted(zip(index.paths, *(column.tolist() for column in columns), strict=True))
    return _short(canonical_json(rows))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
