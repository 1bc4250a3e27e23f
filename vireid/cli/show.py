"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING

from vireid.core.messages import Table, printer

if TYPE_CHECKING:  # what prints needs no schema, and every command imports this
    from vireid.core.plan import Plan
    from vireid.core.records import CostRecord, EvaluationRecord, Record

console = printer()
METRICS = ("r1", "r10", "r20", "mAP", "mINP")


def protocol_label(card: Mapping[str, object]) -> str:
    """Short text of a protocol card that tells any two cards of a study apart."""
    parts = [str(card["name"])]
    parts += [str(card[key]) for key in ("mode", "direction") if card.get(key)]
    if card.get("shots"):
        parts.append(f"{card['shots']}-shot")
    reranking = card.get("reranking")
    name = reranking.get("name", "none") if isinstance(reranking, Mapping) else reranking
    parts.append("no re-ranking" if name in (None, "none") else f"re-ranked ({name})")
    if card.get("text", "none") != "none":
        parts.append(f"text {card['text']}" + (f" ({card['captions']})" if card.get("captions") else ""))
    parts.append(str(card.get("split", "")))
    return " · ".join(filter(None, parts))


def evaluation_table(records: Iterable[EvaluationRecord]) -> Table:
    """Metrics in percent, one row per protocol."""
    table = Table(title="Evaluation (%)")
    table.add_column("protocol")
    for metric in METRICS:
        table.add_column(metric, justify="right")
    synthetic = False
    for record in records:
        synthetic |= record.data_kind == "synthetic"
        table.add_row(
            protocol_label(record.protocol),
            *(f"{100 * record.metrics[m]:.1f}" if m in record.metrics else "–" for m in METRICS),
        )
    if synthetic:
        table.caption = "synthetic images: not comparable with published results"
    return table


def deployed_table(records: Iterable[EvaluationRecord]) -> Table:
    """Accuracy of deployed files in percent, without re-ranking, and how near they are to the trained model."""
    table = Table(title="As deployed (%)")
    for name in ("file", "protocol", "r1", "mAP", "cosine", "top-10 overlap", "MB"):
        table.add_column(name, justify="left" if name in ("file", "protocol") else "right")
    for record in records:
        plain = record.protocol.get("reranking", {}).get("name", "none") == "none"
        if (file := record.artefact) is None or not plain:
            continue
        table.add_row(
            f"{file.runtime['name']}, {file.precision}",
            protocol_label(record.protocol),
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
    table.add_column("what")
    table.add_column("value", justify="right")
    table.add_column("note")
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
    table.add_column("cell")
    for factor in plan.factors:
        table.add_column(factor)
    for seed in plan.seeds:
        table.add_column(f"fit, seed {seed}", no_wrap=True)
    for number, cell in enumerate(plan.cells, start=1):
        fits = {run.seed: run.fit for run in plan.runs_of(cell.name)}
        table.add_row(str(number), *cell.factors.values(), *(fits[seed] for seed in plan.seeds))
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
        parts = ", ".join(stale.get(record.id, []))
        rows.append((record.id, record.kind, record.status, record.data_kind, record.ended[:16], result, what, parts))
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
            f"fit {record.fit}{file}: {protocol_label(record.protocol)}",
            f"mAP {100 * record.metrics.get('mAP', 0):.1f}",
        )
    if record.kind == "cost":
        macs = "–" if record.macs is None else f"{record.macs / 1e9:.3f} GMAC"
        return f"{record.model['name']} {record.resolution[0]}×{record.resolution[1]}", macs
    middle = median(record.seconds) if record.seconds else float("nan")
    return f"{record.runtime.get('name')} {record.precision} batch {record.batch}", f"{1e3 * middle:.2f} ms"
