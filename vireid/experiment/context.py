"""What the steps of one run share: its configuration, its store, and what follows from both, each worked out once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from vireid.config import ExperimentConfig
from vireid.core.config import canonical_json
from vireid.core.errors import UserError
from vireid.core.records import FitRecord
from vireid.experiment.identity import RunIds
from vireid.experiment.progress import ProgressCallback, silent
from vireid.store import Store

if TYPE_CHECKING:
    from vireid.experiment.images import PreparedData


@dataclass(frozen=True, eq=False)
class RunContext:
    """A configuration in a store; ``progress`` is called as its steps advance.

    ``images`` has the images of other contexts by what they are: a study reads those of a seed once for all its cells.
    """

    config: ExperimentConfig
    store: Store
    progress: ProgressCallback = silent
    images: dict[str, PreparedData] | None = None

    @cached_property
    def ids(self) -> RunIds:
        """Ids of its records."""
        return RunIds(self.config)

    @cached_property
    def data(self) -> PreparedData:
        """Its images, rendered where they are synthetic and absent.

        Raises:
            UserError: as ``experiment.images.prepare``.
        """
        from vireid.experiment.images import prepare  # reads images through torch, which plans and listings do without

        known = {} if self.images is None else self.images
        wanted = canonical_json([self.config.data.model_dump(mode="json"), bool(self.config.recipe.evaluate_every)])
        if wanted not in known:
            rendered, workers, report = self.store.root / "data", self.workers, self.progress
            known[wanted] = prepare(self.config, rendered=rendered, cache=self.cache, workers=workers, progress=report)
        return known[wanted]

    @cached_property
    def fit(self) -> FitRecord:
        """Its finished fit.

        Raises:
            UserError: it has not been trained.
        """
        record = self.store.get(self.ids.fit)
        if not isinstance(record, FitRecord):
            raise UserError(f"run {self.ids.fit} has not been trained in {self.store.runs}; run `vireid train` first")
        return record

    @property
    def directory(self) -> Path:
        """Where the artefacts of its fit lie: weights, checkpoint, log, pages."""
        return self.store.directory(self.ids.fit)

    @property
    def cache(self) -> Path:
        """Where decoded images and file digests are kept."""
        return self.store.root / "cache"

    @property
    def workers(self) -> int:
        """Processes or threads for rendering and decoding."""
        return self.config.runtime.workers or os.cpu_count() or 1
