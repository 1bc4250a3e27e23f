"""The interface that models use: captions to features, whichever library the tower comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from vireid.models.text.tokens import tokenize
from vireid.models.text.towers import open_clip_tower, transformers_tower

Library = Literal["open_clip", "transformers"]


@dataclass(frozen=True, slots=True)
class TowerShape:
    """A CLIP text tower (Radford et al., ICML 2021); the defaults are those of the RN50 model."""

    library: Library = "open_clip"
    width: int = 512
    layers: int = 12
    heads: int = 8
    context: int = 77  # tokens, start and end among them


class TextEncoder(nn.Module):
    """Captions to features, the state at the end-of-text token projected to ``features`` values.

    Args:
        shape: of the tower.
        features: width of the result; a pretrained projection of another width is resized linearly (TVI-LFM).
        weights: pretrained tower: for open_clip a ``.safetensors`` or ``.pt`` state dict or the name of a hub
            repository (``timm/resnet50_clip.openai``), for transformers a folder or hub name of a CLIP model. Random
            weights where None.
    """

    def __init__(self, shape: TowerShape, features: int, weights: Path | None = None) -> None:
        super().__init__()
        self.context = shape.context
        build = open_clip_tower if shape.library == "open_clip" else transformers_tower
        self.tower = build(shape.width, shape.layers, shape.heads, shape.context, features, weights)

    def forward(self, captions: Sequence[str]) -> Tensor:
        """N captions → N×features."""
        place = next(self.parameters()).device
        features: Tensor = self.tower(tokenize(captions, self.context).to(place))
        return features
