"""Configuration of IDKL: the trunk, the toggles of the fork, and what the released codes do otherwise than meant."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from vireid.losses.choices import PseudoLabels
from vireid.models.base import SharedWeights, TrunkConfig
from vireid.models.trunk import IBNKind, TrunkSpec

ClassifierInit = Literal["normal", "uniform"]
MHAKind = Literal["none", "guidance", "refine", "fork"]
DiscriminatorSmoothing = Literal["none", "two_way", "identities"]

# Queries, keys and values of the spatial attentions have D / REDUCTION channels.
REDUCTION = 4

# Ren & Zhang, CVPR 2024, as released for a batch of 120; here they hold for every batch size.
RELEASED_WEIGHTS: dict[str, float] = {
    "id_shared": 1.0,
    "id_specific": 1.0,
    "triplet_shared": 1.0,
    "triplet_specific": 1.0,
    "modality": 1.0,
    "pseudo_modality": 1.0,
    "purifier": 0.1,
    "tgsa_intra": 1.0,
    "tgsa_inter": 0.6,
    "csa1_intra": 1.0,
    "csa1_inter": 0.8,
    "csa2_intra": 1.0,
    "csa2_inter": 0.8,
}
# Terms that a level of ``mha`` adds. The identity term of the attended feature counts as every other identity term; the
# pull of the plain shared logits towards the attended ones has the weight that the fork gives to its attention term.
MHA_WEIGHTS: dict[MHAKind, dict[str, float]] = {
    "none": {},
    "guidance": {"guidance_id": 1.0, "guidance_kl": 0.2},
    "refine": {},
    "fork": {"fork_attention": 0.2},
}
_SPECIFIC_ONLY = frozenset({"id_specific", "triplet_specific", "modality", "purifier"})
# Terms whose gradient reaches the specific branch; fork_attention reads its feature and trains nothing of it.
SPECIFIC_TERMS = _SPECIFIC_ONLY | {"tgsa_inter", "csa1_inter", "csa2_inter"} | frozenset(MHA_WEIGHTS["guidance"])


class IDKLConfig(TrunkConfig):
    """Configuration of IDKL. Defaults are the paper's intent, on ResNet-50."""

    shared_weights: ClassVar[SharedWeights] = {
        "stem": ("embedder.stem",),
        "branch": ("embedder.branch", "specific.branch"),
        "neck": ("embedder.neck", "necks.specific"),
        "identity": ("heads.shared", "heads.specific"),
    }
    identity_head: ClassVar[str | None] = "heads.shared"

    name: str = "idkl"
    ibn: IBNKind = "none"
    """See vireid.models.resnet."""
    mha: MHAKind = "none"
    """What attends to what in the shared map.

    - ``guidance``: its positions attend to the purified specific map; the attended feature has a neck and a classifier
      of its own (term guidance_id), and shared and attended logits are pulled together (guidance_kl).
    - ``refine``: its positions attend to each other before pooling; deployed, so it costs inference.
    - ``fork``: as the fork's code acts, the shared feature is pulled to a fixed random projection of the specific one.
    """
    heads: int = Field(default=2, ge=1)
    """Of the attention; without it they decide nothing."""
    gem_p: float = Field(default=3.0, gt=0)
    gem_learnable: bool = False
    margin: float = Field(default=1.3, ge=0)
    """Of the triplet terms, un-normalised Euclidean."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Of the identity terms."""
    pseudo_labels: PseudoLabels = "balanced"
    """Labels of pseudo_modality.

    ``balanced``; ``released``: the formula of 1KK077/IDKL, which on alternating rows gives these too
    (but for one label where half the batch is odd); ``visible``: what that formula gives in the fork, where the visible
    rows of a batch come first.
    """
    tgsa_cross: bool = True
    """Whether tgsa_intra compares the cross graph X with V and I too, or V with I alone (the release off batch 120)."""
    smooth_discriminators: DiscriminatorSmoothing = "none"
    """Smoothing of the two-way discriminators, at the rate of label_smoothing: identities spreads it over the number of
    identities instead of 2, as the fork does."""
    classifier_init: ClassifierInit = "normal"
    """``normal``: N(0, 0.001²); uniform: PyTorch's own, as in both releases."""
    pretrained_partial: bool = False
    """With ibn=fork: load published weights as the fork does, leaving every norm that they do not name at its start."""

    @model_validator(mode="after")
    def _toggles_are_possible(self) -> Self:
        if self.pretrained_partial and self.ibn != "fork":
            raise ValueError(f"pretrained_partial needs ibn=fork; the weights of ibn={self.ibn} load whole")
        inner = self.trunk.features // (1 if self.mha == "fork" else REDUCTION)
        if self.mha != "none" and inner % self.heads:
            raise ValueError(f"heads {self.heads} does not divide the attention's {inner} channels")
        return self

    @model_validator(mode="after")
    def _shared_branch_is_trained(self) -> Self:
        active = set(self.active_weights())
        if active <= _SPECIFIC_ONLY:
            raise ValueError(
                f"only {', '.join(sorted(active))} have a weight: nothing would train the shared branch, which is "
                "the one deployed; give id_shared or triplet_shared a weight"
            )
        if self.smooth_discriminators != "none" and not self.label_smoothing:
            raise ValueError(f"smooth_discriminators={self.smooth_discriminators} needs a label_smoothing above 0")
        return self

    @model_validator(mode="after")
    def _attention_is_trained(self) -> Self:
        terms, active = MHA_WEIGHTS[self.mha], set(self.active_weights())
        if not terms:
            return self
        if not active & set(terms):
            raise ValueError(f"mha={self.mha} with {' and '.join(terms)} at weight 0 does nothing; set mha=none")
        learns = SPECIFIC_TERMS & RELEASED_WEIGHTS.keys()
        if not active & learns:
            raise ValueError(
                f"mha={self.mha} needs the specific branch, but every loss term that would teach it is off; give one "
                f"of {', '.join(sorted(learns))} a weight, or set mha to none or refine"
            )
        return self

    @property
    def trunk(self) -> TrunkSpec:
        """Shape of the trunk."""
        return TrunkSpec(self.backbone, self.width, self.last_stride, self.ibn)

    def possible_weights(self) -> dict[str, float]:
        """The released terms, and those that the level of ``mha`` adds."""
        return RELEASED_WEIGHTS | MHA_WEIGHTS[self.mha]

    def hint(self, term: str) -> str:
        """The level of ``mha`` that a term needs, else the nearest term."""
        level = next((level for level, terms in MHA_WEIGHTS.items() if term in terms), None)
        return super().hint(term) if level is None else f" needs mha={level}"
