"""Grad-CAM (Selvaraju et al., ICCV 2017) for a retrieval network, as the package ``grad-cam`` computes it.

A retrieval network has no class whose score could be followed back. What is followed is the cosine similarity of an
image's embedding to that of the image it is matched with, which is held fixed.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vireid.core.errors import UserError, optional_module
from vireid.core.types import FloatArray

METHOD = "Grad-CAM of the cosine similarity to the embedding of the matched image"


class SimilarityTo:
    """Target of one image: the cosine similarity of its embedding (D) to that of its match, which stays fixed."""

    def __init__(self, match: Tensor) -> None:
        self.match = match.detach()

    def __call__(self, embedding: Tensor) -> Tensor:
        """The similarity, to be followed back."""
        return torch.nn.functional.cosine_similarity(embedding, self.match, dim=-1)


def last_map(embedder: nn.Module, images: Tensor) -> tuple[str, nn.Module]:
    """The last module whose output is a map with a row per image and several positions: what pooling reads.

    Args:
        embedder: images (B×3×H×W) to embeddings, in evaluation mode.
        images: a batch of at least one.

    Raises:
        UserError: no module gives such a map.
    """
    found: list[tuple[str, nn.Module]] = []
    handles = []

    def keep(name: str, part: nn.Module) -> Any:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            is_map = isinstance(output, Tensor) and output.ndim == 4 and len(output) == len(images)
            if is_map and output.shape[2] * output.shape[3] > 1:
                found.append((name, part))

        return hook

    for name, part in embedder.named_modules():
        if name:
            handles.append(part.register_forward_hook(keep(name, part)))
    try:
        with torch.no_grad():
            embedder(images)
    finally:
        for handle in handles:
            handle.remove()
    if not found:
        raise UserError("no module of the network gives a map with positions, which Grad-CAM reads")
    return found[-1]


def similarity_maps(embedder: nn.Module, layer: nn.Module, images: Tensor, matches: Tensor) -> FloatArray:
    """One map per image (B×H×W, each scaled to 0…1): where its similarity to its match comes from.

    Args:
        embedder: images to embeddings (B×D), in evaluation mode.
        layer: whose output is weighted by the gradient's mean over positions.
        images: B×3×H×W, normalised.
        matches: B×D, embeddings of the matched images.

    Raises:
        UserError: the package is not installed.
    """
    package = optional_module("pytorch_grad_cam", "explain")
    targets: Sequence[SimilarityTo] = [SimilarityTo(match) for match in matches]
    with package.GradCAM(model=embedder, target_layers=[layer]) as cam:
        maps: FloatArray = cam(input_tensor=images, targets=targets)
    return maps


def without(images: Tensor, maps: Tensor, share: float, *, hottest: bool) -> Tensor:
    """Images whose hottest (or coldest) pixels are hidden behind the mean colour, which is 0 after normalisation.

    Args:
        images: B×3×H×W.
        maps: B×H×W.
        share: of the pixels.
        hottest: which end of the map.
    """
    count = round(share * maps[0].numel())
    chosen = maps.flatten(1).topk(count, dim=1, largest=hottest).indices
    kept = torch.ones_like(maps.flatten(1)).scatter(1, chosen, 0.0)
    return images * kept.reshape(maps.shape)[:, None].to(images.dtype)
