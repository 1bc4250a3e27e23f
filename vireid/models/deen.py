"""DEEN: diverse embedding expansion (Zhang and Wang, CVPR 2023; code ZYK100/LLCM).

Two stems and a shared ResNet whose lower maps are aggregated into the higher ones (MFA); before its last layer every
map is joined by two more that are learned from it (DEE), and three embeddings leave it. All three serve at test too:
the embedding that is ranked is six unit features side by side, so that its cosine is the mean of six similarities, the
released rule without a mirror image (``test_time`` of a protocol has the rules with one).
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vireid.core.types import Batch, Modality, ModelOutput
from vireid.losses.cpm import centre_pairs, orthogonality
from vireid.losses.identity import cross_entropy
from vireid.losses.numeric import euclidean
from vireid.losses.pairs import pair_rows
from vireid.losses.triplet import batch_hard_triplet
from vireid.models.base import ReIDModel
from vireid.models.deen_blocks import Expansion, aggregations
from vireid.models.deen_config import DEENConfig
from vireid.models.heads import AveragePool, bn_neck, classifier
from vireid.models.pretrained import load_trunk
from vireid.models.resnet import initialise, residual_layer
from vireid.models.two_stream import ModalityStem, through_stems

EMBEDDINGS = ("pooled", "expanded_1", "expanded_2")


class ExpandedTrunk(nn.Module):
    """Residual layers with an aggregation after each but the last, and the expansion before the last."""

    def __init__(self, config: DEENConfig) -> None:
        super().__init__()
        spec = config.trunk
        self.layers = nn.ModuleDict({f"layer{n}": residual_layer(spec, n) for n in range(1, config.layers + 1)})
        initialise(self)
        self.aggregations = aggregations(config)
        self.expansion = Expansion(spec.planes(config.layers - 1) * spec.expansion, config.dropout)

    def forward(self, x: Tensor) -> Sequence[Tensor]:
        """B×C₁×h×w → three times B×D×h'×w': of the image and of its two expansions.

        In training all 3B maps are rows of one batch, which its norms see; otherwise they go one after the other, which
        gives the same and which runtimes that know single images can follow.
        """
        *lower, last = self.layers
        for name in lower:
            x = self.aggregations[name](self.layers[name](x), x)
        return rows_of_one_batch(self.layers[last], self.expansion(x))


def rows_of_one_batch(part: nn.Module, inputs: Sequence[Tensor]) -> Sequence[Tensor]:
    """A part that has batch norms on each of several inputs, in training on all rows together."""
    if part.training:
        result: Tensor = part(torch.cat(list(inputs)))
        return result.chunk(len(inputs))
    return [part(x) for x in inputs]


class Embeddings(nn.Module):
    """Trunk, average pooling and neck: everything after the stems.

    Args:
        trunk: B×C₁×h×w → three maps B×D×h'×w'.
        neck: normalisation of the pooled features, in training all three as rows of one batch.
    """

    def __init__(self, trunk: ExpandedTrunk, neck: nn.BatchNorm1d) -> None:
        super().__init__()
        self.trunk, self.pool, self.neck = trunk, AveragePool(), neck

    def pooled(self, maps: Tensor) -> list[Tensor]:
        """B×C₁×h×w → three features before the neck, B×D each."""
        return [self.pool(x).to(self.neck.weight.dtype) for x in self.trunk(maps)]

    def necked(self, pooled: Sequence[Tensor]) -> Sequence[Tensor]:
        """Three features B×D → the same, after the neck."""
        return rows_of_one_batch(self.neck, pooled)

    def joined(self, pooled: Sequence[Tensor]) -> Tensor:
        """Three features B×D → B×6D: unit features before the neck, then after it."""
        return torch.cat([nn.functional.normalize(x, dim=1) for x in (*pooled, *self.necked(pooled))], dim=1)


class DEENPath(nn.Module):
    """What is deployed for one modality: its stem and everything shared."""

    def __init__(self, stem: ModalityStem, shared: Embeddings) -> None:
        super().__init__()
        self.stem, self.shared = stem, shared

    def forward(self, images: Tensor) -> Tensor:
        """B×3×H×W → B×6D."""
        return self.shared.joined(self.shared.pooled(self.stem(images)))


class DEENEmbedder(nn.Module):
    """Images of both modalities to three features each."""

    def __init__(self, config: DEENConfig) -> None:
        super().__init__()
        self.visible = ModalityStem(config.trunk)
        self.infrared = ModalityStem(config.trunk)
        neck = bn_neck(config.features)
        nn.init.normal_(neck.weight, 1.0, 0.01)  # as released
        self.shared = Embeddings(ExpandedTrunk(config), neck)

    def forward(self, images: Tensor, infrared: Tensor) -> Sequence[Tensor]:
        """Three features (B×D) of images (B×3×H×W), each image through its modality's stem, then all together."""
        return through_stems(self.visible, self.infrared, self._side_by_side, images, infrared).chunk(3, dim=1)

    def _side_by_side(self, maps: Tensor) -> Tensor:
        return torch.cat(self.shared.pooled(maps), dim=1)


class DEEN(ReIDModel, nn.Module):
    """The network, one bias-free classifier, and the loss terms over all three embeddings of every image."""

    Config: ClassVar[type[DEENConfig]] = DEENConfig

    def __init__(self, config: DEENConfig, num_classes: int) -> None:
        super().__init__()
        self.config = config
        self.embedder = DEENEmbedder(config)
        self.classifier: nn.Linear | None = None
        if "id" in config.active_weights():
            self.classifier = classifier(config.features, num_classes)
        if config.pretrained is not None:
            layers = dict(self.embedder.shared.trunk.layers.items())
            if config.layers == 3:  # the file has a layer 4 all the same
                layers["layer4"] = residual_layer(config.trunk, 4)
            load_trunk(config.pretrained, self.embedder.visible, [nn.ModuleDict(layers), self.embedder.infrared])

    def forward(self, batch: Batch) -> ModelOutput:
        """Features before the neck, ``pooled``, ``expanded_1``, ``expanded_2``; logits ``id`` of each by its name."""
        pooled = self.embedder(batch.images, batch.infrared)
        output = ModelOutput(dict(zip(EMBEDDINGS, pooled, strict=True)))
        if self.classifier is not None:
            with torch.autocast(device_type=pooled[0].device.type, enabled=False):
                logits = [self.classifier(feature) for feature in self.embedder.shared.necked(pooled)]
            output.logits = dict(zip(EMBEDDINGS, logits, strict=True))
        return output

    def loss_terms(self, output: ModelOutput, batch: Batch) -> dict[str, Tensor]:
        """Unweighted terms; identity and triplet take the 3B embeddings as rows of their own.

        Raises:
            UserError: the rows of an identity do not pair up across modalities, for ``cpm``.
        """
        config, labels = self.config, batch.labels.repeat(len(EMBEDDINGS))
        image, *expanded = (output.features[name] for name in EMBEDDINGS)
        terms: dict[str, Tensor] = {}
        with torch.autocast(device_type=labels.device.type, enabled=False):
            for name in config.active_weights():
                if name == "id":
                    logits = torch.cat([output.logits[part] for part in EMBEDDINGS])
                    terms[name] = cross_entropy(logits, labels, config.label_smoothing)
                elif name == "triplet":
                    terms[name] = batch_hard_triplet(euclidean(torch.cat([image, *expanded])), labels, config.margin)
                elif name == "cpm":
                    terms[name] = self._pairs_of_centres(image, expanded, batch)
                else:
                    terms[name] = orthogonality(*expanded)
        return terms

    def embed(self, batch: Batch) -> dict[str, Tensor]:
        """Six unit features side by side (B×6D), in evaluation mode, each row through its modality's stem."""
        return {"embedding": self.embedder.shared.joined(self.embedder(batch.images, batch.infrared))}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Trunk and heads; the trunk's rate, aggregation and expansion included, is scaled by ``trunk_lr_scale``."""
        return self.grouped(
            ("trunk", ("",), self.config.trunk_lr_scale), ("heads", ("embedder.shared.neck.", "classifier."), 1.0)
        )

    def shared_parameters(self) -> list[nn.Parameter]:
        """Those of the last block of the last layer, for weightings by gradient norms."""
        last = list(self.embedder.shared.trunk.layers.children())[-1]
        return list(list(last.children())[-1].parameters())

    def deployable(self, modality: Modality) -> DEENPath:
        """Independent copy of the modality's stem and everything shared, in evaluation mode."""
        stem = self.embedder.infrared if modality is Modality.INFRARED else self.embedder.visible
        return deepcopy(DEENPath(stem, self.embedder.shared)).eval()

    def _pairs_of_centres(self, image: Tensor, expanded: list[Tensor], batch: Batch) -> Tensor:
        pairs = pair_rows(batch.labels, batch.infrared)
        aligned = pairs.align(image)
        losses = [
            centre_pairs(aligned, pairs.align(more), pairs.per_identity, self.config.cpm_margin) for more in expanded
        ]
        return torch.stack(losses).sum()
