"""Features of images through the deployed graph of each modality."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from vireid.core.errors import UserError
from vireid.core.float32 import exact_float32
from vireid.core.processor import emulated
from vireid.core.types import Batch, FloatArray, Modality

Precision = Literal["fp32", "bf16", "fp16"]
Embedder = Callable[[Tensor], Tensor]  # images (B×3×H×W) -> embedding (B×D)

_AUTOCAST: Mapping[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Deployable(Protocol):
    """The part of the model contract that extraction needs."""

    def deployable(self, modality: Modality) -> nn.Module:
        """Smallest module ``images -> embedding`` for a modality."""
        ...


def extract(
    model: Deployable | Mapping[Modality, Embedder],
    batches: Iterable[Batch],
    *,
    device: torch.device | str = "cpu",
    precision: Precision = "fp32",
    emulate: bool = False,
) -> FloatArray:
    """Return the features (N×D, float32) of all images, rows in the order of the batches.

    Every image goes through the graph that would be deployed for its modality, so what is measured is what would run.
    Modules are put in evaluation mode and left as they were found.

    Args:
        model: a model, or an embedding function per modality.
        batches: batches of one or both modalities.
        device: where to compute.
        precision: ``bf16`` and ``fp16`` run under autocast; features come back in float32.
        emulate: compute in ``precision`` on a processor without instructions for it too.

    Raises:
        UserError: a precision that would be emulated, no batch, a modality without an embedding function, or a feature
            that is not finite.
    """
    embedders = dict(model) if isinstance(model, Mapping) else {m: model.deployable(m) for m in Modality}
    target = torch.device(device)
    if target.type == "cpu" and not emulate and (reason := emulated(precision)) is not None:
        raise UserError(f"extraction with precision={precision}: {reason}: use precision=fp32, or emulate=True")
    blocks: list[Tensor] = []
    start = 0
    with (
        _evaluating([e for e in embedders.values() if isinstance(e, nn.Module)], target),
        torch.inference_mode(),
        exact_float32(target),
        torch.autocast(target.type, dtype=_AUTOCAST.get(precision), enabled=precision in _AUTOCAST),
    ):
        for batch in batches:
            features = _embed(embedders, batch.to(target)).cpu()
            finite = torch.isfinite(features).all(dim=1)
            if not bool(finite.all()):
                row = start + int((~finite).nonzero()[0])
                raise UserError(
                    f"feature of image {row} (from 0, in loading order) is not finite at precision {precision}; "
                    "check the checkpoint's weights or extract with precision=fp32"
                )
            blocks.append(features)
            start += len(batch)
    if not blocks:
        raise UserError("there are no images to extract features from; check the split and the data root")
    return np.asarray(torch.cat(blocks).numpy())


def _embed(embedders: Mapping[Modality, Embedder], batch: Batch) -> Tensor:
    """Features of one batch, each row by its modality's function."""
    present = sorted({Modality(value) for value in batch.modality.tolist()})
    missing = [modality.name.lower() for modality in present if modality not in embedders]
    if missing:
        raise UserError(f"a batch holds {missing[0]} images, but no embedding function for that modality was given")
    if len(present) == 1:
        return embedders[present[0]](batch.images).float()
    rows = [(batch.modality == int(modality)).nonzero()[:, 0] for modality in present]
    blocks = [embedders[modality](batch.images[at]).float() for modality, at in zip(present, rows, strict=True)]
    features = blocks[0].new_empty(len(batch), blocks[0].shape[1])
    for at, part in zip(rows, blocks, strict=True):
        features[at] = part
    return features


@contextmanager
def _evaluating(modules: list[nn.Module], device: torch.device) -> Iterator[None]:
    """Hold modules in evaluation mode on ``device``; training flags come back, as they may be shared with a trainer."""
    flags = [(part, part.training) for module in modules for part in module.modules()]
    try:
        for module in modules:
            module.to(device).eval()
        yield
    finally:
        for part, training in flags:
            part.training = training
