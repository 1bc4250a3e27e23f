"""Stages: which parameters learn and which loss terms count, for a stretch of epochs."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from torch import Tensor, nn

from vireid.core.errors import UserError, did_you_mean
from vireid.training.config import StageConfig


class Stages:
    """Applies stages to a model. Parameters that the model itself holds fixed are never switched on."""

    def __init__(self, stages: list[StageConfig], model: nn.Module, terms: Iterable[str]) -> None:
        """Check all stages against the model's parameters and loss ``terms``.

        Raises:
            UserError: a pattern that fits no parameter, or an unknown term.
        """
        self._stages = stages
        self._model = model
        self._learnable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        known = list(terms)
        for position, stage in enumerate(stages):
            where = f"recipe.stages.{position} ('{stage.name}')"
            names = [name for name, _ in model.named_parameters()]
            for pattern in stage.trainable:
                if not any(fnmatchcase(name, pattern) for name in names):
                    parts = {name.partition(".")[0] for name in names}
                    hint = did_you_mean(pattern.partition(".")[0], parts)
                    raise UserError(f"{where}: trainable '{pattern}' fits no parameter of the model{hint}")
            for term in stage.terms or []:
                if term not in known:
                    raise UserError(f"{where}: unknown loss term '{term}'{did_you_mean(term, known)}")

    def enter(self, position: int) -> None:
        """Begin stage ``position``: switch gradients on and off, drop gradients left from before, set modes."""
        patterns = self._stages[position].trainable
        for name, parameter in self._model.named_parameters():
            parameter.requires_grad_(name in self._learnable and _fits(name, patterns))
            parameter.grad = None
        self.train_mode(position)

    def train_mode(self, position: int) -> None:
        """Training mode, except for frozen parts: their dropout is off and their running statistics stand still.

        A part is frozen when none of its parameters fits the stage's patterns; a normalisation without parameters
        goes by the names of its buffers.
        """
        patterns = self._stages[position].trainable
        self._model.train()
        for name, module in self._model.named_modules():
            own = [part for part, _ in module.named_parameters()] or [
                part for part, _ in module.named_buffers(recurse=False)
            ]
            prefix = f"{name}." if name else ""
            if own and not any(_fits(prefix + part, patterns) for part in own):
                module.eval()

    def active(self, position: int, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        """The terms that count in stage ``position``."""
        wanted = self._stages[position].terms
        return terms if wanted is None else {name: terms[name] for name in wanted}

    def release(self) -> None:
        """Give the parameters back the gradient flags that they came with."""
        for name, parameter in self._model.named_parameters():
            parameter.requires_grad_(name in self._learnable)


def _fits(name: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
