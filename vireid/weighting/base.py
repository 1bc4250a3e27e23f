"""What all weightings share: base weights by term name, and the vector form of a dict of terms."""

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vireid.core.errors import UserError, did_you_mean
from vireid.core.types import Model
from vireid.weighting.patterns import fitting


class BaseWeighting(nn.Module):
    """Turns named unweighted loss terms into one loss.

    A subclass gives ``_weigh``. Whatever it learns lies in parameters and buffers, so that a checkpoint holds it.
    N is the number of terms that the base weights name; n of them may be present in a call (a stage may use fewer).
    """

    Config: ClassVar[type[Any]]
    version: ClassVar[str]
    model_methods: ClassVar[tuple[str, ...]] = ()  # optional methods of a model that this weighting cannot do without
    base: Tensor  # N

    def __init_subclass__(cls, **options: Any) -> None:
        """Take over what the configuration declares."""
        super().__init_subclass__(**options)
        if "Config" in vars(cls):
            cls.version = cls.Config.version
            cls.model_methods = getattr(cls.Config, "model_methods", ())

    def __init__(self, config: Any, base_weights: Mapping[str, float]) -> None:
        """Args: settings, and the weight of every term, as ``Model.default_weights`` gives it.

        Raises:
            UserError: a weight that is negative or not finite.
        """
        super().__init__()
        self.config = config
        for name, weight in base_weights.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise UserError(f"weight of loss term '{name}' is {weight}; give a finite number of at least 0")
        self.names = tuple(base_weights)
        self.register_buffer("base", torch.tensor([float(w) for w in base_weights.values()]))
        self._rows: dict[tuple[tuple[str, ...], torch.device], Tensor] = {}

    def forward(self, terms: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted total (scalar) and the weight of each term (detached scalars).

        Raises:
            UserError: a term without a base weight.
        """
        weighted, weights = self.weigh(terms)
        return weighted.sum(), dict(zip(terms, weights.detach().unbind(), strict=True))

    def weigh(self, terms: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """What each term adds to the total (n), and its weight (n), in the order of ``terms``."""
        losses = torch.stack([value.float() for value in terms.values()])
        return self._weigh(losses, self._rows_of(tuple(terms)))

    def _weigh(self, losses: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """``weigh`` for ``losses`` (n), whose positions among all N terms are ``rows`` (n)."""
        raise NotImplementedError

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Optimiser groups, as a model's; none by default."""
        return []

    def begin(self, model: Model, scale_loss: Callable[[Tensor], Tensor]) -> None:
        """Before training: the model whose terms will come, and what loss scaling makes of a loss. Ignored here."""

    def begin_epoch(self, epoch: int) -> None:
        """Before the first batch of ``epoch`` (from 0); nothing by default."""

    def end_step(self) -> None:
        """After every optimiser step; nothing by default."""

    def end_epoch(self, mean_terms: Mapping[str, float]) -> None:
        """Learn from the epoch's mean unweighted terms; nothing by default."""

    def at_bound(self) -> list[str]:
        """Terms whose learned weight stands at a limit of the weighting; none by default."""
        return []

    def _rows_of(self, names: tuple[str, ...]) -> Tensor:
        key = (names, self.base.device)
        if key not in self._rows:
            for name in names:
                if name not in self.names:
                    raise UserError(f"loss term '{name}' has no weight{did_you_mean(name, self.names)}")
            positions = [self.names.index(name) for name in names]
            self._rows[key] = torch.tensor(positions, device=self.base.device)
        return self._rows[key]

    def _matching(self, patterns: list[str]) -> Tensor:
        """Mask (N) of the terms that fit one of ``patterns`` and whose base weight is above 0.

        Raises:
            UserError: a pattern that fits no term.
        """
        fits = fitting(patterns, self.names, "weighting.adapt", every=True)
        return torch.tensor(fits, dtype=torch.bool) & (self.base > 0)
