"""Weights of a deployed graph as a safetensors file, as PyTorch has them: batch norms are not folded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from vireid.core.errors import UserError


def write_weights(module: nn.Module, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write the module's state, read it again, and compare bit by bit.

    Raises:
        UserError: what was read is not what was written.
    """
    state = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in module.state_dict().items()
    }
    save_file(state, path, None if metadata is None else dict(metadata))
    again = load_file(path)
    if again.keys() != state.keys() or not all(torch.equal(again[name], state[name]) for name in state):
        raise UserError(f"{path.name}: reads back otherwise than it was written; nothing was kept. Check the disk")
