"""A trained model as a teacher: frozen, no part of its student, and what a configuration says of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn

from vireid.core.config import Strict
from vireid.core.errors import UserError
from vireid.core.types import Batch, Model

# Linear layer from a model's embedding to identity logits. Another model names its own in a class attribute
# ``identity_head``.
_HEADS = {"idkl": "heads.shared", "iv_reid": "heads.id", "agw": "classifier", "tskd": "classifier"}


class TeacherConfig(Strict):
    """Which trained model teaches, named in one of three ways, and what it is shown.

    A run's identity holds the teacher's fit id or the digest of its files, never where they lie.
    """

    run: str | None = Field(default=None, pattern=r"^[0-9a-f]{12}$")  # id of a finished fit in the store
    # Overrides that choose the teacher's model and what else it does not share with its student, such as [model=idkl,
    # recipe=idkl]: the fit of these in the store, on the student's images.
    training: list[str] | None = Field(default=None, min_length=1)
    file: Path | None = None  # directory that `vireid import --output` wrote
    digest: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")  # of that; checked when given
    # Pixels of the images that the teacher was trained at. A run's record says it; `training` takes the student's where
    # it is not given; a file does not say, and needs it unless input=student.
    height: int | None = Field(default=None, gt=0)
    width: int | None = Field(default=None, gt=0)
    # own: the student's batch is resized (bilinear) to what the teacher was trained at. student: shown as it is.
    input: Literal["own", "student"] = "own"

    @field_validator("run", mode="before")
    @classmethod
    def _is_text(cls, value: Any) -> Any:
        if isinstance(value, int | float):
            raise ValueError("a run's id of digits was read as a number: quote it, {run: '…'}")
        return value

    @model_validator(mode="after")
    def _one_teacher(self) -> TeacherConfig:
        given = [name for name in ("run", "training", "file") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"a teacher is named by one of run, training and file; given: {', '.join(given) or 'none'}"
            )
        if self.digest is not None and self.file is None:
            raise ValueError("digest belongs to file")
        if (self.height is None) != (self.width is None):
            raise ValueError("height and width go together")
        if self.run is not None and self.height is not None:
            raise ValueError("height and width of a run are those in its record; leave them out, or set input=student")
        if self.file is not None and (self.height is None) == (self.input == "own"):
            raise ValueError("a file needs the height and width that its model was trained at, or input=student")
        return self


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

    def train(self, mode: bool = True) -> Teacher:  # noqa: ARG002 - whatever is asked for
        """Stay in evaluation mode."""
        super().train(False)
        return self

    @torch.no_grad()
    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Embeddings (B×D, after the neck) and identity logits (B×C) of a student's batch."""
        if self.size is not None and batch.images.shape[2:] != self.size:
            images = F.interpolate(batch.images, self.size, mode="bilinear", antialias=True, align_corners=False)
            batch = replace(batch, images=images)
        embedding = cast(Any, self.model).embed(batch)["embedding"]
        with torch.autocast(device_type=embedding.device.type, enabled=False):
            embedding = embedding.to(self.head.weight.dtype)
            return embedding, self.head(embedding)


def head_name(model_class: Any, name: str) -> str:
    """Name of the layer from a model's embedding to its identity logits.

    Raises:
        UserError: none is known for this kind of model.
    """
    found: str | None = getattr(model_class, "identity_head", None) or _HEADS.get(name)
    if found is None:
        raise UserError(
            f"model '{name}' cannot teach: nothing says which of its layers makes identity logits of the embedding; "
            f"use one of {', '.join([*_HEADS, 'compact'])}, or name it in a class attribute 'identity_head'"
        )
    return found
