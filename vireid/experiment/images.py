"""The images of a configuration: found or rendered, indexed, and fingerprinted by their content."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from vireid.config import ExperimentConfig
from vireid.core.errors import UserError
from vireid.core.identity import run_id
from vireid.core.types import ImageIndex, Modality
from vireid.data import DATASETS
from vireid.data.captions import captions_digest, describe
from vireid.data.layout import Layout, fingerprint
from vireid.data.synthetic.dataset import write_dataset
from vireid.experiment.progress import ProgressCallback


class RootNotSetError(UserError):
    """Nothing says where the images lie; the remedy depends on the command."""


@dataclass(frozen=True, slots=True)
class PreparedData:
    """Indices of the training and evaluation images of a run, with content fingerprints."""

    layout: Layout
    train: ImageIndex
    evaluation: ImageIndex
    train_fingerprint: str
    evaluation_fingerprint: str
    rephrasings: tuple[str | None, ...] | None  # of the training captions, where the run reads captions
    dev: ImageIndex  # what learning curves are of; decides no result
    lists: dict[str, dict[str, str]] = field(default_factory=dict)  # part -> list -> its digest, once worked out


def prepare(
    config: ExperimentConfig, *, rendered: Path, cache: Path, workers: int, progress: ProgressCallback
) -> PreparedData:
    """Find (or render) the images of a configuration and index them; ``RunContext.data`` does so once.

    Args:
        config: of the run.
        rendered: directory under which synthetic images are rendered where ``data.root`` names none.
        cache: where digests of files are kept.
        workers: processes or threads for rendering and reading.
        progress: called while images are rendered.

    Raises:
        UserError: no root, a root that does not hold the dataset, missing or unreadable files.
    """
    root = _root(config, rendered, workers, progress)
    layout: Layout = DATASETS.load(config.data.dataset.name)(config.data.dataset, root)
    final = config.data.split == "test" and not config.data.hold_out_dev
    train = layout.training("final" if final else "fit")
    if config.data.training_modalities == "visible":
        train = train.select(train.modality == Modality.VISIBLE)
    evaluation = layout.evaluation(config.data.split)
    prints = [fingerprint(index, cache, workers=workers) for index in (train, evaluation)]
    rephrasings = None
    if (captions := config.data.captions) is not None:
        train, rephrasings = describe(train, captions)
        evaluation, _ = describe(evaluation, captions.model_copy(update={"rephrased": 0.0}))
        prints = [f"{text}-{captions_digest(train.root)}" for text in prints]
    dev = layout.evaluation("dev") if config.data.hold_out_dev and config.recipe.evaluate_every else evaluation
    return PreparedData(layout, train, evaluation, prints[0], prints[1], rephrasings, dev)


def _root(config: ExperimentConfig, rendered: Path, workers: int, progress: ProgressCallback) -> Path:
    data = config.data
    if data.synthetic is None:
        if data.root is None:
            raise RootNotSetError(
                f"data.root is not set: add data.root=/path/to/{data.dataset.name} (the unpacked dataset), "
                f"or use data={data.dataset.name}_synthetic"
            )
        return data.root
    root = data.root or rendered / f"{data.synthetic.layout}-{run_id(data.synthetic.specification())}"
    return write_dataset(root, data.synthetic, workers=workers, progress=partial(progress, "render images"))
