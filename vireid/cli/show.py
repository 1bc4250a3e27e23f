"""Tables for the terminal."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vireid.core.messages import DASH, NOT_COMPARABLE, counted, file_name, precision_name, printer
from vireid.core.table import Either, Table

if TYPE_CHECKING:  # every command imports this module, and most need neither schemas nor NumPy
    from vireid.core.protocol_card import ProtocolCard
    from vireid.core.records import CostRecord, EvaluationRecord, LatencyRecord
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
    labels += ["matches of the other modality" if card.matches == "other" else ""]
    labels += [f"test-time augmentation {card.test_time_augmentation}" if card.augments else ""]
    labels += [card.corruption_label, f"trained on {card.transfer}" if card.transfer else ""]
    return " · ".join(filter(None, [*labels, card.split]))


def reranking_label(settings: Mapping[str, Any], plain: str = "plain") -> str:
    """``plain``, or ``re-ranked`` with the variant."""
    name = settings["name"]
    return plain if name in (None, "none") else f"re-ranked ({name})"


def evaluation_table(records: Iterable[EvaluationRecord]) -> Table:
    """Metrics in percent, one row per protocol."""
    table = Table(title="Evaluation (%)")
    shown = [metric for metric in METRICS if metric != "r5"]
    table.add_columns("protocol", *shown, wrap=("protocol",))
    for record in records:
        if record.data_kind == "synthetic":
            table.caption = SYNTHETIC
        table.add_row(
            protocol_label(record.card),
            *(f"{100 * record.metrics[m]:.1f}" if m in record.metrics else DASH for m in shown),
        )
    return table


def evaluation_json(record: EvaluationRecord) -> dict[str, Any]:
    """Id, protocol card and metrics (fractions) of an evaluation; of a deployed file also which.

    Where it corrupts images, also their digest.
    """
    shown = {"runtime", "runtime_version", "kernels", "digest"}
    file = {} if record.artefact is None else record.artefact.model_dump(mode="json", include=shown)
    images = {} if record.corrupted_digest is None else {"corrupted_digest": record.corrupted_digest}
    return {"id": record.id, "protocol": record.protocol, **record.metrics, **images, **file}


def deployed_table(records: Iterable[EvaluationRecord]) -> Table:
    """Accuracy of deployed files in percent, without re-ranking, and how near they are to the trained model."""
    table = Table(title="As deployed (%)")
    table.add_column("protocol", "group")
    table.add_columns("file", "r1", "mAP", "cosine", "top-10 overlap", "MB", text=("file",))
    table.add_column("kernels", "pipe")
    table.add_column("runtime version", "pipe")
    for record in records:
        if (file := record.artefact) is None or not record.card.is_plain:
            continue
        on = f" on {file.kernels}" if file.kernels else ""
        table.add_row(
            protocol_label(record.card),
            Either(f"{file_name(file)}{on}", file_name(file)),
            *(f"{100 * record.metrics[metric]:.1f}" for metric in ("r1", "mAP")),
            f"{file.cosine:.4f}",
            f"{file.overlap10:.3f}",
            f"{file.size_bytes / 1e6:.1f}",
            file.kernels or "",
            file.runtime_version or "",
        )
    table.caption = "cosine and overlap: with the trained model's features in PyTorch float32"
    return table


def cost_table(record: CostRecord) -> Table:
    """Parameters, and MACs by every counter."""
    height, width = record.resolution
    table = Table(title=f"Cost of {record.model['name']} at {height}×{width}, 1 image per forward")
    table.add_columns("what", "value", "note", text=("what",), wrap=("note",))
    for role, count in record.parameters.items():
        millions = Either(f"{count / 1e6:.3f} M", str(count))
        table.add_row(f"parameters, {role.replace('_', '-')}", millions, f"at {record.num_classes} classes")
    for counter in record.counters:
        value = counter.get("macs")
        uncounted = counter.get("uncounted") or {}
        note = counter.get("reason") or str(counter.get("convention", ""))
        if uncounted:
            note += f"; uncounted: {', '.join(uncounted)}"
        if verdict := counter.get("verdict"):
            note = f"{verdict}; {note}"
        counted_macs = "failed" if value is None else Either(f"{value / 1e9:.4f} G", f"{value:.0f}")
        table.add_row(f"MACs by {counter['name']}", counted_macs, note)
    if record.disagreement is not None:
        table.add_row("counters differ by", f"{100 * record.disagreement:.2f} %", "largest relative difference")
    return table


def remark(line: str, **settings: Any) -> None:
    """Print a sentence that goes with a table; in a pipe it is marked as no row."""
    console.print(line if console.is_terminal or not line else f"# {line}", **settings)


def pasteable(command: str, width: int) -> list[str]:
    """A command over several lines that a shell reads as one; an argument longer than a line stays whole."""
    lines: list[str] = []
    for word in map(shlex.quote, shlex.split(command)):
        if lines and len(lines[-1]) + len(word) + 3 <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(f"  {word}" if not lines else f"    {word}")
    return [f"{line} \\" for line in lines[:-1]] + lines[-1:]


def failure_lines(failures: Mapping[str, str]) -> list[str]:
    """One line per failed run."""
    return [f"failed: {what}: {reason}" for what, reason in failures.items()]


def latency_tables(records: Iterable[LatencyRecord]) -> list[Table]:
    """Percentiles per forward and throughput; what else was measured: load time, size on disk, memory, energy."""
    import numpy as np

    table = Table("Latency of one forward pass")
    table.add_columns("runtime", "threads", "batch", "p50 ms", "p90 ms", "p99 ms", "images/s", "n", wrap=("runtime",))
    shown = list(records)
    for record in shown:
        head = (latency_condition(record), str(record.threads), str(record.batch))
        if record.status != "ok":
            table.add_row(*head, *[DASH] * 5)
            continue
        p50, p90, p99 = np.percentile(record.seconds, [50, 90, 99])
        times = (f"{1e3 * value:.2f}" for value in (p50, p90, p99))
        table.add_row(*head, *times, f"{record.batch / p50:.1f}", str(len(record.seconds)))
    table.caption = "n: timed passes"
    return [table, *_footprint(shown)]


def _footprint(shown: Sequence[LatencyRecord]) -> list[Table]:
    """A table of what some record has beside its samples; none where none has."""
    from vireid.profiling.sampling import slowdown

    optional: list[tuple[str, int, Callable[[LatencyRecord], float | None]]] = [
        ("load s", 2, lambda r: r.load_seconds),
        ("file MB", 1, lambda r: None if r.size_bytes is None else r.size_bytes / 1e6),
        ("memory MB", 1, lambda r: None if r.artefact_memory is None else r.artefact_memory / 1e6),
        ("RSS MB", 0, lambda r: None if r.rss_bytes is None else r.rss_bytes / 1e6),
        ("J/image", 2, lambda r: r.joules_per_image),
        ("last ÷ first minute", 2, lambda r: slowdown(r.seconds, r.windows)),
    ]
    filled = [column for column in optional if any(column[2](record) is not None for record in shown)]
    if not filled:
        return []
    table = Table("What else was measured")
    table.add_columns("runtime", "threads", "batch", *(name for name, *_ in filled), wrap=("runtime",))
    for record in shown:
        values = [(read(record), decimals) for _, decimals, read in filled]
        head = (latency_condition(record), str(record.threads), str(record.batch))
        table.add_row(*head, *(DASH if value is None else f"{value:.{decimals}f}" for value, decimals in values))
    table.caption = "RSS: highest resident memory of the process, interpreter and libraries included"
    if any(name == "memory MB" for name, *_ in filled):
        table.caption = f"memory: what loading and running the file adds to an empty runtime\n{table.caption}"
    return [table]


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
    """Runtime, under what it was measured where that is not the whole machine, and precision."""
    conditions = [str(record.runtime.get("name"))]
    conditions += ["isolated"] if record.isolated and record.limit is None else []
    conditions += [] if record.limit is None else [str(record.limit["name"])]
    conditions += ["sustained"] if record.windows else []
    if record.stage_settings:
        conditions.append("from JPEG" if "image" in record.stage_settings else "with search")
    return ", ".join([*conditions, precision_name(record.precision, record.runtime)])


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
    threads = counted(record.threads, "thread")
    return f"{latency_condition(record)}, {threads}, batch {record.batch}"


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
    return _captioned(table, ["difference: second − first, in percentage points, paired by query"], notes)


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
    counts = f"{counted(results[0].queries, 'query', 'queries')}, {results[0].valid_queries:,} of them with a match"
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
            label = f"{reranking_label(parameters)}: mean of {counted(len(per_trial), 'trial')}"
            remarks.append(f"{label}, standard deviation over trials {deviations}")
    return remarks


def _metrics_grid(title: str) -> Table:
    table = Table(title)
    table.add_column("%", "path")
    table.add_columns(*METRICS)
    return table


def _captioned(table: Table, remarks: Iterable[str], notes: Iterable[str]) -> Table:
    from vireid.statistics.bootstrap import TEST_SAMPLING

    table.caption = "\n".join([*remarks, f"from … to: {TEST_SAMPLING}", *notes])
    return table


def _add_intervals(table: Table, label: str, intervals: Mapping[str, Interval], sign: str = "") -> None:
    table.add_row(label, *(f"{100 * intervals[name].value:{sign}.2f}" for name in METRICS))
    for word, end in (("from", "low"), ("to", "high")):
        name = Either(f"  {word}", f"{label}, {word}")
        table.add_row(name, *(f"{100 * getattr(intervals[name], end):{sign}.2f}" for name in METRICS), style="dim")
