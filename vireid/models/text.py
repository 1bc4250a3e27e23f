"""CLIP text encoders behind one interface: captions to tokens to one feature each, by either library's tower."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vireid.core.errors import UserError, optional_module
from vireid.models.pretrained import read_state


def text_library(module: str) -> Any:
    """Import a module of open_clip or transformers.

    Raises:
        UserError: its package is not installed.
    """
    return optional_module(module, None, "train without text (model.fusion=none)")


HUB_FILE = "open_clip_model.safetensors"
_OTHER_PARTS = ("visual.", "logit_scale", "logit_bias", "attn_mask", "input_resolution", "context_length", "vocab_size")


def open_clip_state(weights: Path, shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """The text tower's tensors of a CLIP state dict; only the projection may have another width.

    Args:
        weights: a file that ``read_state`` takes; else the name of a hub repository. OpenAI's own archives are
            programs: take timm/resnet50_clip.openai or a ``.safetensors`` file for them.
        shapes: what the tower needs, by name.

    Raises:
        UserError: unreadable file, unknown repository, keys that are missing or unknown, tensors of another shape.
    """
    file = weights if weights.is_file() else _from_hub(weights)
    state = {_plain(key): value for key, value in read_state(file, "model.text_weights:").items()}
    state = {key: value.float() for key, value in state.items() if not key.startswith(_OTHER_PARTS)}
    faults = [f"lacks {key}" for key in shapes if key not in state]
    faults += [f"has the unknown key {key}" for key in state if key not in shapes]
    for key in shapes.keys() & state.keys():
        given, wanted = tuple(state[key].shape), tuple(shapes[key])
        if given != wanted and not (key == "text_projection" and given[0] == wanted[0]):
            faults.append(f"holds {key} of shape {given}, the model has {wanted}")
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise UserError(
            f"model.text_weights: {weights} {'; '.join(faults[:3])}{more}: give the text tower of a CLIP model, "
            "and its model.text_width, text_layers and text_heads"
        )
    return state


def _plain(key: str) -> str:
    return key.removeprefix("text.")


def _from_hub(weights: Path) -> Path:
    try:
        hub = importlib.import_module("huggingface_hub")
        return Path(hub.hf_hub_download(weights.as_posix(), HUB_FILE))
    except Exception as error:  # network, missing repository, bad name: all of the hub's own making
        raise UserError(
            f"model.text_weights: {weights} is neither a file nor a hub repository with {HUB_FILE} that can be fetched "
            f"({type(error).__name__}: {error})"
        ) from error


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
    configured = {
        "text_width": text.config.hidden_size,
        "text_layers": text.config.num_hidden_layers,
        "text_heads": text.config.num_attention_heads,
        "text_context": text.config.max_position_embeddings,
    }
    wanted = {"text_width": width, "text_layers": layers, "text_heads": heads, "text_context": context}
    if configured != wanted:
        values = ", ".join(f"model.{key}={value}" for key, value in configured.items() if value != wanted[key])
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
    return nn.functional.interpolate(projection.float()[:, None], size=features, mode="linear", align_corners=False)[
        :, 0
    ]


VOCABULARY = 49408  # the last two are the start and the end of a text
END = VOCABULARY - 1


def tokenize(captions: Sequence[str], context: int) -> Tensor:
    """Tokens N×L of ``captions``: start, words, end, then 0; L is what the longest needs, ``context`` at most.

    A caption that is too long loses what lies before its end token. Attention is causal, so that what follows the
    end token decides nothing, and leaving out columns of zeros changes no feature.

    Raises:
        UserError: an empty caption, or open_clip is not installed.
    """
    for position, caption in enumerate(captions):
        if not caption.strip():
            raise UserError(f"caption {position} of {len(captions)} is empty: describe the image or leave text out")
    rows = [_encode(caption, context) for caption in captions]
    tokens = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.int64)
    for row, tokenised in zip(tokens, rows, strict=True):
        row[: len(tokenised)] = torch.tensor(tokenised)
    return tokens


@lru_cache(maxsize=1 << 17)
def _encode(caption: str, context: int) -> tuple[int, ...]:
    tokens = _tokenizer().encode(caption)[: context - 2]
    return (END - 1, *tokens, END)


@lru_cache(maxsize=1)
def _tokenizer() -> Any:
    return text_library("open_clip.tokenizer").SimpleTokenizer()


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
        device = next(self.parameters()).device
        features: Tensor = self.tower(tokenize(captions, self.context).to(device))
        return features
