"""What may be set of every weighting and curriculum. Imports no torch."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from vireid.core.config import Component


class FixedConfig(Component):
    """Nothing to set: the weights are the model's."""

    name: Literal["fixed"] = "fixed"


class Adapting(Component):
    """A weighting that learns the weights of some terms."""

    adapt: list[str] = Field(default=["*"], min_length=1)
    """Globs over term names; the others keep their base weight."""


class UncertaintyConfig(Adapting):
    """Which terms adapt, how fast, and how far."""

    name: Literal["uncertainty"] = "uncertainty"
    lr_scale: float = Field(default=1.0, gt=0)
    """Learning rate of s relative to the recipe's."""
    bound: float = Field(default=5.0, gt=0)
    """|s| stays within; a weight stays within e^±bound of its base."""


class DWAConfig(Adapting):
    """Which terms adapt, and how evenly weight is shared."""

    name: Literal["dwa"] = "dwa"
    temperature: float = Field(default=2.0, gt=0)
    """The larger, the more even."""


class GradNormConfig(Adapting):
    """Which terms adapt, towards what, and how fast."""

    model_methods: ClassVar[tuple[str, ...]] = ("shared_parameters",)  # of a model, which it cannot do without

    name: Literal["gradnorm"] = "gradnorm"
    alpha: float = Field(default=1.5, ge=0)
    """0: equal gradient norms; the larger, the more a slow term pulls."""
    lr: float = Field(default=0.025, gt=0)
    """Of Adam on w, whatever the recipe's optimiser and schedule."""
    initial: Literal["first", "highest"] = "first"
    """What L(0) is: a term's first positive value, as in the paper, or the highest so far.

    A term that starts near 0 and grows (a distillation between untrained branches) would with ``first`` look thousands
    of times slower than the others and take all of the weight.
    """
    minimum: float = Field(default=0.01, gt=0, lt=1)
    """W is raised to this before it is renormalised."""
    every: int = Field(default=1, ge=1)
    """Batches of an epoch per measurement."""


class OffConfig(Component):
    """Nothing to choose."""

    name: Literal["off"] = "off"


class RampConfig(Component):
    """What rises, and when. Times are shares of all epochs, so that one setting fits recipes of any length."""

    name: Literal["ramp"] = "ramp"
    terms: list[str] = ["tgsa_*", "csa1_*", "csa2_*", "guidance_kl", "fork_attention"]
    """Globs over term names; the default names IDKL's distillation terms.

    Globs that fit no active term are passed over as long as one fits: cells of a study may have some terms switched
    off.
    """
    start: float = Field(default=0.0, ge=0, lt=1)
    """Up to here nothing of them."""
    end: float = Field(default=0.5, gt=0, le=1)
    """From here on all of them."""
    augmentation: bool = True
    """Whether the strength of augmentation rises likewise."""

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if self.end <= self.start:
            raise ValueError(f"start {self.start:g} must lie before end {self.end:g}, both as shares of all epochs")
        if not self.terms and not self.augmentation:
            raise ValueError("nothing would rise: give terms or augmentation: true, or use curriculum=off")
        return self
