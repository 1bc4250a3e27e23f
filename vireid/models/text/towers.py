"""CLIP text towers of open_clip and transformers as modules of the same behaviour: tokens N×L → N×D."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vireid.core.errors import UserError
from vireid.models.text.extra import text_library
from vireid.models.text.tokens import VOCABULARY
from vireid.models.text.weights import open_clip_state

MLP = 4  # width of a block's inner layer ÷ width


class OpenClipTower(nn.Module):
    """Around ``open_clip.transformer.TextTransformer``."""

    def __init__(self, text: nn.Module) -> None:
        super().__init__()
        self.text: Any = text

    def forward(self, tokens: Tensor) -> Tensor:
        """N×L, at most as long as the context → N×D."""
        length = tokens.shape[1]
        x = self.text.token_embedding(tokens) + self.text.positional_embedding[:length]
        x = self.text.transformer(x, attn_mask=self.text.attn_mask[:length, :length])
        x = self.text.ln_final(x)
        end = x[torch.arange(len(tokens), device=tokens.device), tokens.argmax(dim=1)]
        result: Tensor = end @ self.text.text_projection
        return result


class TransformersTower(nn.Module):
    """Around ``transformers.CLIPTextModelWithProjection``."""

    def __init__(self, text: nn.Module) -> None:
        super().__init__()
        self.text: Any = text

    def forward(self, tokens: Tensor) -> Tensor:
        """N×L, at most as long as the context → N×D."""
        result: Tensor = self.text(input_ids=tokens).text_embeds
        return result


def open_clip_tower(
    width: int, layers: int, heads: int, context: int, features: int, weights: Path | None
) -> OpenClipTower:
    """Build open_clip's text tower, from ``weights`` where given.

    Raises:
        UserError: open_clip is not installed; weights that cannot be read or have another shape.
    """
    library = text_library("open_clip.transformer")
    text = library.TextTransformer(
        context_length=context,
        vocab_size=VOCABULARY,
        width=width,
        heads=heads,
        layers=layers,
        output_dim=features,
        act_layer=library.QuickGELU,
    )
    if weights is not None:
        state = open_clip_state(weights, {name: value.shape for name, value in text.state_dict().items()})
        state["text_projection"] = resized(state["text_projection"], features)
        text.load_state_dict(state)
    return OpenClipTower(text)


def transformers_tower(
    width: int, layers: int, heads: int, context: int, features: int, weights: Path | None
) -> TransformersTower:
    """Build transformers' text tower, from ``weights`` where given.

    Raises:
        UserError: transformers is not installed; weights that cannot be read or have another shape.
    """
    library = text_library("transformers")
    if weights is None:
        config = library.CLIPTextConfig(
            vocab_size=VOCABULARY,
            hidden_size=width,
            intermediate_size=MLP * width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            max_position_embeddings=context,
            projection_dim=features,
        )
        return TransformersTower(library.CLIPTextModelWithProjection(config))
    try:
        text = library.CLIPTextModelWithProjection.from_pretrained(str(weights))
    except (OSError, ValueError) as error:
        raise UserError(
            f"model.text_weights: {weights} is no CLIP model that transformers can load: {error}"
        ) from error
    found = {
        "text_width": text.config.hidden_size,
        "text_layers": text.config.num_hidden_layers,
        "text_heads": text.config.num_attention_heads,
        "text_context": text.config.max_position_embeddings,
    }
    wanted = {"text_width": width, "text_layers": layers, "text_heads": heads, "text_context": context}
    if found != wanted:
        values = ", ".join(f"model.{key}={value}" for key, value in found.items() if value != wanted[key])
        raise UserError(f"model.text_weights: {weights} holds a tower of another shape: set {values}")
    projection = nn.Linear(width, features, bias=False)
    with torch.no_grad():
        projection.weight.copy_(resized(text.text_projection.weight.T, features).T)
    text.text_projection = projection
    text.config.projection_dim = features
    return TransformersTower(text)


def resized(projection: Tensor, features: int) -> Tensor:
    """A projection W×D₀ with its columns interpolated linearly to W×D, as TVI-LFM does."""
    if projection.shape[1] == features:
        return projection
    return F.interpolate(projection.float()[:, None], size=features, mode="linear", align_corners=False)[:, 0]
