"""TensorBoard: the curves of a fit as event files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import yaml

from vireid.core.errors import optional_module
from vireid.tracking.config import TensorBoardConfig

_GROUPS = ("terms", "weights", "dev")
_SCALARS = ("loss", "lr", "grad_norm", "images_per_second", "seconds")


class TensorBoardTracker:
    """Writes ``loss``, ``lr``, each term, learned weight and dev score against the epoch, and scores as text."""

    Config: ClassVar[type[TensorBoardConfig]] = TensorBoardConfig
    version: ClassVar[str] = "1"

    def __init__(self, config: TensorBoardConfig, directory: Path, settings: Mapping[str, Any]) -> None:  # noqa: ARG002
        optional_module("tensorboard", "tracking")
        from torch.utils.tensorboard import SummaryWriter  # it asks for tensorboard as it is imported

        self._open = SummaryWriter
        self._writer: SummaryWriter | None = None
        self._directory, self._settings = directory, settings

    def epoch(self, entry: Mapping[str, Any]) -> None:
        """Add an epoch; what an interrupted attempt wrote of it and later ones is hidden."""
        step = int(entry["epoch"])
        writer = self._begun(step)
        for name in _SCALARS:
            if entry.get(name) is not None:
                writer.add_scalar(name, entry[name], step)
        for group in _GROUPS:
            for name, value in (entry.get(group) or {}).items():
                writer.add_scalar(f"{group}/{name}", value, step)
        writer.flush()

    def scores(self, protocol: str, metrics: Mapping[str, float]) -> None:
        """Add a table of a protocol's scores in percent."""
        rows = [f"| {name} | {100 * value:.2f} % |" for name, value in metrics.items()]
        self._begun(None).add_text(f"scores/{protocol}", "\n".join(["| metric | score |", "|---|---|", *rows]))

    def close(self) -> None:
        """End the file."""
        if self._writer is not None:
            self._writer.close()

    def _begun(self, step: int | None) -> Any:
        if self._writer is None:
            self._writer = self._open(str(self._directory), purge_step=step)
            if step is not None:
                text = yaml.safe_dump(dict(self._settings), sort_keys=False, allow_unicode=True)
                self._writer.add_text("configuration", "".join(f"    {line}\n" for line in text.splitlines()))
        return self._writer
