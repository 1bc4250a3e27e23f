"""Two finished runs side by side, query by query, from their records alone."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from vireid.core.config import canonical_json
from vireid.core.errors import UserError
from vireid.core.protocol_card import COUNTS
from vireid.core.records import EvaluationRecord, Record
from vireid.evaluation.compare import paired_differences, trials_of_table
from vireid.statistics.bootstrap import Interval
from vireid.store import Store


@dataclass(frozen=True, slots=True)
class RunComparison:
    """One protocol under which both runs were evaluated; ``differences`` are second − first, as fractions.

    How either side's weights were chosen may differ: ``selections`` says it then.
    """

    card: dict[str, Any]
    first: EvaluationRecord
    second: EvaluationRecord
    differences: dict[str, Interval]

    @property
    def selections(self) -> tuple[str, str] | None:
        """How the weights of the two were chosen, where that differs."""
        one, other = (record.card.selection or "not stated" for record in (self.first, self.second))
        return None if one == other else (one, other)


def compare_runs(store: Store, first: str, second: str) -> list[RunComparison]:
    """Compare two fits under every protocol that both have, or two evaluations; features of other programs are fits.

    Args:
        store: where the records lie.
        first: id of a fit or of an evaluation, or its first digits.
        second: the other.

    Raises:
        UserError: unknown ids, no protocol in common, other images, or per-query tables that are gone.
    """
    sides = [_evaluations(store, store.find(run)) for run in (first, second)]
    shared = [card for card in sides[0] if card in sides[1]]
    if not shared:
        raise UserError(
            f"runs {first} and {second} have no protocol in common; `vireid evaluate RUN PROTOCOL` evaluates a run "
            "under another one without training it again"
        )
    return [_compare(store, sides[0][card], sides[1][card]) for card in shared]


def _evaluations(store: Store, record: Record) -> dict[str, EvaluationRecord]:
    """Evaluations by canonical card: the record itself, or those of the fit that it is; not of files made from it.

    Counts are left out: where they differ the images do, which has a message of its own. So is how weights were
    chosen, which is of the sides that are compared and not of what both are measured under.
    """
    if isinstance(record, EvaluationRecord):
        return {_key(record): record}
    if record.kind != "fit":
        raise UserError(f"run {record.id} is a record of kind '{record.kind}'; name a fit or an evaluation")
    return {
        _key(other): other
        for other in store.records(lambda row: row.kind == "evaluation" and row.fit == record.id)
        if isinstance(other, EvaluationRecord) and (other.status, other.fit, other.artefact) == ("ok", record.id, None)
    }


def _key(record: EvaluationRecord) -> str:
    return canonical_json(record.card.without(*COUNTS, "selection").entries)


def _compare(store: Store, first: EvaluationRecord, second: EvaluationRecord) -> RunComparison:
    if first.fingerprint != second.fingerprint:
        raise UserError(
            f"evaluations {first.id} and {second.id} saw different images (fingerprints {first.fingerprint} and "
            f"{second.fingerprint}); a paired difference needs the same ones"
        )
    tables = [store.per_query(record) for record in (first, second)]
    if tables[0] is None or tables[1] is None:
        raise UserError(f"evaluations {first.id} and {second.id} keep no values per query; evaluate the runs again")
    keys = ["trial", "query"]
    before, after = (table.sort_values(keys, kind="stable") for table in tables if table is not None)
    if not np.array_equal(before[keys].to_numpy(), after[keys].to_numpy()):
        raise UserError(f"evaluations {first.id} and {second.id} do not list the same queries; evaluate both again")
    differences = paired_differences(trials_of_table(before), trials_of_table(after))
    return RunComparison(first.protocol, first, second, differences)
