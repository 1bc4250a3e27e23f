"""TVI-LFM (Hu et al., NeurIPS 2024; code WHU-HZY/TVI-LFM): infrared queries enriched by text.

Trained in two stages of a recipe: the base network on images, then text encoder, batch norm and classifier on the fused
features with the visual part frozen. A model reads captions while its text encoder is trainable, so that the base stage
needs none of its time. The release leaves the frozen part's batch norms in training mode; here they stand still.
"""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vireid.core.errors import UserError
from vireid.core.types import Batch, Modality, ModelOutput
from vireid.losses.identity import cross_entropy
from vireid.losses.numeric import euclidean
from vireid.losses.pairs import pair_rows
from vireid.losses.weighted_triplet import weighted_triplet
from vireid.models.agw import RELEASED_NULL_WEIGHT
from vireid.models.base import ReIDModel
from vireid.models.heads import GeM, classifier
from vireid.models.pretrained import load_trunk
from vireid.models.text import TextEncoder, TowerShape
from vireid.models.trunk import TrunkSpec
from vireid.models.tvi_lfm_config import TVILFMConfig
from vireid.models.two_stream import ModalityPath, ModalityStem, SharedTrunk, through_stems


class VisualPart(nn.Module):
    """A stem per modality without activation, shared layers, GeM with a learnable exponent.

    Args:
        spec: shape of the trunk.
        p: start of the exponent.
        pretrained: ImageNet weights for both stems and the layers.
    """

    def __init__(self, spec: TrunkSpec, p: float, pretrained: Path | None) -> None:
        super().__init__()
        self.visible = ModalityStem(spec, relu=False)
        self.infrared = ModalityStem(spec, relu=False)
        self.trunk = SharedTrunk(spec)
        self.pool = GeM(p, learnable=True)
        if pretrained is not None:
            load_trunk(pretrained, self.visible, [self.trunk.layers, self.infrared])

    def forward(self, images: Tensor, infrared: Tensor) -> Tensor:
        """Pooled features (B×D) of images (B×3×H×W), each through its modality's stem, then all together."""
        return through_stems(self.visible, self.infrared, self._rest, images, infrared)

    def _rest(self, maps: Tensor) -> Tensor:
        pooled: Tensor = self.pool(self.trunk(maps))
        return pooled

    def path(self, modality: Modality, neck: nn.BatchNorm1d) -> ModalityPath:
        """Independent copy of one modality's path with the batch norm after it, in evaluation mode."""
        stem = self.infrared if modality is Modality.INFRARED else self.visible
        return deepcopy(ModalityPath(stem, self.trunk, self.pool, neck)).eval()


class TVILFM(ReIDModel, nn.Module):
    """Two stems without activation, shared layers, learnable GeM, one batch norm and classifier, a CLIP text tower."""

    Config: ClassVar[type[TVILFMConfig]] = TVILFMConfig
    deployed: ClassVar[tuple[str, ...]] = ("visual.", "neck.")  # the text encoder runs for queries with text alone

    def __init__(self, config: TVILFMConfig, num_classes: int) -> None:
        super().__init__()
        self.config = config
        width = config.trunk.features
        self.visual = VisualPart(config.trunk, config.gem_p, config.pretrained)
        self.neck = nn.BatchNorm1d(width)
        self.classifier = classifier(width, num_classes)
        self.text: TextEncoder | None = None
        if config.uses_text:
            shape = TowerShape(
                config.text_library, config.text_width, config.text_layers, config.text_heads, config.text_context
            )
            self.text = TextEncoder(shape, width, config.text_weights)

    def forward(self, batch: Batch) -> ModelOutput:
        """Features ``pooled`` and ``embedding`` of the images (B×D) and logits ``id``.

        While text is read, ``joint`` (M×D, before the batch norm) holds what the text terms learn from, with logits
        ``text`` (M×C); the running statistics then follow it, else the images.
        """
        pooled = self.visual(batch.images, batch.infrared)
        if not self._reads():
            embedding = self.neck(pooled)
            return ModelOutput({"pooled": pooled, "embedding": embedding}, {"id": self._classify(embedding)})
        joint = self._joint(pooled, batch)
        logits = self._classify(self.neck(joint))
        embedding = self._neck_at_rest(pooled)
        features = {"pooled": pooled, "embedding": embedding, "joint": joint}
        return ModelOutput(features, {"id": self._classify(embedding), "text": logits})

    def loss_terms(self, output: ModelOutput, batch: Batch) -> dict[str, Tensor]:
        """``id`` and ``triplet`` of the images; ``id_text`` and ``triplet_text`` of what is learned with text."""
        weights, labels = self.config.active_weights(), batch.labels
        terms: dict[str, Tensor] = {}
        with torch.autocast(device_type=labels.device.type, enabled=False):
            if "id" in weights:
                terms["id"] = cross_entropy(output.logits["id"], labels)
            if "triplet" in weights:
                terms["triplet"] = self._triplet(output.features["pooled"], labels)
            if "joint" in output.features:
                rows, (_, described) = self._kept(batch), _pairs(batch)
                labels = labels.index_select(0, torch.cat([rows, *[described] * (2 if self.config.joint else 1)]))
                if "id_text" in weights:
                    terms["id_text"] = cross_entropy(output.logits["text"], labels)
                if "triplet_text" in weights:
                    terms["triplet_text"] = self._triplet(output.features["joint"], labels)
        return terms

    def embed(self, batch: Batch) -> dict[str, Tensor]:
        """Feature of the images alone after the batch norm (B×D), in evaluation mode."""
        return {"embedding": self.neck(self.visual(batch.images, batch.infrared))}

    def describe(self, images: Tensor, descriptions: Sequence[str], captions: Sequence[str]) -> dict[str, Tensor]:
        """Features of infrared queries with text, each after the batch norm (B×D), in evaluation mode.

        Args:
            images: infrared, B×3×H×W.
            descriptions: what is said of each: t_rgb of the fusion.
            captions: what an infrared image shows of it, which ``filter`` takes away: t_ir.

        Returns:
            ``fused``, ``infrared`` and ``text``.

        Raises:
            UserError: the model reads no text.
        """
        if self.text is None:
            raise UserError("this model reads no text (model.fusion=none): evaluate it with text=none")
        infrared = self.visual(images, torch.ones(len(images), dtype=torch.bool, device=images.device))
        text, fused = self._fuse(infrared, descriptions, captions)
        return {name: self.neck(x) for name, x in (("fused", fused), ("infrared", infrared), ("text", text))}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Visual part, batch norm with classifier, text encoder."""
        heads = [*self.neck.parameters(), *self.classifier.parameters()]
        groups = [
            {"params": list(self.visual.parameters()), "lr_scale": 1.0, "name": "visual"},
            {"params": heads, "lr_scale": self.config.classifier_lr_scale, "name": "classifier"},
        ]
        if self.text is not None:
            text = list(self.text.parameters())
            groups.append({"params": text, "lr_scale": self.config.text_lr_scale, "name": "text"})
        return groups

    def shared_parameters(self) -> list[nn.Parameter]:
        """Those of the batch norm, which all terms share, for weightings by gradient norms."""
        return list(self.neck.parameters())

    def deployable(self, modality: Modality) -> ModalityPath:
        """Independent copy of the modality's stem and everything shared, in evaluation mode; images alone."""
        return self.visual.path(modality, self.neck)

    def _reads(self) -> bool:
        return self.text is not None and any(parameter.requires_grad for parameter in self.text.parameters())

    def _joint(self, pooled: Tensor, batch: Batch) -> Tensor:
        """What the text terms learn from, before the batch norm: M×D."""
        if batch.captions is None:
            raise UserError(
                "model tvi_lfm: the batches carry no captions: set data.captions={captioner: Blip}, which reads the "
                "Text/ folder beside the images, or model.fusion=none"
            )
        partners, described = _pairs(batch)
        descriptions, captions = ([batch.captions[row] for row in part.tolist()] for part in (partners, described))
        text, fused = self._fuse(pooled.index_select(0, described), descriptions, captions)
        features = [pooled.index_select(0, self._kept(batch)), fused]
        return torch.cat([*features, text] if self.config.joint else features)

    def _fuse(self, infrared: Tensor, descriptions: Sequence[str], captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """The text feature and the fused one, B×D each, in the infrared feature's type."""
        assert self.text is not None
        if self.config.fusion == "add":
            text = self.text(descriptions).to(infrared.dtype)
            return text, infrared + text
        text, shown = self.text([*descriptions, *captions]).to(infrared.dtype).chunk(2)
        return text, infrared + text - shown

    def _kept(self, batch: Batch) -> Tensor:
        """Rows of the images that the text terms see as they are."""
        return (torch.ones_like(batch.infrared) if self.config.joint else batch.visible).nonzero()[:, 0]

    def _classify(self, embedding: Tensor) -> Tensor:
        with torch.autocast(device_type=embedding.device.type, enabled=False):
            result: Tensor = self.classifier(embedding.to(self.classifier.weight.dtype))
            return result

    def _neck_at_rest(self, pooled: Tensor) -> Tensor:
        """The batch norm, whose running statistics another set moves."""
        if not self.neck.training:
            result: Tensor = self.neck(pooled)
            return result
        return nn.functional.batch_norm(
            pooled, None, None, self.neck.weight, self.neck.bias, training=True, eps=self.neck.eps
        )

    def _triplet(self, features: Tensor, labels: Tensor) -> Tensor:
        released = self.config.triplet == "released"
        return weighted_triplet(
            euclidean(features),
            labels,
            self_positive=released,
            null_weight=RELEASED_NULL_WEIGHT if released else 0.0,
        )


def _pairs(batch: Batch) -> tuple[Tensor, Tensor]:
    """Rows of visible images (first view), whose captions are t_rgb, and of the infrared images that they describe."""
    first = (batch.view == 0).nonzero()[:, 0]
    pairs = pair_rows(batch.labels.index_select(0, first), batch.infrared.index_select(0, first))
    visible, infrared = first.index_select(0, pairs.order).chunk(2)
    return visible, infrared
