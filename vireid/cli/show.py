"""Tables for the terminal."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vireid.core.messages import DASH, NOT_COMPARABLE, Table, printer

if TYPE_CHECKING:  # every command imports this module, and most need neither schemas nor NumPy
    from vireid.core.plan import Plan
    from vireid.core.protocol_card import ProtocolCard
    from vireid.core.records import CostRecord, EvaluationRecord, LatencyRecord, Record
    from vireid.evaluation.features import FeatureResult
    from vireid.statistics.bootstrap import Interval

console = printer()
SYNTHETIC = f"synthetic images: {NOT_COMPARABLE}"
METRICS = ("r1", "r5", "r10", "r20", "mAP", "mINP")


def protocol_label(card: ProtocolCard) -> str:
    """Short text of a protocol card that tells any two cards of a study apart."""
    from vireid.core.protocol_card import PLAIN

    labels = [card.name, card.mode, card.direction, f"{card.shots}-shot" if card.shots else ""]
    labels += [reranking_label(card.reranking_settings, PLAIN), f"text {card.text_label}" if card.reads_text else ""]
    return " · ".join(filter(None, [*labels, card.split]))


def reranking_label(settings: Mapping[str, Any], plain: str = "plain") -> str:
    """``plain``, or ``re-ranked`` with the variant."""
    name = settings["name"]
    return plain if name in (None, "none") else f"re-ranked ({name})"


def evaluation_table(records: Iterable[EvaluationRecord]) -> Table:
    """Metrics in percent, one row per protocol."""
    table = Table(title="Evaluation (%)")
    shown = [metric for metric in METRICS if metric != "r5"]
    table.add_columns("protocol", *shown, text=("protocol",))
    for record in records:
        if record.data_kind == "synthetic":
            table.caption = SYNTHETIC
        table.add_row(
            protocol_label(record.card),
            *(f"{100 * record.metrics[m]:.1f}" if m in record.metrics else DASH for m in shown),
        )
    return table


def deployed_table(records: Iterable[EvaluationRecord]) -> Table:
    """Accuracy of deployed files in percent, without re-ranking, and how near they are to the trained model."""
    table = Table(title="As deployed (%)")
    table.add_columns("file", "protocol", "r1", "mAP", "cosine", "top-10 overlap", "MB", text=("file", "protocol"))
    for record in records:
        if (file := record.artefact) is None or not record.card.is_plain:
            continue
        table.add_row(
            f"{file.runtime['name']}, {file.precision}",
            protocol_label(record.card),
            *(f"{100 * record.metrics[metric]:.1f}" for metric in ("r1", "mAP")),
            f"{file.cosine:.4f}",
            f"{file.overlap10:.3f}",
            f"{file.size_bytes / 1e6:.1f}",
        )
    table.caption = "cosine and overlap: with the trained model's features in PyTorch float32"
    return table


def cost_table(record: CostRecord) -> Table:
    """Parameters, and MACs by every counter."""
    height, width = record.resolution
    table = Table(title=f"Cost of {record.model['name']} at {height}×{width}, 1 image per forward")
    table.add_columns("what", "value", "note", text=("what", "note"))
    for role, count in record.parameters.items():
        table.add_row(
            f"parameters, {role.replace('_', '-')}", f"{count / 1e6:.3f} M", f"at {record.num_classes} classes"
        )
    for counter in record.counters:
        value = counter.get("macs")
        uncounted = counter.get("uncounted") or {}
        note = counter.get("reason") or str(counter.get("convention", ""))
        if uncounted:
            note += f"; uncounted: {', '.join(uncounted)}"
        if verdict := counter.get("verdict"):
            note = f"{verdict}; {note}"
        table.add_row(f"MACs by {counter['name']}", "failed" if value is None else f"{value / 1e9:.4f} G", note)
    if record.disagreement is not None:
        table.add_row("counters differ by", f"{100 * record.disagreement:.2f} %", "largest relative difference")
    return table


def plan_table(plan: Plan) -> Table:
    """Cells × seeds with the ids of their fits."""
    table = Table(title=f"{plan.name}: {len(plan.cells)} cells × {len(plan.seeds)} seeds, {plan.design}")
    table.add_columns("cell", *plan.factors, text=("cell", *plan.factors))
    for seed in plan.seeds:
        table.add_column(f"fit, seed {seed}", no_wrap=True)
    for number, cell in enumerate(plan.cells, start=1):
        fits = {run.seed: run.fit for run in plan.runs if run.cell == cell.name}
        table.add_row(str(number), *cell.factors.values(), *(fits[seed] for seed in plan.seeds))
    if plan.aliases:
        table.caption = "cannot be told apart: " + "; ".join(plan.aliases)
    return table


def failure_lines(failures: Mapping[str, str]) -> list[str]:
    """One line per failed run."""
    return [f"failed: {what}: {reason}" for what, reason in failures.items()]


def record_lines(records: Sequence[Record], stale: Mapping[str, list[str]], width: int | None) -> list[str]:
    """A listing of records, a line each; ``stale`` names, by id, the parts whose source has changed since.

    Plain text, as there may be thousands. On a terminal of ``width`` columns lines are cut; without, they are whole.
    """
    rows = [("id", "kind", "status", "data", "ended", "result", "what", "stale")]
    for record in records:
        what, result = _summary(record)
        changed = ", ".join(stale.get(record.id, []))
        rows.append((record.id, record.kind, record.status, record.data_kind, record.ended[:16], result, what, changed))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return lines if width is None else [line if len(line) <= width else line[: width - 1] + "…" for line in lines]


def _summary(record: Record) -> tuple[str, str]:
    if record.status != "ok":
        return "", record.reason or ""
    if record.kind == "fit":
        model = record.config["model"]["name"]
        return f"{model}, seed {record.seed}", f"{len(record.curves)} epochs, {record.seconds or 0:.0f} s"
    if record.kind == "evaluation":
        file = "" if record.artefact is None else f", {record.artefact.precision} file"
        return (
            f"fit {record.fit}{file}: {protocol_label(record.card)}",
            f"mAP {100 * record.metrics.get('mAP', 0):.1f}",
        )
    if record.kind == "cost":
        macs = DASH if record.macs is None else f"{record.macs / 1e9:.3f} GMAC"
        return f"{record.model['name']} {record.resolution[0]}×{record.resolution[1]}", macs
    middle = statistics.median(record.seconds) if record.seconds else float("nan")
    return f"{record.runtime.get('name')} {record.precision} batch {record.batch}", f"{1e3 * middle:.2f} ms"


def latency_table(records: Iterable[LatencyRecord]) -> Table:
    """Percentiles per forward, throughput, and what else was measured: load time, size on disk, memory, energy."""
    import numpy as np

    from vireid.profiling.sampling import slowdown

    optional: list[tuple[str, int, Callable[[LatencyRecord], float | None]]] = [
        ("load s", 2, lambda r: r.load_seconds),
        ("file MB", 1, lambda r: None if r.size_bytes is None else r.size_bytes / 1e6),
        ("RSS MB", 0, lambda r: None if r.rss_bytes is None else r.rss_bytes / 1e6),
        ("J/image", 2, lambda r: r.joules_per_image),
        ("last ÷ first minute", 2, lambda r: slowdown(r.seconds, r.windows)),
    ]
    shown, table = list(records), Table(title="Latency")
    names = ("runtime", "precision", "threads", "batch", "p50 ms", "p90 ms", "p99 ms", "images/s")
    filled = [column for column in optional if any(column[2](record) is not None for record in shown)]
    table.add_columns(*names, *(name for name, *_ in filled), "samples", text=("runtime", "precision"))
    for record in shown:
        head = (latency_condition(record), record.precision, str(record.threads), str(record.batch))
        if record.status != "ok":
            table.add_row(*head, *[DASH] * (5 + len(filled)))
            continue
        p50, p90, p99 = np.percentile(record.seconds, [50, 90, 99])
        table.add_row(
            *head,
            *(f"{1e3 * value:.2f}" for value in (p50, p90, p99)),
            f"{record.batch / p50:.1f}",
            *(DASH if (value := read(record)) is None else f"{value:.{decimals}f}" for _, decimals, read in filled),
            str(len(record.seconds)),
        )
    return table


def stages_table(record: LatencyRecord) -> Table:
    """Where the time of one query goes: median and share of each stage, and the whole way."""
    import numpy as np

    table = Table(title="From JPEG to ranked list")
    table.add_columns("stage", "p50 ms", "p90 ms", "share %", text=("stage",))
    whole = sum(statistics.fmean(seconds) for seconds in record.stages.values())
    for name, seconds in record.stages.items():
        p50, p90 = np.percentile(seconds, [50, 90])
        share = 100 * statistics.fmean(seconds) / whole
        table.add_row(name, f"{1e3 * p50:.2f}", f"{1e3 * p90:.2f}", f"{share:.1f}")
    table.add_section()
    p50, p90 = np.percentile(record.seconds, [50, 90])
    table.add_row("whole way", f"{1e3 * p50:.2f}", f"{1e3 * p90:.2f}", "100.0")
    return table


def stages_settings(record: LatencyRecord) -> str:
    """What went the way and what was searched, on one line."""
    settings, image = record.stage_settings, record.stage_settings.get("image")
    begin = "pixels" if image is None else f"JPEG {image['height']}×{image['width']}, {image['bytes'] / 1e3:.1f} kB"
    searched = f"{settings['gallery']} rows, {settings['gallery_bytes'] / 1e6:.2f} MB"
    return f"{latency_label(record)}: {begin}; gallery of {searched}; the {settings['top']} best"


def latency_condition(record: LatencyRecord) -> str:
    """Runtime, and under what it was measured where that is not the whole machine."""
    conditions = [str(record.runtime.get("name"))]
    conditions += ["isolated"] if record.isolated and record.limit is None else []
    conditions += [] if record.limit is None else [str(record.limit["name"])]
    conditions += ["sustained"] if record.windows else []
    if record.stage_settings:
        conditions.append("from JPEG" if "image" in record.stage_settings else "with search")
    return ", ".join(conditions)


def latency_remarks(records: Iterable[LatencyRecord]) -> list[str]:
    """What the profiler says of its own measurements, and why some were not made."""
    lines: list[str] = []
    for record in records:
        lines += [f"{latency_label(record)}: {note}" for note in record.notes]
        if record.status != "ok":
            lines.append(f"{latency_label(record)}: {record.status}: {record.reason}")
    return lines


def latency_label(record: LatencyRecord) -> str:
    """Condition, precision, threads and batch of a record, on one line."""
    threads = f"{record.threads} thread" + ("s" if record.threads > 1 else "")
    return f"{latency_condition(record)}, {record.precision}, {threads}, batch {record.batch}"


def metrics_table(title: str, results: Sequence[FeatureResult], notes: Iterable[str] = ()) -> Table:
    """One row per result, in percent, and below what they were measured under."""
    table = _metrics_grid(title)
    for result in results:
        _add_intervals(table, reranking_label(result.settings["reranking"]), result.intervals())
    return _captioned(table, _score_remarks(results), notes)


def comparison_table(
    title: str,
    first: tuple[str, Mapping[str, float]],
    second: tuple[str, Mapping[str, float]],
    differences: Mapping[str, Interval],
    notes: Iterable[str] = (),
) -> Table:
    """Two (label, metrics) and their paired difference, in percentage points."""
    table = _metrics_grid(title)
    for label, metrics in (first, second):
        table.add_row(label, *(f"{100 * metrics[name]:.2f}" for name in METRICS))
    _add_intervals(table, "difference", differences, "+")
    return _captioned(table, ["difference: second − first, percentage points, paired by query"], notes)


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


def _score_remarks(results: Sequence[FeatureResult]) -> list[str]:
    import numpy as np

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
            deviations = ", ".join(f"{name} {value:.2f}" for name, value in spread.items())
            label = f"{reranking_label(parameters)}: mean of {len(per_trial)} trials"
            remarks.append(f"{label}, standard deviation over trials {deviations}")
    return remarks


def _metrics_grid(title: str) -> Table:
    from rich import box

    table = Table(
        title=title, box=box.SIMPLE_HEAD, title_justify="left", caption_justify="left", pad_edge=False, min_width=70
    )
    table.add_column("%", overflow="fold")
    table.add_columns(*METRICS, no_wrap=True)
    return table


def _captioned(table: Table, remarks: Iterable[str], notes: Iterable[str]) -> Table:
    from vireid.statistics.bootstrap import TEST_SAMPLING

    table.caption = "\n".join([*remarks, f"from … to: {TEST_SAMPLING}", *notes])
    return table


def _add_intervals(table: Table, label: str, intervals: Mapping[str, Interval], sign: str = "") -> None:
    table.add_row(label, *(f"{100 * intervals[name].value:{sign}.2f}" for name in METRICS))
    for word, end in (("  from", "low"), ("  to", "high")):
        table.add_row(word, *(f"{100 * getattr(intervals[name], end):{sign}.2f}" for name in METRICS), style="dim")
