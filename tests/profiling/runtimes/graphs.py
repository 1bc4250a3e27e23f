"""Small deployed graphs with weights and running statistics as after a training."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from vireid.core.types import Modality
from vireid.models import MODELS

HEIGHT, WIDTH = 48, 32
GRAPHS: dict[str, dict[str, Any]] = {
    "plain": {"name": "idkl", "ibn": "none"},
    "ibn-a, refined": {"name": "idkl", "ibn": "a", "mha": "refine", "heads": 2, "gem_learnable": True},
    "ibn-b": {"name": "idkl", "ibn": "b"},
    "ibn of the fork": {"name": "idkl", "ibn": "fork"},
    "bottlenecks": {"name": "idkl", "backbone": "resnet50", "ibn": "a"},
    "agw": {"name": "agw", "nonlocal_blocks": (0, 1, 1, 0)},
    "caj": {"name": "caj", "nonlocal_blocks": (0, 1, 1, 0)},
    "iv_reid": {"name": "iv_reid"},
    "deen": {"name": "deen"},
    "vit": {"name": "vit", "dim": 48, "depth": 2, "heads": 3, "stride": 6, "patch": 8, "image_size": (HEIGHT, WIDTH)},
}


def graph(name: str, modality: Modality = Modality.INFRARED) -> nn.Module:
    """Deployed graph of ``GRAPHS[name]``, the same at every call, in evaluation mode."""
    settings = GRAPHS[name]
    if settings["name"] == "vit":
        pytest.importorskip("timm", reason="a vision transformer needs the extra: make install EXTRAS=backbones")
    else:
        settings = {"backbone": "resnet18", "width": 0.125} | settings
    component = MODELS.load(settings["name"])
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = component(component.Config(**settings), 10)
        make_trained(model)
    deployed: nn.Module = model.deployable(modality).eval()
    return deployed


def make_trained(module: nn.Module) -> None:
    """Move every parameter and running statistic away from where it starts."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.3)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 2)
