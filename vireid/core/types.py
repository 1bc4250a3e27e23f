"""Shared vocabulary: modality, image index, batch, model output, and the contract that every model fulfils.

Shape legend: B images in a batch, C identity classes, D feature width, H×W pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:  # whoever plans or lists needs the words, not the library
    import torch
    from torch import Tensor, nn

Array = npt.NDArray[Any]
BoolArray = npt.NDArray[np.bool_]
ByteArray = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.int64]


class Modality(IntEnum):
    """Spectrum of an image. Never encoded in a camera number."""

    VISIBLE = 0
    INFRARED = 1


@dataclass(frozen=True, slots=True)
class ImageIndex:
    """A list of images with what is known of each; the only thing that data hands to the rest.

    All arrays have one entry per image. ``number`` is the image's number within its identity and camera as the
    dataset counts it (1-based for SYSU-MM01, where it names the file), 0 where a dataset has none.
    """

    root: Path
    paths: tuple[str, ...]  # relative to root, with forward slashes
    identity: IntArray  # as the dataset numbers them; not contiguous
    modality: IntArray  # values of Modality
    camera: IntArray
    number: IntArray
    captions: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("identity", "modality", "camera", "number"):
            if len(getattr(self, name)) != len(self.paths):
                raise ValueError(
                    f"ImageIndex.{name} has {len(getattr(self, name))} entries for {len(self.paths)} paths"
                )

    def __len__(self) -> int:
        return len(self.paths)

    def select(self, rows: Array) -> Self:
        """Return the images at ``rows`` (integer positions or a boolean mask), in that order."""
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        return replace(
            self,
            paths=tuple(self.paths[i] for i in rows),
            identity=self.identity[rows],
            modality=self.modality[rows],
            camera=self.camera[rows],
            number=self.number[rows],
            captions=None if self.captions is None else tuple(self.captions[i] for i in rows),
        )

    def labels(self) -> IntArray:
        """Contiguous class labels 0…C−1, from the sorted identities (never from ``set`` order)."""
        return np.unique(self.identity, return_inverse=True)[1].astype(np.int64)

    @property
    def num_identities(self) -> int:
        """Number of distinct identities."""
        return len(np.unique(self.identity))


@dataclass(frozen=True, slots=True)
class Batch:
    """One training or evaluation batch.

    Sampler convention for training (METHODS of IDKL): rows come identity by identity, K rows each, infrared and
    visible alternating (infrared first), so that row k of the visible rows and row k of the infrared rows share
    an identity. ``view`` numbers the augmented views of the same image (0 unless a method asks for several).
    """

    images: Tensor  # B×3×H×W, normalised
    labels: Tensor  # B, int64, contiguous classes
    modality: Tensor  # B, int64, values of Modality
    camera: Tensor  # B, int64
    view: Tensor  # B, int64
    captions: Sequence[str] | None = None

    @property
    def visible(self) -> Tensor:
        """Boolean mask of the visible rows."""
        return self.modality == int(Modality.VISIBLE)

    @property
    def infrared(self) -> Tensor:
        """Boolean mask of the infrared rows."""
        return self.modality == int(Modality.INFRARED)

    def __len__(self) -> int:
        return int(self.images.shape[0])

    def to(self, device: torch.device | str) -> Self:
        """Return the batch with every tensor on ``device``."""
        moved = {n: getattr(self, n).to(device) for n in ("images", "labels", "modality", "camera", "view")}
        return replace(self, **moved)


@dataclass(slots=True)
class ModelOutput:
    """What a forward pass in training gives: named features (B×D), logits (B×C) and spatial maps (B×D×h×w)."""

    features: dict[str, Tensor] = field(default_factory=dict)
    logits: dict[str, Tensor] = field(default_factory=dict)
    maps: dict[str, Tensor] = field(default_factory=dict)


@runtime_checkable
class Model(Protocol):
    """The contract of a method; contract tests run over every registered model.

    A model is a ``torch.nn.Module`` built as ``Class(config, num_classes)`` with ``config`` an instance of its
    ``Config``. All method state (prototypes, learned weights) lives in buffers or parameters, so that a checkpoint
    holds it. Loss terms are *unweighted*; ``default_weights`` names every term and what the method multiplies it by.

    A model whose embedding is several features of one width side by side says in its class attribute
    ``embedding_maps`` what each of them is, for the rules that mirror images at test.

    Optional methods stand in the protocols below. ``vireid.models.base`` has the default of everything else that may be
    asked of a model.
    """

    Config: ClassVar[type[Any]]
    version: ClassVar[str]  # raise it when a change alters results: it enters the run identity

    def default_weights(self) -> dict[str, float]:
        """Weight of every loss term of this configuration, by name."""
        ...

    def forward(self, batch: Batch) -> ModelOutput:
        """Training forward pass over all branches."""
        ...

    def loss_terms(self, output: ModelOutput, batch: Batch) -> dict[str, Tensor]:
        """Unweighted scalar loss terms by name."""
        ...

    def embed(self, batch: Batch) -> dict[str, Tensor]:
        """Named features for retrieval (B×D), evaluation mode; ``"embedding"`` is the one that is ranked by default."""
        ...

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups ``{"params": [...], "lr_scale": float, "name": str}`` that cover every trainable parameter once."""
        ...

    def end_epoch(self) -> None:
        """Update method state after an epoch (prototypes, schedules)."""
        ...

    def deployable(self, modality: Modality) -> nn.Module:
        """Smallest module ``images (B×3×H×W) -> embedding (B×D)`` that equals ``embed`` for that modality."""
        ...


@runtime_checkable
class LearnsFromEpoch(Protocol):
    """What a model fulfils beside its contract when it learns from an epoch's batches once more (prototypes).

    A model that needs several augmented views of every visible image says so in its class attribute ``visible_views``.
    """

    def after_epoch(self, batches: Iterable[Batch]) -> None:
        """Called before ``end_epoch`` with the epoch's batches again, on the model's device and without gradients."""
        ...


@runtime_checkable
class SharesParameters(Protocol):
    """What a weighting by gradient norms asks of a model."""

    def shared_parameters(self) -> list[nn.Parameter]:
        """Those of the last layer that all terms share."""
        ...


@runtime_checkable
class DeclaresRoles(Protocol):
    """What the cost table asks of a model whose training-only parameters it is to tell apart."""

    def parameter_roles(self) -> Mapping[str, str]:
        """``deployed``, ``training_only`` or ``dead``, for every parameter by name."""
        ...


@runtime_checkable
class LearnsFromTeacher(Protocol):
    """What a model with the configuration key ``teacher`` fulfils."""

    def learn_from(self, teacher: Any) -> None:
        """Take the frozen teacher (``vireid.models.compact.Teacher``) that its distillation terms compare with."""
        ...


Weights = Mapping[str, float]
