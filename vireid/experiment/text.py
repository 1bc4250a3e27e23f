"""Features of infrared queries with text: the description that a protocol allows, through the model that reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from vireid.config import ExperimentConfig
from vireid.core.seeding import generator
from vireid.core.types import FloatArray, ImageIndex, Modality
from vireid.data.captions import read_captions
from vireid.data.loader import EvaluationLoader
from vireid.evaluation.protocols import ProtocolConfig
from vireid.evaluation.scorers import modality_ensemble
from vireid.experiment.device import device_of


def with_text(
    features: FloatArray,
    model: Any,
    loader: EvaluationLoader,
    protocol: ProtocolConfig,
    config: ExperimentConfig,
) -> FloatArray:
    """``features`` of the loader's images, those of infrared ones replaced by what text makes of them.

    Args:
        features: N×D, of the images alone.
        model: one that has ``describe``, as TVI-LFM does.
        loader: the evaluation images, whose index holds every image's own caption.
        protocol: one with text.
        config: says how the model joins a query's features.

    Raises:
        UserError: captions that the protocol needs are missing, or a model without text.
    """
    index = loader.index
    descriptions, own = texts(index, protocol), index.captions or ("",) * len(index)
    result, device, start = np.array(features), device_of(config), 0
    cast(nn.Module, model).to(device).eval()
    with torch.inference_mode():
        for batch in loader:
            rows = (start + np.flatnonzero(batch.infrared.numpy())).tolist()
            start += len(batch)
            if not rows:
                continue
            images = batch.images[batch.infrared].to(device)
            views = model.describe(images, [descriptions[row] for row in rows], [own[row] for row in rows])
            joined = modality_ensemble(views.values()) if config.model.retrieval == "ensemble" else views["fused"]
            result[rows] = joined.float().cpu().numpy()
    return result


def texts(index: ImageIndex, protocol: ProtocolConfig) -> Sequence[str]:
    """A description of every infrared image of ``index`` under a protocol with text; empty for the others.

    ``query``: the image's caption in the protocol's folder. ``oracle``: a caption of one of the visible images of its
    true identity, drawn by the query's path, so that a query has the same text in every trial.

    Raises:
        UserError: captions are missing.
    """
    assert protocol.captions is not None
    descriptions = [""] * len(index)
    queries = np.flatnonzero(index.modality == Modality.INFRARED)
    if protocol.text == "query":
        own = read_captions(index.root, protocol.captions, [index.paths[row] for row in queries]).descriptions
        for row, caption in zip(queries.tolist(), own, strict=True):
            descriptions[row] = caption
        return descriptions
    visible = np.flatnonzero(index.modality == Modality.VISIBLE)
    captions = read_captions(index.root, protocol.captions, [index.paths[row] for row in visible]).descriptions
    of_identity: dict[int, list[str]] = {}
    for row, caption in zip(visible.tolist(), captions, strict=True):
        of_identity.setdefault(int(index.identity[row]), []).append(caption)
    for row in queries.tolist():
        choices = of_identity.get(int(index.identity[row]), ["a person"])
        descriptions[row] = choices[int(generator("oracle caption", index.paths[row]).integers(len(choices)))]
    return descriptions
