"""Optimisers over the parameter groups of a model and of its loss weighting."""

from typing import Any, cast

import torch
from torch import nn

from vireid.core.types import Model
from vireid.training.config import OptimiserConfig, SGDConfig
from vireid.training.contracts import Weighting

_FUSED = ("cpu", "cuda")  # one kernel instead of one per parameter


def build_optimiser(
    config: OptimiserConfig, model: Model, weighting: Weighting, device: torch.device
) -> torch.optim.Optimizer:
    """Optimiser over the groups of ``model`` and ``weighting``; call it after both are on ``device``.

    Every group keeps ``lr_scale``, which ``set_lr`` multiplies in, and may bring its own ``weight_decay``.

    Raises:
        ValueError: the groups leave out a trainable parameter or name one twice (a fault of the component).
    """
    groups = []
    for owner, parts in ((model, model.parameter_groups()), (weighting, weighting.parameter_groups())):
        _check_cover(cast(nn.Module, owner), parts)
        groups += [{"lr_scale": 1.0, **part, "lr": config.lr * part.get("lr_scale", 1.0)} for part in parts]
    groups = [group for group in groups if len(group["params"])]
    options: dict[str, Any] = {"weight_decay": config.weight_decay, "fused": device.type in _FUSED}
    if isinstance(config, SGDConfig):
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.nesterov, **options)
    kind = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    return kind(groups, lr=config.lr, betas=config.betas, **options)


def set_lr(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Give every group ``lr`` times its ``lr_scale``."""
    for group in optimiser.param_groups:
        group["lr"] = lr * group["lr_scale"]


def _check_cover(owner: nn.Module, groups: list[dict[str, Any]]) -> None:
    for group in groups:
        group["params"] = list(group["params"])
    listed = [id(parameter) for group in groups for parameter in group["params"]]
    if len(listed) != len(set(listed)):
        raise ValueError(f"{type(owner).__name__}.parameter_groups names a parameter twice")
    missing = [name for name, p in owner.named_parameters() if p.requires_grad and id(p) not in set(listed)]
    if missing:
        raise ValueError(f"{type(owner).__name__}.parameter_groups leaves out {', '.join(missing[:3])}")
