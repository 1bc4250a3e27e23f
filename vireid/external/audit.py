"""One model under every convention: all protocols of its dataset, raw and normalised, plain and re-ranked.

Two papers' numbers on one dataset may differ by ten points for reasons that are no part of either method. An audit puts
all readings of one model side by side: of a finished fit, or of weights that public code wrote.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from vireid.core.config import Component
from vireid.core.errors import UserError
from vireid.core.files import file_digest
from vireid.core.types import Batch, FloatArray, ImageIndex, Modality, Model
from vireid.data.cache import cached_images
from vireid.data.check import detect
from vireid.data.layout import Layout
from vireid.data.loader import EvaluationLoader
from vireid.data.synthetic.config import read_card
from vireid.evaluation.evaluate import EvaluationResult, evaluate
from vireid.evaluation.extraction import extract
from vireid.evaluation.protocols import PROTOCOLS, CmcConvention, KReciprocal, NoReranking, ProtocolConfig, Split
from vireid.experiment.context import RunContext
from vireid.experiment.deploy.export import same_weights
from vireid.experiment.fit import embeddings
from vireid.experiment.identity import MODEL_CARD, ModelCard, read_model_card
from vireid.experiment.progress import ProgressCallback, silent
from vireid.experiment.records import device_of
from vireid.experiment.reload import config_of_fit
from vireid.external.features import ImageArray, official_layout
from vireid.models import MODELS
from vireid.models.importers import IMPORTERS
from vireid.models.importers.load import Imported, build_masks, import_state, without_memory
from vireid.overrides import compose
from vireid.store import Store, write_atomically
from vireid.training import WEIGHTS
from vireid.training.checkpoint import save_weights

CMCS: tuple[CmcConvention, ...] = ("dedup", "plain")
RERANKINGS = (NoReranking(), KReciprocal(name="zhong"), KReciprocal(name="query-only"))

# What public code is known to report, by protocol, normalisation, re-ranking and CMC.
KNOWN: dict[tuple[str, bool, str, CmcConvention], str] = {
    ("sysu/seeded", True, "none", "dedup"): "code of AGW, CAJ, DEEN",
    ("sysu/official", True, "query-only", "dedup"): "code of IDKL",
    ("regdb/split1", False, "none", "dedup"): "code of IDKL, with CMC dedup",
    ("llcm/deen-released", True, "none", "dedup"): "code of DEEN",
    ("llcm/full", False, "none", "dedup"): "code of IDKL, before its re-ranking",
}


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of the model: a protocol with its choices, and the result by CMC convention.

    ``results`` is empty where the reading does not apply, and ``reason`` says why.
    """

    config: ProtocolConfig
    results: dict[CmcConvention, EvaluationResult]
    reason: str = ""

    @property
    def prescribed(self) -> bool:
        """Whether this is what the protocol itself prescribes."""
        return self.config.normalise == self.config.spec.normalise and self.config.reranking.name == "none"

    @property
    def known(self) -> str:
        """Whose public code reads so, or empty."""
        key = (self.config.name, self.config.normalise, self.config.reranking.name)
        return "; ".join(KNOWN[*key, cmc] for cmc in CMCS if (*key, cmc) in KNOWN)


def protocols_of(dataset: str, *, regdb_split: int = 1) -> list[ProtocolConfig]:
    """Every protocol of a dataset that public code evaluates, with every mode, direction and number of shots."""
    protocols = []
    for name, spec in PROTOCOLS.items():
        if name.partition("/")[0] != dataset or (name == "regdb/split1" and regdb_split != 1) or not spec.of_the_field:
            continue
        for mode, direction, shots in product(spec.cameras, spec.directions, spec.shots):
            protocols.append(ProtocolConfig(name=name, mode=mode, direction=direction, shots=shots))
    return protocols


def audit(
    features: FloatArray,
    index: ImageIndex,
    layout: Layout,
    *,
    split: Split = "test",
    progress: ProgressCallback = silent,
) -> list[Reading]:
    """Evaluate features (N×D, raw) of a dataset's evaluation images under every convention.

    Args:
        features: one row per image of ``index``, as the model gives them.
        index: the evaluation images of ``layout``.
        layout: the dataset.
        split: which identities they are.
        progress: called after every reading.

    Raises:
        UserError: features that are not finite, or a protocol that the images do not allow.
    """
    number = getattr(layout.config, "split", 1)
    protocols = protocols_of(layout.config.name, regdb_split=number)
    wanted = list(_variations(protocols))
    readings = []
    for done, config in enumerate(wanted):
        progress("audit", done, len(wanted), config.name)
        readings.append(_read(features, index, layout, config, split))
    progress("audit", len(wanted), len(wanted))
    return readings


def to_table(readings: Sequence[Reading]) -> pd.DataFrame:
    """One row per reading and CMC convention: the card's choices, metrics, their spread over trials and intervals."""
    rows: list[dict[str, Any]] = []
    for reading in readings:
        for cmc, result in reading.results.items():
            card = {key: value for key, value in result.card.items() if key != "reranking"}
            rows.append(
                {
                    **card,
                    "reranking": reading.config.reranking.name,
                    "prescribed": reading.prescribed and cmc == reading.config.spec.cmc[0],
                    "known_from": KNOWN.get(
                        (reading.config.name, reading.config.normalise, reading.config.reranking.name, cmc), ""
                    ),
                    **result.metrics,
                    **{f"{name}_sd_over_trials": value for name, value in result.spread.items()},
                    **{f"{name}_low": interval.low for name, interval in result.intervals.items()},
                    **{f"{name}_high": interval.high for name, interval in result.intervals.items()},
                }
            )
    return pd.DataFrame(rows)


def _variations(protocols: Sequence[ProtocolConfig]) -> Iterator[ProtocolConfig]:
    for protocol in protocols:
        native = protocol.spec.normalise
        for normalise, reranking in product((native, not native), RERANKINGS):
            yield protocol.model_copy(update={"normalise": normalise, "reranking": reranking})


def _read(features: FloatArray, index: ImageIndex, layout: Layout, config: ProtocolConfig, split: Split) -> Reading:
    listed = layout.test_list() if config.spec.listed and split == "test" else None
    permutations = layout.permutations()
    results: dict[CmcConvention, EvaluationResult] = {}
    try:
        for cmc in CMCS:  # beyond what the protocol offers: an audit shows what the other convention would give
            choice = config.model_copy(update={"cmc": cmc})
            results[cmc] = evaluate(features, index, choice, permutations, listed=listed, split=split, top_k=0)
    except UserError as error:
        if config.reranking.name == "none":
            raise
        return Reading(config, {}, str(error))  # too few images for its neighbours; the plain reading was possible
    return Reading(config, results)


@dataclass(frozen=True, slots=True)
class Audited:
    """Features of a dataset's evaluation images, with what a table must say of them."""

    title: str
    features: FloatArray
    index: ImageIndex
    layout: Layout
    split: Split
    synthetic: bool
    csv: Path  # where the audit's table goes by default


def features_of_run(id_: str, root: Path | None, store: Store, progress: ProgressCallback = silent) -> Audited:
    """Features of a fit of the suite, on the images that it is evaluated on.

    Raises:
        UserError: no such fit, or its images or weights are gone or changed.
    """
    record = store.find(id_)
    run = RunContext(config_of_fit(record, [], root, store), store, progress)
    return Audited(
        title=f"run {record.id}",
        features=embeddings(run),
        index=run.data.evaluation,
        layout=run.data.layout,
        split=run.config.data.split,
        synthetic=record.data_kind == "synthetic",
        csv=run.directory / "audit.csv",
    )


def run_at(path: Path) -> tuple[Store, str] | None:
    """The store and id of the run whose folder ``path`` is, or None where it is none."""
    if path.is_dir() and (path.parent / f"{path.resolve().name}.json").is_file() and path.parent.name == "runs":
        return Store(path.parent.parent), path.resolve().name
    return None


def features_of_checkpoint(
    path: Path,
    arch: str | None,
    root: Path,
    store: Store,
    *,
    dataset: str | None = None,
    split: Split = "test",
    regdb_split: int | None = None,
    height: int | None = None,
    width: int | None = None,
    progress: ProgressCallback = silent,
) -> Audited:
    """Features of published weights.

    Args:
        path: a state dict of public code (``arch`` says whose), or a folder that ``vireid import --output`` wrote.
        arch: name of an importer; None for such a folder.
        root: where the dataset lies.
        store: keeps the decoded images.
        dataset: its name; detected from the layout by default.
        split: test identities, or held-out training identities.
        regdb_split: which of RegDB's ten splits the weights were trained on; 1 by default.
        height: pixels; by default what the dataset's configuration says.
        width: pixels.
        progress: called while images are decoded.

    Raises:
        UserError: unreadable weights, or a root that does not hold the dataset.
    """
    name = dataset or detect(root)
    layout = official_layout(name, root, regdb_split)
    run = RunContext(compose([f"data={name}"]), store, progress)
    model, index = _model(path, arch), layout.evaluation(split)
    size = height or run.config.data.height, width or run.config.data.width
    report = partial(progress, "decode images")
    images = cached_images(index, *size, run.cache, workers=run.workers, progress=report)
    return Audited(
        title=path.name + (f" ({arch})" if arch else ""),
        features=extract(model, EvaluationLoader(images, index), device=device_of(run.config)),
        index=index,
        layout=layout,
        split=split,
        synthetic=read_card(root) is not None,
        csv=store.root / "audits" / f"{path.stem}-{name}-{split}.csv",
    )


def _model(path: Path, arch: str | None) -> Model:
    if path.is_dir():
        if arch is not None:
            raise UserError(f"--arch {arch}: {path} is an imported model and knows its own; leave the option out")
        return load_imported(path)
    if arch is None:
        raise UserError(
            f"checkpoint {path}: say whose code wrote it with --arch ({', '.join(IMPORTERS.names())}), or give the "
            "id of a run or a folder of `vireid import --output`"
        )
    model: Model = import_state(path, arch).model
    return model


_PIXELS_PER_BATCH = 16 * 384 * 144  # about 0.4 GB of activations


def save_imported(imported: Imported, source: Path, arch: str, directory: Path) -> None:
    """Write ``model.safetensors`` and ``model.json`` into ``directory``.

    Raises:
        UserError: the directory cannot be written.
    """
    card = ModelCard(
        arch=arch,
        model=imported.model.config,
        num_classes=imported.num_classes,
        source_file=source.name,
        source_sha256=file_digest(source),
        parameters=imported.parameters,
        dead=imported.dead,
    )
    write_atomically(directory / MODEL_CARD, card.model_dump_json(indent=2) + "\n")
    save_weights(imported.model, directory)


def load_imported(path: Path) -> Model:
    """Load a model that ``save_imported`` (``vireid import … --output DIR``) wrote, in evaluation mode on the CPU.

    Args:
        path: that directory, or one of the two files in it.

    Raises:
        UserError: a file is missing or unreadable, or the weights do not fit the configuration.
    """
    directory = path if path.is_dir() else path.parent
    card = read_model_card(directory)
    config: Component = card.model
    with without_memory():
        model = MODELS.load(config.name)(config, card.num_classes)
    weights = directory / WEIGHTS
    try:
        model.load_state_dict(load_file(weights), strict=True, assign=True)
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{weights}: missing, corrupt or not of the model in {MODEL_CARD} ({reason}); import the checkpoint again"
        ) from error
    build_masks(model)
    loaded: Model = model.eval()
    return loaded


def embed_file(model: Model, source: Path, target: Path) -> tuple[int, int]:
    """Embed the array ``images`` (N×3×H×W, normalised) of an ``.npz`` file into array ``embedding`` of another.

    A second array ``modality`` (N; 0 visible, 1 infrared) sends every image through its modality's path; it is needed
    where the model has one for each. The embedding (N×D, float32) is the feature that is ranked at test time, after its
    neck and *not* L2-normalised. Memory is bounded: images are read and run batch by batch, whatever their number.

    Returns:
        N and D.

    Raises:
        UserError: a missing, corrupt or unwritable file, images of another shape or with NaN, modalities missing where
            they matter or of another shape or value.
    """
    images = ImageArray(source)
    paths = {modality: model.deployable(modality) for modality in Modality}
    modalities = _modalities(source, images.shape[0])
    if modalities is None and not same_weights(*paths.values()):
        raise UserError(
            f"{source}: the model has a path for visible and one for infrared images; add an array 'modality' "
            f"({images.shape[0]} integers: 0 visible, 1 infrared)"
        )
    if not target.parent.is_dir():
        raise UserError(f"{target}: the folder {target.parent} does not exist; make it first")
    size = max(1, _PIXELS_PER_BATCH // (images.shape[2] * images.shape[3]))
    features = extract(paths, _batches(images, modalities, size))
    content = io.BytesIO()
    np.savez(content, embedding=features)
    write_atomically(target, content.getvalue())
    return features.shape[0], features.shape[1]


def _modalities(source: Path, count: int) -> torch.Tensor | None:
    with np.load(source, allow_pickle=False) as file:
        if "modality" not in file.files:
            return None
        values = file["modality"]
    if values.shape != (count,) or not np.isin(values, [int(modality) for modality in Modality]).all():
        raise UserError(
            f"{source}: array 'modality' has shape {values.shape} or other values than 0 (visible) and 1 (infrared); "
            f"expected one for each of the {count} images"
        )
    return torch.from_numpy(values.astype(np.int64))


def _batches(images: ImageArray, modalities: torch.Tensor | None, size: int) -> Iterator[Batch]:
    if modalities is None:
        modalities = torch.full((images.shape[0],), int(Modality.VISIBLE))
    for start, array in zip(range(0, len(modalities), size), images.batches(size), strict=True):
        none = torch.zeros(len(array), dtype=torch.long)
        yield Batch(torch.tensor(array), none, modalities[start : start + size], none, none)
