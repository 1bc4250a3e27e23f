"""Features to audit: of a finished fit, or of weights that public code wrote."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vireid.config import compose
from vireid.core.config import parse
from vireid.core.errors import UserError
from vireid.core.types import FloatArray, ImageIndex, Model
from vireid.data import DATASETS
from vireid.data.cache import cached_images
from vireid.data.check import detect
from vireid.data.layout import Layout
from vireid.data.loader import EvaluationLoader
from vireid.data.synthetic.card import read_card
from vireid.evaluation.extraction import extract
from vireid.evaluation.protocols import Split
from vireid.experiment.data import cache_directory, prepare, workers
from vireid.experiment.device import device_of
from vireid.experiment.evaluate import embeddings
from vireid.experiment.progress import ProgressCallback, silent
from vireid.experiment.reload import config_of_fit
from vireid.external.checkpoints import load_imported
from vireid.models.importers import IMPORTERS
from vireid.models.importers.load import import_state
from vireid.store import Store


@dataclass(frozen=True, slots=True)
class Audited:
    """Features of a dataset's evaluation images, with what a table must say of them."""

    title: str
    features: FloatArray
    index: ImageIndex
    layout: Layout
    split: Split
    synthetic: bool
    csv: Path  # where the audit's table goes unless told otherwise


def features_of_run(run: str, root: Path | None, store: Store, progress: ProgressCallback = silent) -> Audited:
    """Features of a fit of the suite, on the images that it is evaluated on.

    Raises:
        UserError: no such fit, or its images or weights are gone or changed.
    """
    record = store.find(run)
    config = config_of_fit(record, [], root, store)
    data = prepare(config, store, progress)
    return Audited(
        title=f"run {record.id}",
        features=embeddings(config, store, data, progress),
        index=data.evaluation,
        layout=data.layout,
        split=config.data.split,
        synthetic=record.data_kind == "synthetic",
        csv=store.directory(record.id) / "audit.csv",
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
        dataset: its name; found from the layout by default.
        split: test identities, or held-out training identities.
        regdb_split: which of RegDB's ten splits the weights were trained on; 1 by default.
        height: pixels; by default what the dataset's configuration says.
        width: pixels.
        progress: called while images are decoded.

    Raises:
        UserError: unreadable weights, or a root that does not hold the dataset.
    """
    name = dataset or detect(root)
    if regdb_split is not None and name != "regdb":
        raise UserError(f"--regdb-split {regdb_split}: {name} has one official split; leave the option out")
    config = compose([f"data={name}"])
    layout_class = DATASETS.load(name)
    settings = {"name": name} | ({} if regdb_split is None else {"split": regdb_split})
    layout: Layout = layout_class(parse(layout_class.Config, settings, "--regdb-split"), root)
    model = _model(path, arch)
    index = layout.evaluation(split)
    images = cached_images(
        index,
        height or config.data.height,
        width or config.data.width,
        cache_directory(store),
        workers=workers(config),
        progress=partial(progress, "decode images"),
    )
    return Audited(
        title=path.name + (f" ({arch})" if arch else ""),
        features=extract(model, EvaluationLoader(images, index), device=device_of(config)),
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
