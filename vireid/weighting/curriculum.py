"""Curriculum: some loss terms, and the strength of augmentation, rise from nothing in the course of training.

A curriculum is built as ``Class(config, epochs)`` with the recipe's number of epochs. What it gives is a function of
the epoch alone, so a resumed run needs no state of it.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol, TypeVar

from torch import Tensor, nn

from vireid.core.errors import UserError
from vireid.core.registry import Configured
from vireid.core.types import Model
from vireid.weighting.base import BaseWeighting
from vireid.weighting.config import OffConfig, RampConfig
from vireid.weighting.patterns import fitting

T = TypeVar("T")
C = TypeVar("C")


class Curriculum(Protocol):
    """The contract of a registered curriculum."""

    version: ClassVar[str]

    def strength(self, epoch: int) -> float:
        """Strength of augmentation (0…1) in ``epoch``, counted from 0."""
        ...

    def wrap(self, weighting: nn.Module) -> nn.Module:
        """The weighting to train with."""
        ...


class _OverEpochs(Configured[C]):
    """What curricula are built from."""

    def __init__(self, config: C, epochs: int) -> None:
        super().__init__(config)
        self.epochs = epochs


class NoCurriculum(_OverEpochs[OffConfig]):
    """Full strength and plain weights from the first epoch on."""

    Config = OffConfig

    def strength(self, epoch: int) -> float:  # noqa: ARG002
        """Always 1."""
        return 1.0

    def wrap(self, weighting: nn.Module) -> nn.Module:
        """The weighting itself."""
        return weighting


class RampCurriculum(_OverEpochs[RampConfig]):
    """A linear rise f(e) = (e/E − start)/(end − start), kept within 0…1, in epoch e = 0…E−1 of E.

    The effective weight of a ramped term is f times what the weighting makes of it: a weighting that learns would undo
    a ramp of the base weights. While f is 0 the terms are left out altogether, as in a stage that does not name them.
    """

    Config = RampConfig

    def factor(self, epoch: int) -> float:
        """How far the rise has come in ``epoch``, counted from 0."""
        rise = (epoch / self.epochs - self.config.start) / (self.config.end - self.config.start)
        return min(max(rise, 0.0), 1.0)

    def strength(self, epoch: int) -> float:
        """The factor where the augmentation rises too, else 1."""
        return self.factor(epoch) if self.config.augmentation else 1.0

    def wrap(self, weighting: nn.Module) -> nn.Module:
        """``weighting`` with f on the ramped terms.

        Raises:
            UserError: no glob fits a term, every term would start from nothing, or the weighting does not say what
                each term adds.
        """
        if not isinstance(weighting, BaseWeighting):
            raise UserError(
                f"curriculum ramp: {type(weighting).__name__} does not derive from vireid.weighting.base.BaseWeighting"
            )
        fits = fitting(self.config.terms, weighting.names, "curriculum.terms", every=False)
        ramped = {name for name, fit in zip(weighting.names, fits, strict=True) if fit}
        if len(ramped) == len(weighting.names):
            raise UserError("curriculum.terms: every loss term would start from nothing; leave some out")
        return RampedWeighting(weighting, ramped, self.factor) if ramped else weighting


class RampedWeighting(nn.Module):
    """A weighting whose ``ramped`` terms count ``factor(epoch)`` times; the weights it gives are the effective ones."""

    def __init__(self, inner: BaseWeighting, ramped: set[str], factor: Callable[[int], float]) -> None:
        super().__init__()
        self.inner = inner
        self._ramped = ramped
        self._factor_of = factor
        self._factor = factor(0)
        self._factors: dict[tuple[str, ...], Tensor] = {}

    def forward(self, terms: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """As ``BaseWeighting.forward``.

        Raises:
            UserError: all of ``terms`` are still at nothing.
        """
        active = self._active(terms)
        if not active:
            raise UserError(f"curriculum.terms: all terms of this stage ({', '.join(terms)}) are still at weight 0")
        weighted, weights = self.inner.weigh(active)
        names = tuple(active)
        if names not in self._factors:
            values = [self._factor if name in self._ramped else 1.0 for name in names]
            self._factors[names] = weights.new_tensor(values)
        factors = self._factors[names]
        effective = dict(zip(active, (weights.detach() * factors).unbind(), strict=True))
        return (weighted * factors).sum(), {name: effective.get(name, weights.new_zeros(())) for name in terms}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The inner weighting's."""
        return self.inner.parameter_groups()

    def begin(self, model: Model, scale_loss: Callable[[Tensor], Tensor]) -> None:
        """See ``BaseWeighting``."""
        self.inner.begin(model, scale_loss)

    def begin_epoch(self, epoch: int) -> None:
        """Set the epoch's factor."""
        self._factor = self._factor_of(epoch)
        self._factors.clear()
        self.inner.begin_epoch(epoch)

    def end_step(self) -> None:
        """See ``BaseWeighting``."""
        self.inner.end_step()

    def end_epoch(self, mean_terms: Mapping[str, float]) -> None:
        """Let the inner weighting learn from the terms that it has weighed."""
        self.inner.end_epoch(self._active(mean_terms))

    def at_bound(self) -> list[str]:
        """The inner weighting's."""
        return self.inner.at_bound()

    def _active(self, terms: Mapping[str, T]) -> dict[str, T]:
        return {name: value for name, value in terms.items() if self._factor > 0 or name not in self._ramped}
