"""Output of feature evaluations: every value with its interval, plain and re-ranked in separate rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import box

from vireid.core.messages import Table
from vireid.evaluation.metrics import METRICS
from vireid.statistics.bootstrap import TEST_SAMPLING, Interval

if TYPE_CHECKING:
    from vireid.evaluation.features import FeatureResult


def metrics_table(title: str, results: Sequence[FeatureResult], notes: Iterable[str] = ()) -> Table:
    """One row per result, in percent, and below what they were measured under."""
    table = _table(title)
    for result in results:
        _add_intervals(table, reranking_words(result.settings), result.intervals())
    table.caption = "\n".join([*_remarks(results), f"from … to: {TEST_SAMPLING}", *notes])
    return table


def comparison_table(
    title: str,
    first: tuple[str, Mapping[str, float]],
    second: tuple[str, Mapping[str, float]],
    differences: Mapping[str, Interval],
    notes: Iterable[str] = (),
) -> Table:
    """Two (label, metrics) and their paired difference, in points of percent."""
    table = _table(title)
    for label, metrics in (first, second):
        table.add_row(label, *(f"{100 * metrics[name]:.2f}" for name in METRICS))
    _add_intervals(table, "difference", differences, "+")
    words = "difference: second − first, points of percent, paired by query"
    table.caption = "\n".join([words, f"from … to: {TEST_SAMPLING}", *notes])
    return table


def comparison_json(
    first: Mapping[str, float], second: Mapping[str, float], differences: Mapping[str, Interval]
) -> dict[str, dict[str, float]]:
    """Both sides and their difference with its interval, by metric, as fractions."""
    return {
        name: {
            "first": first[name],
            "second": second[name],
            "difference": change.value,
            "low": change.low,
            "high": change.high,
        }
        for name, change in differences.items()
    }


def reranking_words(settings: Mapping[str, Any]) -> str:
    """``plain``, or ``re-ranked`` with the variant."""
    name = settings["reranking"]["name"]
    return "plain" if name == "none" else f"re-ranked ({name})"


def _remarks(results: Sequence[FeatureResult]) -> list[str]:
    settings = results[0].settings
    shown = "L2-normalised" if settings["feature_normalisation"] == "L2" else "as they are"
    counts = f"{results[0].queries:,} queries, {results[0].valid_queries:,} of them with a match"
    junk = f" ({results[0].junk:,} more, of negative identities, left out as junk)" if results[0].junk else ""
    remarks = [
        f"{counts}, in a gallery of {settings['gallery']:,}" + junk,
        f"CMC {settings['cmc']}; ranked by {settings['score']} of features {shown}",
    ]
    for result in results:
        parameters: dict[str, Any] = result.settings["reranking"]
        if parameters["name"] != "none":
            values = ", ".join(f"{'λ' if k == 'lambda' else k} {v}" for k, v in parameters.items() if k != "name")
            remarks.append(f"re-ranked: k-reciprocal encoding, {values}")
        if len(result.trials) > 1:
            per_trial = [trial.queries.aggregate() for trial in result.trials]
            spread = {name: 100 * float(np.std([t[name] for t in per_trial], ddof=1)) for name in ("r1", "mAP")}
            words = ", ".join(f"{name} {value:.2f}" for name, value in spread.items())
            label = reranking_words(result.settings)
            remarks.append(f"{label}: mean of {len(per_trial)} trials, standard deviation over trials {words}")
    return remarks


def _table(title: str) -> Table:
    table = Table(
        title=title, box=box.SIMPLE_HEAD, title_justify="left", caption_justify="left", pad_edge=False, min_width=70
    )
    table.add_column("%", overflow="fold")
    for name in METRICS:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _add_intervals(table: Table, label: str, intervals: Mapping[str, Interval], sign: str = "") -> None:
    table.add_row(label, *(f"{100 * intervals[name].value:{sign}.2f}" for name in METRICS))
    for word, end in (("  from", "low"), ("  to", "high")):
        table.add_row(word, *(f"{100 * getattr(intervals[name], end):{sign}.2f}" for name in METRICS), style="dim")
