"""Compact models: one small network for both modalities, alone or with a trained teacher.

The plain baseline of the field: identity loss after the BNNeck (Luo et al., CVPRW 2019) and batch-hard triplet loss
before it, on the backbone of one's choice. A teacher adds distillation terms (``vireid.losses.distillation``); it and
the projection to its feature serve training alone.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn

from vireid.core.errors import UserError
from vireid.core.types import Batch, Model, ModelOutput
from vireid.losses.distillation import feature_distillation, logit_distillation, relation_distillation
from vireid.losses.identity import cross_entropy
from vireid.losses.numeric import euclidean
from vireid.losses.pairs import Pairs, pair_rows
from vireid.losses.triplet import batch_hard_triplet
from vireid.models import MODELS
from vireid.models.backbones import build_backbone
from vireid.models.base import ReIDModel
from vireid.models.compact_config import DISTILLATION_WEIGHTS, CompactConfig
from vireid.models.heads import AveragePool, GeM, bn_neck, classifier


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


__all__ = ["Compact", "CompactConfig", "CompactEmbedder"]


class CompactEmbedder(nn.Module):
    """Backbone, pooling, BNNeck: the graph that is deployed."""

    def __init__(self, config: CompactConfig) -> None:
        super().__init__()
        self.backbone = cast(Any, build_backbone(config.backbone, config.width, config.last_stride, config.ibn))
        self.pool = GeM(config.gem_p) if config.pool == "gem" else AveragePool()
        self.neck = bn_neck(self.backbone.features)

    def forward(self, images: Tensor) -> Tensor:
        """B×3×H×W → B×D, after the neck and not L2-normalised."""
        return self.both(images)[1]

    def both(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled feature and the same after the neck: B×3×H×W → two of B×D."""
        pooled: Tensor = self.pool(self.backbone(images))
        return pooled, self.neck(pooled.to(self.neck.weight.dtype))


class Compact(ReIDModel, nn.Module):
    """The network and its loss terms; a head or projection exists only where an active term trains it."""

    Config: ClassVar[type[CompactConfig]] = CompactConfig

    def __init__(self, config: CompactConfig, num_classes: int) -> None:
        super().__init__()
        self.config = config
        self._num_classes = num_classes
        self._weights = config.active_weights()
        self._teachers: tuple[Teacher, ...] = ()  # in a tuple it is no submodule: no parameter, no part of a checkpoint
        self.embedder = CompactEmbedder(config)
        width = self.embedder.backbone.features
        self.heads = nn.ModuleDict()
        if self._weights.keys() & {"id", "kd_csa1", "kd_csa2"}:
            self.heads["id"] = classifier(width, num_classes)
        self.projection: nn.Linear | None = None
        if "kd_feature" in self._weights:
            assert config.teacher_features is not None  # as its configuration demands
            self.projection = nn.Linear(width, config.teacher_features, bias=False)
        if config.pretrained is not None:
            self.embedder.backbone.load(config.pretrained)

    def learn_from(self, teacher: Teacher) -> None:
        """Take the teacher that the distillation terms compare with.

        Raises:
            UserError: it knows other identities, or has a feature of another width than ``teacher_features``.
        """
        if teacher.classes != self._num_classes:
            raise UserError(
                f"the teacher knows {teacher.classes} identities, the student is trained on {self._num_classes}: a "
                "teacher must be trained on the student's images"
            )
        if self.projection is not None and teacher.features != self.projection.out_features:
            raise UserError(
                f"the teacher's embedding has {teacher.features} values: set model.teacher_features={teacher.features} "
                f"(it is {self.projection.out_features})"
            )
        self._teachers = (teacher,)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Take the teacher along to another device or memory format."""
        for teacher in self._teachers:
            teacher._apply(fn)  # type: ignore[no-untyped-call]
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def forward(self, batch: Batch) -> ModelOutput:
        """Features ``pooled`` (before the neck) and ``embedding``; logits ``id``.

        With a teacher also features ``projected`` and ``teacher``, and logits ``teacher``.

        Raises:
            UserError: a distillation term is on, and there is no teacher.
        """
        pooled, embedding = self.embedder.both(batch.images)
        output = ModelOutput({"pooled": pooled, "embedding": embedding})
        with torch.autocast(device_type=embedding.device.type, enabled=False):
            if "id" in self.heads:
                output.logits["id"] = self.heads["id"](embedding)
            if self.projection is not None:
                output.features["projected"] = self.projection(embedding)
        if self._weights.keys() & DISTILLATION_WEIGHTS.keys():
            if not self._teachers:
                raise UserError(
                    "model compact: its distillation terms need the teacher's weights, which `learn_from` brings"
                )
            output.features["teacher"], output.logits["teacher"] = self._teachers[0](batch)
        return output

    def loss_terms(self, output: ModelOutput, batch: Batch) -> dict[str, Tensor]:
        """Unweighted terms.

        Raises:
            UserError: a relation or logit term is on, and the rows of an identity do not pair up across modalities.
        """
        config, features, logits = self.config, output.features, output.logits

        @cache
        def pairs() -> Pairs:
            return pair_rows(batch.labels, batch.infrared)

        def relation() -> Tensor:
            ours, theirs = pairs().align(features["embedding"]), pairs().align(features["teacher"])
            return relation_distillation(ours, theirs, config.relation_temperature)

        def logit(per_identity: int | None) -> Tensor:
            ours, theirs = pairs().align(logits["id"]), pairs().align(logits["teacher"])
            return logit_distillation(ours, theirs, config.logit_temperature, per_identity)

        table: dict[str, Callable[[], Tensor]] = {
            "id": lambda: cross_entropy(logits["id"], batch.labels, config.label_smoothing),
            "triplet": lambda: batch_hard_triplet(euclidean(features["pooled"]), batch.labels, config.margin),
            "kd_feature": lambda: feature_distillation(features["projected"], features["teacher"], config.feature_loss),
            "kd_relation": relation,
            "kd_csa1": lambda: logit(None),
            "kd_csa2": lambda: logit(pairs().per_identity),
        }
        with torch.autocast(device_type=batch.labels.device.type, enabled=False):
            return {name: table[name]() for name in self._weights}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Backbone and the rest, both at the recipe's learning rate."""
        return self.grouped(("backbone", ("embedder.backbone.",), 1.0), ("heads", ("",), 1.0))

    def shared_parameters(self) -> list[nn.Parameter]:
        """Those of the backbone's last block, for weightings by gradient norms."""
        parameters: list[nn.Parameter] = self.embedder.backbone.last_parameters()
        return parameters
