"""Imported models: weights of public implementations as models of the suite, kept, loaded again and run on arrays."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from vireid.core.config import Component
from vireid.core.errors import UserError
from vireid.core.files import file_digest
from vireid.core.types import Batch, Modality, Model
from vireid.evaluation.extraction import extract
from vireid.experiment.deploy.export import same_weights
from vireid.experiment.model_card import CARD, ModelCard, read_card
from vireid.external.features import ImageArray
from vireid.models import MODELS
from vireid.models.importers.layout import without_memory
from vireid.models.importers.load import Imported
from vireid.store import write_atomically
from vireid.training import WEIGHTS
from vireid.training.checkpoint import save_weights

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
    write_atomically(directory / CARD, card.model_dump_json(indent=2) + "\n")
    save_weights(imported.model, directory)


def load_imported(path: Path) -> Model:
    """Load a model that ``save_imported`` (``vireid import … --output DIR``) wrote, in evaluation mode on the CPU.

    Args:
        path: that directory, or one of the two files in it.

    Raises:
        UserError: a file is missing or unreadable, or the weights do not fit the configuration.
    """
    directory = path if path.is_dir() else path.parent
    card = read_card(directory)
    config: Component = card.model
    with without_memory():
        model = MODELS.load(config.name)(config, card.num_classes)
    weights = directory / WEIGHTS
    try:
        model.load_state_dict(load_file(weights), strict=True, assign=True)
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{weights}: missing, corrupt or not of the model in {CARD} ({reason}); import the checkpoint again"
        ) from error
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
