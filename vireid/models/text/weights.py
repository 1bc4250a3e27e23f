"""Pretrained CLIP text towers in open_clip's (OpenAI's) key layout, read strictly from a file or a hub repository."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vireid.core.errors import UserError
from vireid.models.importers.state_file import read_state

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
