"""What ``vireid explain`` left beside a run, as reports read it, and queries of two runs beside each other."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from vireid.core.errors import UserError
from vireid.core.records import EvaluationRecord
from vireid.report.records.study import StudyView, TrainedRun

MAP, BEFORE, AFTER = "map.csv", "similarities_start.csv", "similarities.csv"
QUERIES, HEAT, SETTINGS = "queries.json", "heat.json", "explain.json"
WEIGHTS = "model.safetensors"
CROSS = "infrared with visible"  # the pairs that retrieval is about
CHANGED = 3  # queries shown that changed most, in either direction
CHANGED_OF_ONE = 1  # of one person


@dataclass(frozen=True, eq=False)
class Explained:
    """The folder ``explain/`` of one run; every part is None where it is not there."""

    view: StudyView
    run: TrainedRun

    @property
    def folder(self) -> Path:
        """Where it lies, present or not."""
        return self.view.store.directory(self.run.fit.id) / "explain"

    @property
    def has_weights(self) -> bool:
        """Whether the run can be looked into here."""
        return self.view.store.has_artefact(self.run.fit.id, WEIGHTS)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """How the parts were made, and why one was skipped; empty where nothing is there."""
        return self.json(SETTINGS) or {}

    def json(self, name: str) -> dict[str, Any] | None:
        """A part in JSON.

        Raises:
            UserError: it is there and not readable.
        """
        content: dict[str, Any] | None = self._part(name, lambda path: json.loads(path.read_text(encoding="utf-8")))
        return content

    def table(self, name: str) -> pd.DataFrame | None:
        """A part in CSV.

        Raises:
            UserError: it is there and not readable.
        """
        frame: pd.DataFrame | None = self._part(name, pd.read_csv)
        return frame

    def _part(self, name: str, read: Callable[[Path], Any]) -> Any:
        path = self.folder / name
        if not path.is_file():
            return None
        try:
            return read(path)
        except (OSError, ValueError) as error:
            raise self.broken(path, error) from error

    def broken(self, path: Path, error: Exception) -> UserError:
        """The message about a part that cannot be used."""
        return UserError(f"{path}: not readable ({error}); write it anew with `vireid explain {self.run.fit.id}`")

    def command(self) -> str | None:
        """The command that trains its weights again, where a study says how."""
        base = self.view.plan.study.get("base")
        if base is None:
            return None
        return shlex.join(["vireid", "train", *map(str, base), *self.run.planned.overrides])


def pair_file(before: str) -> str:
    """Name of the file beside a run that sets it against the run ``before``."""
    return f"against-{before}.json"


def main_evaluations(runs: Sequence[TrainedRun]) -> list[EvaluationRecord] | None:
    """Of each run the evaluation under the first plain protocol of images alone that all of them have.

    A search over all cameras comes before one indoors; images must be the same, too.
    """
    kept: list[dict[tuple[str, str | None], EvaluationRecord]] = []
    for run in runs:
        usable = [e for e in run.evaluations if e.card.is_plain and e.card.reads_one_image and not e.card.transfer]
        own: dict[tuple[str, str | None], EvaluationRecord] = {}
        for evaluation in sorted(usable, key=lambda e: e.card.mode == "indoor"):
            own.setdefault((evaluation.card.key, evaluation.fingerprint), evaluation)
        kept.append(own)
    shared = [key for key in (kept[0] if kept else ()) if all(key in own for own in kept)]
    return [own[shared[0]] for own in kept] if shared else None


def by_query(per_query: pd.DataFrame) -> pd.DataFrame:
    """One row per valid query (its index) over its trials: identity, camera, ap (mean), first_hit_rank (median)."""
    valid = per_query[per_query["valid"]]
    return valid.groupby("query").agg(
        identity=("identity", "first"),
        camera=("camera", "first"),
        ap=("ap", "mean"),
        first_hit_rank=("first_hit_rank", "median"),
    )


def changes_by_query(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Both runs' queries beside each other, with ``change`` of AP, most improved first.

    Raises:
        UserError: they are not the same queries.
    """
    first, second = by_query(before), by_query(after)
    if not first.index.equals(second.index):
        raise UserError("the two runs were not asked the same queries, so that none can be compared")
    table = second.assign(ap_before=first["ap"], rank_before=first["first_hit_rank"], change=second["ap"] - first["ap"])
    return table.reset_index().sort_values(["change", "query"], ascending=[False, True], ignore_index=True)


def most_changed(changes: pd.DataFrame, *, improved: bool) -> pd.DataFrame:
    """The queries that improved or worsened most, at most one of a person."""
    moved = changes[changes["change"] > 0] if improved else changes[changes["change"] < 0].iloc[::-1]
    return moved.groupby("identity", sort=False).head(CHANGED_OF_ONE).head(CHANGED)
