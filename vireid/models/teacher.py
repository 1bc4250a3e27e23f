"""A trained model as a teacher: frozen, no part of its student, and what a configuration says of it."""

from dataclasses import replace
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from vireid.core.errors import UserError
from vireid.core.types import Batch, Model
from vireid.models import MODELS


class Teacher(nn.Module):
    """A trained model that gives embeddings and identity logits: in evaluation mode, without gradients, unchanged.

    Args:
        model: trained.
        head: from its embedding to its identity logits.
        size: height and width that images are resized to; None leaves them.
    """

    def __init__(self, model: Model, head: nn.Linear, size: tuple[int, int] | None) -> None:
        super().__init__()
        self.model = cast(nn.Module, model)
        self.head = head
        self.size = size
        self.requires_grad_(False)
        self.train(False)

    @property
    def features(self) -> int:
        """Width of the embedding."""
        return self.head.in_features

    @property
    def classes(self) -> int:
        """Number of identities that it was trained on."""
        return self.head.out_features

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002 - whatever is asked for
        """Stay in evaluation mode."""
        super().train(False)
        return self

    @torch.no_grad()
    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Embeddings (B×D, after the neck) and identity logits (B×C) of a student's batch."""
        if self.size is not None and batch.images.shape[2:] != self.size:
            images = nn.functional.interpolate(
                batch.images, self.size, mode="bilinear", antialias=True, align_corners=False
            )
            batch = replace(batch, images=images)
        embedding = cast(Any, self.model).embed(batch)["embedding"]
        with torch.autocast(device_type=embedding.device.type, enabled=False):
            embedding = embedding.to(self.head.weight.dtype)
            return embedding, self.head(embedding)


def head_name(name: str) -> str:
    """Name of the layer from a model's embedding to its identity logits.

    Raises:
        UserError: the model names none.
    """
    head: str | None = MODELS.declared(name, "identity_head", None)
    if head is None:
        able = [known for known in MODELS.names() if MODELS.declared(known, "identity_head", None)]
        raise UserError(
            f"model '{name}' cannot teach: nothing says which of its layers makes identity logits of the embedding; "
            f"use one of {', '.join(able)}, or name it in a class attribute 'identity_head'"
        )
    return head
