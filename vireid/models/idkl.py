"""IDKL: implicit discriminative knowledge learning (Ren & Zhang, CVPR 2024, arXiv 2403.11708).

A ResNet whose layers 3 and 4 exist twice: the shared branch learns features without modality, the specific branch
features with it; what of the specific ones is discriminative is purified and distilled into the shared ones. Only the
shared branch is deployed. Toggles of the "optimized" fork: IBN, and attention as guidance of the shared branch.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from vireid.core.config import Component
from vireid.core.errors import did_you_mean
from vireid.core.types import Batch, Modality, ModelOutput
from vireid.losses.pairs import pair_rows
from vireid.models.attention import CrossAttention
from vireid.models.embedder import Embedder
from vireid.models.heads import Discriminator, bn_neck, classifier
from vireid.models.idkl_terms import GUIDANCE_WEIGHTS, LOGITS_OF, RELEASED_WEIGHTS, SPECIFIC_TERMS, idkl_terms
from vireid.models.pretrained import load_trunk
from vireid.models.purifier import SpecificBranch
from vireid.models.resnet import Depth, IBNKind, TrunkSpec

ParameterRole = Literal["deployed", "training_only", "dead"]
_HEAD_OF = {
    "raw": "purifier",
    "purified": "purifier",
}  # one classifier judges both; every other head is named as its logits


class IDKLConfig(Component):
    """Configuration of IDKL. Defaults are the paper's, on ResNet-50."""

    name: str = "idkl"
    backbone: Depth = "resnet50"
    width: float = Field(default=1.0, gt=0, le=4)  # scales every channel count of the trunk
    last_stride: Literal[1, 2] = 1
    ibn: IBNKind = "none"
    # guidance: positions of the shared map attend to the purified specific map; the attended feature has a neck and a
    # classifier of its own (term guidance_id), and shared and attended logits are pulled together (guidance_kl).
    mha: Literal["none", "guidance"] = "none"
    heads: int = Field(default=2, ge=1)  # of the attention; without it they decide nothing
    gem_p: float = Field(default=3.0, gt=0)
    gem_learnable: bool = False
    margin: float = Field(default=1.3, ge=0)  # of the triplet terms, un-normalised Euclidean
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)  # of the identity terms
    weights: dict[str, float] = {}  # replaces single weights of the loss terms; 0 switches a term and its parts off
    pretrained: Path | None = None  # ImageNet weights of the trunk, torchvision's or IBN-Net's

    @model_validator(mode="after")
    def _consistent(self) -> IDKLConfig:
        channels = 64 * self.width
        if channels != int(channels) or int(channels) % 8:
            raise ValueError(f"width {self.width} gives {channels:g} channels in the stem; 64·width must divide by 8")
        inner = self.trunk.features // 4
        if self.mha != "none" and inner % self.heads:
            raise ValueError(f"heads {self.heads} does not divide the attention's {inner} channels")
        valid = RELEASED_WEIGHTS | (GUIDANCE_WEIGHTS if self.mha == "guidance" else {})
        for term, weight in self.weights.items():
            if term not in valid:
                needs = " needs mha=guidance" if term in GUIDANCE_WEIGHTS else did_you_mean(term, valid)
                raise ValueError(f"unknown loss term '{term}' in weights{needs}")
            if weight < 0:
                raise ValueError(f"the weight of '{term}' is {weight}; weights are not negative")
        if not self.active_weights():
            raise ValueError("every loss weight is 0: nothing would be trained")
        return self

    @property
    def trunk(self) -> TrunkSpec:
        """Shape of the trunk."""
        return TrunkSpec(self.backbone, self.width, self.last_stride, self.ibn)

    def active_weights(self) -> dict[str, float]:
        """Weight of every loss term that is on, in the order of the method's description."""
        weights = RELEASED_WEIGHTS | (GUIDANCE_WEIGHTS if self.mha == "guidance" else {}) | self.weights
        return {term: weight for term, weight in weights.items() if weight > 0}


class IDKL(nn.Module):
    """The network and its loss terms.

    Parts exist only where an active loss term trains them, so that no parameter is dead: with the weights of all
    specific terms at 0 this is a plain shared ResNet baseline.
    """

    Config: ClassVar[type[IDKLConfig]] = IDKLConfig
    version: ClassVar[str] = "1"

    def __init__(self, config: IDKLConfig, num_classes: int) -> None:
        super().__init__()
        self.config = config
        self._weights = config.active_weights()
        spec = config.trunk
        width = spec.features
        logits = {name for term in self._weights for name in LOGITS_OF.get(term, ())}
        self.embedder = Embedder(spec, config.gem_p, config.gem_learnable)
        self.specific: SpecificBranch | None = None
        if SPECIFIC_TERMS & set(self._weights):
            self.specific = SpecificBranch(spec, config.gem_p, config.gem_learnable)
        self.attention: CrossAttention | None = None
        if "guided" in logits:
            self.attention = CrossAttention(width, config.heads)
        self.necks = nn.ModuleDict()
        if logits & {"specific", "modality"}:
            self.necks["specific"] = bn_neck(width)
        if "guided" in logits:
            self.necks["guided"] = bn_neck(width)
        self.heads = nn.ModuleDict()
        for name in sorted({_HEAD_OF.get(name, name) for name in logits}):
            is_discriminator = name in ("modality", "pseudo_modality")
            self.heads[name] = Discriminator(width) if is_discriminator else classifier(width, num_classes)
        if config.pretrained is not None:
            branches = [self.embedder.branch] + ([] if self.specific is None else [self.specific.branch])
            load_trunk(config.pretrained, self.embedder.stem, branches)

    def default_weights(self) -> dict[str, float]:
        """Weight of every active loss term."""
        return dict(self._weights)

    def forward(self, batch: Batch) -> ModelOutput:
        """Run all branches.

        Features: ``shared`` and ``specific`` pooled, before their necks; ``embedding``, the shared one after its neck;
        ``normed`` and ``normed_purified`` for the purifier. Maps: ``shared`` and ``specific`` (purified). The names of
        the logits are those of ``vireid.models.idkl_terms.LOGITS_OF``. Pooling, necks and heads compute in float32.
        """
        common = self.embedder.common(batch.images)
        shared = self.embedder.branch(common)
        pooled, embedding = self.embedder.head(shared)
        output = ModelOutput({"shared": pooled, "embedding": embedding}, {}, {"shared": shared})
        inputs = {"shared": embedding, "pseudo_modality": embedding}  # of each head
        if self.specific is not None:
            raw, purified = self.specific(common)
            pool = self.specific.pool
            output.maps["specific"] = purified.output
            output.features["specific"] = pool(purified.output)
            if "specific" in self.necks:
                inputs["specific"] = inputs["modality"] = self.necks["specific"](output.features["specific"])
            if "purifier" in self.heads:
                inputs["raw"], inputs["purified"] = pool(raw), pool(purified.purified)
                output.features["normed"] = pool(purified.normed)
                output.features["normed_purified"] = pool(purified.normed_purified)
            if self.attention is not None:
                inputs["guided"] = self.necks["guided"](self.embedder.pool(self.attention(shared, purified.output)))
        with torch.autocast(device_type=shared.device.type, enabled=False):
            for name, feature in inputs.items():
                head = _HEAD_OF.get(name, name)
                if head in self.heads:
                    output.logits[name] = self.heads[head](feature)
        return output

    def loss_terms(self, output: ModelOutput, batch: Batch) -> dict[str, Tensor]:
        """Unweighted terms; the rows of every identity must pair up across modalities.

        Raises:
            UserError: the batch does not hold K/2 images of either modality for every identity.
        """
        with torch.autocast(device_type=batch.labels.device.type, enabled=False):
            return idkl_terms(
                self._weights,
                output,
                pair_rows(batch.labels, batch.infrared),
                margin=self.config.margin,
                label_smoothing=self.config.label_smoothing,
            )

    def embed(self, batch: Batch) -> dict[str, Tensor]:
        """Shared feature after the neck (B×D), in evaluation mode; nothing else of the model runs."""
        return {"embedding": self.embedder(batch.images)}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The trunk and the rest, both at the recipe's learning rate as released."""
        trunk: list[nn.Parameter] = []
        rest: list[nn.Parameter] = []
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                in_trunk = name.startswith(("embedder.stem.", "embedder.branch.", "specific.branch."))
                (trunk if in_trunk else rest).append(parameter)
        return [{"params": trunk, "lr_scale": 1.0, "name": "trunk"}, {"params": rest, "lr_scale": 1.0, "name": "heads"}]

    def parameter_roles(self) -> dict[str, ParameterRole]:
        """Role of every parameter in the cost table. None is dead: parts that no active term trains are not built."""
        return {
            name: "deployed" if name.startswith("embedder.") else "training_only" for name, _ in self.named_parameters()
        }

    def end_epoch(self) -> None:
        """Nothing to update: IDKL keeps no state between epochs."""

    def deployable(self, modality: Modality) -> Embedder:  # noqa: ARG002 - one branch serves both modalities
        """Independent copy of the shared branch, in evaluation mode."""
        return deepcopy(self.embedder).eval()
