"""IDKL: implicit discriminative knowledge learning (Ren & Zhang, CVPR 2024, arXiv 2403.11708).

A ResNet whose layers 3 and 4 exist twice: the shared branch learns features without modality, the specific branch
features with it; what of the specific ones is discriminative is purified and distilled into the shared ones. Only the
shared branch is deployed. Toggles of the "optimized" fork (code quocnhut134/IDKL): IBN and attention, see
``vireid.models.idkl_config``.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from vireid.core.types import Batch, Modality, ModelOutput
from vireid.losses.pairs import pair_rows
from vireid.models.attention import CrossAttention, ForkAttention
from vireid.models.embedder import Embedder
from vireid.models.heads import Discriminator, bn_neck, classifier
from vireid.models.idkl_config import SPECIFIC_TERMS, IDKLConfig
from vireid.models.idkl_terms import LOGITS_OF, idkl_terms
from vireid.models.parts import Parts
from vireid.models.pretrained import load_trunk
from vireid.models.purifier import SpecificBranch

__all__ = ["IDKL", "IDKLConfig"]

ParameterRole = Literal["deployed", "training_only", "dead"]
_ROLE_OF: dict[str, ParameterRole] = {"embedder": "deployed", "fork_attention": "dead"}
_HEAD_OF = {
    "raw": "purifier",
    "purified": "purifier",
}  # one classifier judges both; every other head is named as its logits


class IDKL(nn.Module):
    """The network and its loss terms.

    Parts exist only where an active loss term trains them, so that no parameter is dead (but for ``mha=fork``, whose
    attention is dead by nature): with the weights of all specific terms at 0 this is a plain shared ResNet baseline.
    """

    Config: ClassVar[type[IDKLConfig]] = IDKLConfig
    version: ClassVar[str] = IDKLConfig.version
    parts: ClassVar[Parts] = {
        "stem": ("embedder.stem",),
        "branch": ("embedder.branch", "specific.branch"),
        "neck": ("embedder.neck", "necks.specific"),
        "identity": ("heads.shared", "heads.specific"),
    }

    def __init__(self, config: IDKLConfig, num_classes: int) -> None:
        super().__init__()
        self.config = config
        self._num_classes = num_classes
        self._weights = config.active_weights()
        spec = config.trunk
        width = spec.features
        logits = {name for term in self._weights for name in LOGITS_OF.get(term, ())}
        refine_heads = config.heads if config.mha == "refine" else None
        self.embedder = Embedder(spec, config.gem_p, config.gem_learnable, refine_heads)
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
            self.heads[name] = (
                Discriminator(width) if is_discriminator else classifier(width, num_classes, config.classifier_init)
            )
        self.fork_attention = ForkAttention(width, config.heads) if config.mha == "fork" else None
        if config.pretrained is not None:
            branches = [self.embedder.branch] + ([] if self.specific is None else [self.specific.branch])
            load_trunk(
                config.pretrained, self.embedder.stem, branches, ibn=config.ibn, partial=config.pretrained_partial
            )

    def default_weights(self) -> dict[str, float]:
        """Weight of every active loss term."""
        return dict(self._weights)

    def forward(self, batch: Batch) -> ModelOutput:
        """Run all branches.

        Features: ``shared`` and ``specific`` pooled, before their necks; ``embedding``, the shared one after its neck;
        ``normed`` and ``normed_purified`` for the purifier; ``fork_target``, what the fork's attention makes of
        ``specific``. Maps: ``shared`` and ``specific`` (purified). The names of
        the logits are those of ``vireid.models.idkl_terms.LOGITS_OF``. Pooling, necks and heads compute in float32.
        """
        common = self.embedder.common(batch.images)
        shared = self.embedder.final_map(common)
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
            if self.fork_attention is not None:
                output.features["fork_target"] = self.fork_attention(output.features["specific"])
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
            pairs = pair_rows(batch.labels, batch.infrared)
            return idkl_terms(self._weights, output, pairs, self.config, self._num_classes)

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
        """Role of every parameter in the cost table; dead are those of the fork's attention, which nothing trains."""
        return {name: _ROLE_OF.get(name.partition(".")[0], "training_only") for name, _ in self.named_parameters()}

    def shared_parameters(self) -> list[nn.Parameter]:
        """Those of the last block before the branches part, for weightings by gradient norms."""
        return list(self.embedder.stem.layer2[-1].parameters())

    def end_epoch(self) -> None:
        """Nothing to update: IDKL keeps no state between epochs."""

    def deployable(self, modality: Modality) -> Embedder:  # noqa: ARG002 - one branch serves both modalities
        """Independent copy of the shared branch, in evaluation mode."""
        return deepcopy(self.embedder).eval()
