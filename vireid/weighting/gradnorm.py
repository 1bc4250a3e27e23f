"""Gradient normalisation (Chen, Badrinarayanan, Lee and Rabinovich, ICML 2018, algorithm 1)."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from vireid.core.distributed import mean_over_processes
from vireid.core.errors import UserError
from vireid.core.types import Model, SharesParameters
from vireid.weighting.base import BaseWeighting
from vireid.weighting.config import GradNormConfig

BETAS, EPS = (0.9, 0.999), 1e-8  # Adam's own


class GradNormWeighting(BaseWeighting):
    """L = Σ bᵢ·wᵢ·Lᵢ with base weights b and learned w that bring gradient norms to a common scale.

    Gᵢ = ‖∇_W bᵢ·wᵢ·Lᵢ‖₂ over the model's shared parameters W (its method ``shared_parameters``), Ḡ is their mean,
    L̃ᵢ = Lᵢ/Lᵢ(0) and rᵢ = L̃ᵢ/mean(L̃). After every optimiser step w moves down the gradient of Σ|Gᵢ − Ḡ·rᵢ^α| with
    the targets held constant, and is rescaled so that the w of the terms that took part add up to their number. Where
    all targets can be met at once (α = 0 or 1, as their mean is then Ḡ) w rests where Gᵢ = Ḡ·rᵢ^α, whatever the base
    weights: these decide the start and the common scale.

    Lᵢ(0) is as ``initial`` says, from the first measured batch on; a negative loss counts as 0 there. With
    accumulation the gradient on w is the mean over the batches of the step. A term takes no part in a batch, and keeps
    its w, where it is absent (another stage's), has base weight 0, fits no ``adapt`` glob, or reaches no shared
    parameter (as none does while a stage freezes W). A batch in which a norm overflows (fp16) counts for nothing.

    **Cost.** A measured batch runs one more backward pass per adapting term, from the term down to W: through the
    branches' activations, without the gradients of their weights. ``every`` spreads that over several batches.
    """

    Config = GradNormConfig
    config: GradNormConfig
    adapting: Tensor  # N, bool
    scale: Tensor  # N, w
    initial: Tensor  # N, L(0); NaN before
    gradient: Tensor  # N, summed over the batches measured since the last step
    measured: Tensor  # N, number of these batches
    first: Tensor  # N, Adam's moments and step counts
    second: Tensor
    steps: Tensor

    def __init__(self, config: GradNormConfig, base_weights: Mapping[str, float]) -> None:
        super().__init__(config, base_weights)
        adapting = self._matching(config.adapt)
        self.register_buffer("adapting", adapting)
        self._adapting_names = {name for name, adapts in zip(self.names, adapting.tolist(), strict=True) if adapts}
        for name, value in (("scale", 1.0), ("initial", float("nan"))):
            self.register_buffer(name, torch.full((len(self.names),), value))
        for name in ("gradient", "measured", "first", "second", "steps"):
            self.register_buffer(name, torch.zeros(len(self.names)))
        self._shared: list[nn.Parameter] = []
        self._scale_loss: Callable[[Tensor], Tensor] = lambda loss: loss
        self._batch = 0  # of the epoch
        self._raised = torch.zeros(len(self.names), dtype=torch.bool)

    def begin(self, model: Model, scale_loss: Callable[[Tensor], Tensor]) -> None:
        """Take the shared parameters from ``model``.

        Raises:
            UserError: it names none.
        """
        self._shared = list(model.shared_parameters()) if isinstance(model, SharesParameters) else []
        self._scale_loss = scale_loss
        if not self._shared:
            raise UserError(
                f"weighting gradnorm: {type(model).__name__} does not say which parameters its loss terms share; give "
                "it a method shared_parameters() that returns those of the last layer before its branches part"
            )

    def begin_epoch(self, epoch: int) -> None:  # noqa: ARG002
        """Count batches from here."""
        self._batch = 0

    def weigh(self, terms: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """See ``BaseWeighting.weigh``; in training also measures the gradient on w."""
        if self._shared and torch.is_grad_enabled():
            if self._batch % self.config.every == 0:
                self._measure({name: loss for name, loss in terms.items() if name in self._adapting_names})
            self._batch += 1
        return super().weigh(terms)

    def _weigh(self, losses: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        weights = (self.base * self.scale)[rows]
        return weights * losses, weights

    def end_step(self) -> None:
        """One step of Adam on w, then renormalisation."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(self.gradient)  # sums, as ``measured``: all processes keep the same w
            torch.distributed.all_reduce(self.measured)
        moving = self.measured > 0
        gradient = self.gradient / self.measured.clamp(min=1)
        self.steps += moving
        for moment, value, beta in ((self.first, gradient, BETAS[0]), (self.second, gradient**2, BETAS[1])):
            moment.copy_(torch.where(moving, torch.lerp(value, moment, beta), moment))
        count = self.steps.clamp(min=1)
        mean, spread = self.first / (1 - BETAS[0] ** count), self.second / (1 - BETAS[1] ** count)
        moved = self.scale - self.config.lr * mean / (spread.sqrt() + EPS)
        self._raised = moving & (moved <= self.config.minimum)
        moved = torch.where(moving, moved.clamp(min=self.config.minimum), 0.0)
        moved = moved * (moving.sum() / moved.sum().clamp(min=self.config.minimum))
        self.scale.copy_(torch.where(moving, moved, self.scale))
        self.gradient.zero_()
        self.measured.zero_()

    def at_bound(self) -> list[str]:
        """Terms whose w was raised to ``minimum`` in the last step."""
        return [name for name, raised in zip(self.names, self._raised.tolist(), strict=True) if raised]

    def _measure(self, terms: Mapping[str, Tensor]) -> None:
        """Add this batch's gradient of Σ|Gᵢ − Ḡ·rᵢ^α| with respect to w."""
        shared = [parameter for parameter in self._shared if parameter.requires_grad]
        reached, norms = {}, []
        factor = self._scale_loss(torch.ones_like(self.base[0]))
        for name, loss in terms.items() if shared else ():
            if not loss.requires_grad:
                continue
            gradients = torch.autograd.grad(loss * factor, shared, retain_graph=True, allow_unused=True)
            present = [gradient.float() for gradient in gradients if gradient is not None]
            if present:
                present = list(mean_over_processes(present))  # each process has that of its own rows
                reached[name] = loss.detach().float()
                norms.append(torch.nn.utils.get_total_norm(present) / factor)
        if not reached:
            return
        rows, losses = self._rows_of(tuple(reached)), torch.stack(list(reached.values()))
        initial = self.initial[rows]
        keep = initial > (losses if self.config.initial == "highest" else 0)  # false for NaN
        initial = torch.where(keep, initial, losses)
        self.initial[rows] = initial
        ratio = torch.where(initial > 0, losses.clamp(min=0) / initial, 1.0)
        rate = torch.where(ratio.sum() > 0, ratio / ratio.mean(), 1.0)
        slope = self.base[rows] * torch.stack(norms)  # of G in w
        norm = self.scale[rows] * slope
        gradient = torch.sign(norm - norm.mean() * rate**self.config.alpha) * slope
        usable = gradient.isfinite().all()
        self.gradient[rows] += torch.where(usable, gradient, 0.0)
        self.measured[rows] += usable.float()
