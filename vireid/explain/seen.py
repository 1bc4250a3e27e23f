"""A fit as it sees its evaluation images: features, rankings, and pictures of images beside the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from vireid.config import ExperimentConfig
from vireid.core.records import FitRecord
from vireid.core.types import FloatArray, ImageIndex
from vireid.data.images import read_image
from vireid.evaluation.evaluate import EvaluationResult
from vireid.evaluation.protocols import ProtocolConfig
from vireid.evaluation.test_time import ModelProtocol
from vireid.evaluation.trials import Trial
from vireid.experiment.context import RunContext
from vireid.experiment.data import trials_of
from vireid.experiment.fit import embeddings, evaluate_features
from vireid.experiment.identity import deployed_protocols

PICTURES = "pictures"
PICTURE_HEIGHT = 192


@dataclass(frozen=True, eq=False)
class Seen:
    """A fit with its features of the evaluation images and what its first protocol without text makes of them."""

    run: RunContext
    fit: FitRecord
    config: ProtocolConfig
    index: ImageIndex
    features: FloatArray
    trial: Trial
    result: EvaluationResult
    folder: Path

    @cached_property
    def rows(self) -> dict[str, int]:
        """Row of every image in the index, by its path."""
        return {path: row for row, path in enumerate(self.index.paths)}

    def picture(self, row: int, name: str) -> dict[str, Any]:
        """Write the image at ``row`` as ``pictures/<name>.jpg``; where it is, and who and which camera it shows."""
        image = read_image(self.index.root, self.index.paths[row])
        image.thumbnail((PICTURE_HEIGHT, PICTURE_HEIGHT))
        file = f"{PICTURES}/{name}.jpg"
        image.save(self.folder / file, quality=90)
        return {"image": file, "identity": int(self.index.identity[row]), "camera": int(self.index.camera[row])}

    def ranked(self, query: str, name: str, of: Seen | None = None) -> dict[str, Any]:
        """A query with its ranked list in the first trial; pictures are ``<name>.jpg`` and ``<name>-rank<n>.jpg``.

        Args:
            query: path of its image.
            name: of the pictures.
            of: another fit on the same images whose list it is.
        """
        top = (of or self).result.top
        listed = top[top["query"] == query].sort_values("rank")
        entry = self.picture(self.rows[query], name)
        entry["ranked"] = [
            self.picture(self.rows[str(path)], f"{name}-rank{rank}") | {"correct": bool(correct)}
            for rank, path, correct in listed[["rank", "gallery", "correct"]].to_numpy()
        ]
        return entry

    def entries(self, queries: Sequence[str], name: str) -> list[dict[str, Any]]:
        """``ranked`` of several queries."""
        return [self.ranked(query, f"{name}{number}") for number, query in enumerate(queries)]


def look(run: RunContext) -> Seen:
    """Embed the evaluation images by a fit's weights and rank them under its first protocol without text.

    Raises:
        UserError: it has not been trained, its weights or images are gone.
    """
    fit, features = run.fit, embeddings(run)
    protocol = protocol_without_text(run.config)
    result, folder = evaluate_features(run, features, protocol), run.directory / "explain"
    return Seen(run, fit, protocol, run.data.evaluation, features, trials_of(run, protocol)[0], result, folder)


def protocol_without_text(config: ExperimentConfig) -> ModelProtocol:
    """The first protocol of images alone, one pass each; where there is none, the first with all else left out."""
    protocols = config.evaluation.protocols
    left_out = {"text": "none", "captioner": None, "test_time": "none", "corruption": None}
    return next(iter(deployed_protocols(config)), protocols[0].model_copy(update=left_out))
