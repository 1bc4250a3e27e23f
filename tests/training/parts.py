"""A tiny model, loader and weighting that fulfil the contracts, with everything that makes resuming hard."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vireid.core.config import parse
from vireid.core.seeding import key_to_int
from vireid.core.types import Batch, ModelOutput
from vireid.training.config import RecipeConfig
from vireid.weighting.config import UncertaintyConfig
from vireid.weighting.uncertainty import UncertaintyWeighting


class TinyModel(nn.Module):
    """Trunk with batch normalisation and dropout, two heads, and a prototype buffer that ``end_epoch`` moves."""

    def __init__(self, classes: int = 4, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.trunk = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.3))
        self.neck = nn.BatchNorm1d(8)
        self.neck.bias.requires_grad_(False)
        self.head = nn.Linear(8, classes, bias=False)
        self.register_buffer("prototype", torch.zeros(classes, 8))
        self.register_buffer("epochs", torch.zeros((), dtype=torch.int64))
        self.break_at: int | None = None
        self.calls = 0

    def default_weights(self) -> dict[str, float]:
        return {"id": 1.0, "centre": 0.1}

    def forward(self, batch: Batch) -> ModelOutput:
        self.calls += 1
        feature = self.trunk(batch.images).mean(dim=(2, 3))
        return ModelOutput(features={"shared": feature}, logits={"shared": self.head(self.neck(feature))})

    def loss_terms(self, output: ModelOutput, batch: Batch) -> dict[str, Tensor]:
        centre = (output.features["shared"] - self.prototype[batch.labels]).square().mean()
        if self.calls == self.break_at:
            centre = centre * float("nan")
        return {"id": F.cross_entropy(output.logits["shared"], batch.labels), "centre": centre}

    def parameter_groups(self) -> list[dict[str, Any]]:
        body = [p for n, p in self.named_parameters() if not n.startswith("head.") and p.requires_grad]
        return [
            {"params": body, "lr_scale": 0.5, "name": "body"},
            {"params": self.head.parameters(), "lr_scale": 1.0, "name": "head"},
        ]

    def end_epoch(self) -> None:
        self.epochs += 1
        self.prototype.copy_(self.head.weight.detach() * 0.1)


class TinyLoader:
    """Random batches, a function of (epoch, step)."""

    def __init__(self, steps: int = 5, size: int = 8, scale: float = 1.0) -> None:
        self.steps_per_epoch = steps
        self.size, self.scale = size, scale
        self.opened: list[int] = []

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        self.opened.append(epoch)
        for step in range(first_step, self.steps_per_epoch):
            generator = torch.Generator().manual_seed(key_to_int(1, "tiny", epoch, step) % 2**63)
            labels = torch.arange(self.size) % 4
            images = torch.randn(self.size, 3, 6, 6, generator=generator) + labels.view(-1, 1, 1, 1)
            zeros = torch.zeros_like(labels)
            yield Batch(images * self.scale, labels, torch.arange(self.size) % 2, zeros, zeros)


def recipe(**changes: Any) -> RecipeConfig:
    plain = {
        "batch_size": 8,
        "identities": 4,
        "epochs": 4,
        "optimiser": {"name": "adam", "lr": 0.01, "weight_decay": 0.005},
        "schedule": {"name": "cosine", "warmup_epochs": 1, "every": "step"},
    }
    if "stages" in changes:
        plain.pop("epochs")
    return parse(RecipeConfig, {**plain, **changes}, "test")


def uncertainty() -> UncertaintyWeighting:
    return UncertaintyWeighting(UncertaintyConfig(lr_scale=10.0), {"id": 1.0, "centre": 0.1})
