"""IDKL: implicit discriminative knowledge learning (Ren & Zhang, CVPR 2024, arXiv 2403.11708).

A ResNet whose layers 3 and 4 exist twice: the shared branch learns features without modality, the specific branch
features with it; what of the specific ones is discriminative is purified and distilled into the shared ones. Only the
shared branch is deployed. Toggles of the "optimized" fork (code quocnhut134/IDKL): IBN and attention, see
``vireid.models.idkl_config``.
"""

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vireid.core.types import Batch, ModelOutput
from vireid.losses.csa import csa1, csa2
from vireid.losses.identity import cross_entropy
from vireid.losses.modality import modality_labels, pseudo_modality_labels
from vireid.losses.numeric import euclidean, kl2
from vireid.losses.pairs import Pairs, pair_rows
from vireid.losses.pull import feature_pull
from vireid.losses.purifier import centroid_gaps, purifier_centroid, purifier_entropy
from vireid.losses.tgsa import tgsa_inter, tgsa_intra
from vireid.losses.triplet import batch_hard_triplet
from vireid.models.attention import CrossAttention, ForkAttention, SelfAttention
from vireid.models.base import ParameterRole, ReIDModel
from vireid.models.heads import Discriminator, GeM, bn_neck, classifier
from vireid.models.idkl_config import SPECIFIC_TERMS, IDKLConfig
from vireid.models.pretrained import load_trunk
from vireid.models.purifier import SpecificBranch
from vireid.models.resnet import Branch, Stem, match_memory
from vireid.models.trunk import TrunkSpec

# Names of the logits that a term reads: a head exists only where an active term trains it.
LOGITS_OF: dict[str, tuple[str, ...]] = {
    "id_shared": ("shared",),
    "id_specific": ("specific",),
    "modality": ("modality",),
    "pseudo_modality": ("pseudo_modality",),
    "purifier": ("raw", "purified"),
    "csa1_intra": ("shared",),
    "csa1_inter": ("shared", "specific"),
    "csa2_intra": ("shared",),
    "csa2_inter": ("shared", "specific"),
    "guidance_id": ("guided",),
    "guidance_kl": ("shared", "guided"),
}


def idkl_terms(
    names: Iterable[str], output: ModelOutput, pairs: Pairs, config: IDKLConfig, num_classes: int
) -> dict[str, Tensor]:
    """Compute the named terms; what several of them need (distances, aligned rows) is computed once.

    Args:
        names: of the terms.
        output: of ``IDKL.forward``, rows in batch order.
        pairs: alignment of the batch's rows.
        config: what the terms depend on beside their weights.
        num_classes: identities in training.
    """
    labels = torch.cat([pairs.labels, pairs.labels])
    per_identity = pairs.per_identity
    two_way_smoothing = 0.0 if config.smooth_discriminators == "none" else config.label_smoothing
    two_way_spread = num_classes if config.smooth_discriminators == "identities" else None

    @cache
    def logits(name: str) -> Tensor:
        return pairs.align(output.logits[name])

    @cache
    def halves(name: str) -> tuple[Tensor, Tensor]:
        visible, infrared = logits(name).chunk(2)
        return visible, infrared

    @cache
    def distances(name: str) -> Tensor:
        return euclidean(pairs.align(output.features[name]))

    def gaps(name: str) -> Tensor:
        visible, infrared = pairs.align(output.features[name]).chunk(2)
        return centroid_gaps(visible, infrared, per_identity)

    def identity(name: str) -> Tensor:
        return cross_entropy(logits(name), labels, config.label_smoothing)

    def discriminator(name: str, modality: Tensor) -> Tensor:
        return cross_entropy(logits(name), modality, two_way_smoothing, two_way_spread)

    def triplet(name: str) -> Tensor:
        return batch_hard_triplet(distances(name), labels, config.margin)

    def total(losses: dict[str, Tensor]) -> Tensor:
        return torch.stack(list(losses.values())).sum()

    def purifier() -> Tensor:
        uncertainty = purifier_entropy(logits("raw"), logits("purified"))
        return uncertainty + purifier_centroid(gaps("normed"), gaps("normed_purified"))

    def csa1_inter() -> Tensor:
        return csa1(halves("shared")[0], halves("specific")[0]) + csa1(halves("shared")[1], halves("specific")[1])

    def csa2_inter() -> Tensor:
        (shared_v, shared_i), (specific_v, specific_i) = halves("shared"), halves("specific")
        return csa2(shared_v, specific_v, per_identity) + csa2(shared_i, specific_i, per_identity)

    table: dict[str, Callable[[], Tensor]] = {
        "id_shared": lambda: identity("shared"),
        "id_specific": lambda: identity("specific"),
        "triplet_shared": lambda: triplet("shared"),
        "triplet_specific": lambda: triplet("specific"),
        "modality": lambda: discriminator("modality", modality_labels(pairs)),
        "pseudo_modality": lambda: discriminator(
            "pseudo_modality", pseudo_modality_labels(pairs, config.pseudo_labels)
        ),
        "purifier": purifier,
        "tgsa_intra": lambda: total(tgsa_intra(distances("shared"), config.tgsa_cross)),
        "tgsa_inter": lambda: total(tgsa_inter(distances("shared"), distances("specific"))),
        "csa1_intra": lambda: csa1(*halves("shared")),
        "csa1_inter": csa1_inter,
        "csa2_intra": lambda: csa2(*halves("shared"), per_identity),
        "csa2_inter": csa2_inter,
        "guidance_id": lambda: identity("guided"),
        "guidance_kl": lambda: kl2(logits("shared"), logits("guided")),
        "fork_attention": lambda: feature_pull(output.features["shared"], output.features["fork_target"]),
    }
    return {name: table[name]() for name in names}


class Embedder(nn.Module):
    """Images to embeddings through one branch; methods with more branches start the others from ``stem``.

    Args:
        spec: shape of the trunk.
        gem_p: exponent of the pooling.
        gem_learnable: train the exponent.
        refine_heads: heads of a spatial self-attention on the final map; without it when None.
    """

    def __init__(self, spec: TrunkSpec, gem_p: float, gem_learnable: bool, refine_heads: int | None = None) -> None:
        super().__init__()
        self.stem = Stem(spec)
        self.branch = Branch(spec)
        self.pool = GeM(gem_p, gem_learnable)
        self.neck = bn_neck(spec.features)
        self.refine = None if refine_heads is None else SelfAttention(spec.features, refine_heads)

    def forward(self, images: Tensor) -> Tensor:
        """B×3×H×W → B×D, after the neck and not L2-normalised."""
        return self.head(self.final_map(self.common(images)))[1]

    def common(self, images: Tensor) -> Tensor:
        """Map after layer 2: B×3×H×W → B×C₂×H/8×W/8."""
        result: Tensor = self.stem(match_memory(self.stem, images))
        return result

    def final_map(self, common: Tensor) -> Tensor:
        """The map that is pooled, refined where attention is on: B×C₂×H/8×W/8 → B×D×h×w."""
        result: Tensor = self.branch(common)
        return result if self.refine is None else self.refine(result)

    def head(self, feature_map: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled feature and the same after the neck: B×D×h×w → two of B×D."""
        pooled: Tensor = self.pool(feature_map)
        return pooled, self.neck(pooled.to(self.neck.weight.dtype))


__all__ = ["IDKL", "IDKLConfig"]

_HEAD_OF = {
    "raw": "purifier",
    "purified": "purifier",
}  # one classifier judges both; every other head is named as its logits


class IDKL(ReIDModel, nn.Module):
    """The network and its loss terms.

    Parts exist only where an active loss term trains them, so that no parameter is dead (but for ``mha=fork``, whose
    attention is dead by nature): with the weights of all specific terms at 0 this is a plain shared ResNet baseline.
    """

    Config: ClassVar[type[IDKLConfig]] = IDKLConfig

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

    def forward(self, batch: Batch) -> ModelOutput:
        """Run all branches.

        Features: ``shared`` and ``specific`` pooled, before their necks; ``embedding``, the shared one after its neck;
        ``normed`` and ``normed_purified`` for the purifier; ``fork_target``, what the fork's attention makes of
        ``specific``. Maps: ``shared`` and ``specific`` (purified). The names of
        the logits are those of ``vireid.models.idkl.LOGITS_OF``. Pooling, necks and heads compute in float32.
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

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The trunk and the rest, both at the recipe's learning rate as released."""
        trunk = ("embedder.stem.", "embedder.branch.", "specific.branch.")
        return self.grouped(("trunk", trunk, 1.0), ("heads", ("",), 1.0))

    def parameter_roles(self) -> dict[str, ParameterRole]:
        """As ``ReIDModel``; dead are those of the fork's attention, which nothing trains."""
        dead: dict[str, ParameterRole] = {
            name: "dead" for name, _ in self.named_parameters() if name.startswith("fork_attention.")
        }
        return super().parameter_roles() | dead

    def shared_parameters(self) -> list[nn.Parameter]:
        """Those of the last block before the branches part, for weightings by gradient norms."""
        return list(self.embedder.stem.layer2[-1].parameters())
