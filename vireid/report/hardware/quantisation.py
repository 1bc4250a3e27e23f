"""What quantisation changes: the file beside the network that it was made from, fit by fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vireid.core.records import EvaluationRecord, FitRecord
from vireid.report.hardware.candidates import Yardstick, evaluations_under, find_yardstick
from vireid.report.hardware.deployment import Deployment
from vireid.report.hardware.latency import nothing
from vireid.report.html import Column, Content, Fragment, Rows, bullets, join, paragraph, table, tag
from vireid.report.load import as_sentence
from vireid.report.protocols import PLAIN
from vireid.report.runtimes import runtime_label
from vireid.report.statistics import signed

_DASH = "–"


def quantisation_section(deployment: Deployment) -> Fragment:
    """Files of less precision beside float32: accuracy, nearness of features, size; and what was tried on dev."""
    yardstick = find_yardstick(deployment)
    rows: list[list[Content]] = []
    tried: dict[str, list[dict[str, Any]]] = {}
    for model in deployment.models:
        for fit in model.fits if yardstick is not None else ():
            assert yardstick is not None
            for whole, file in pairs(deployment, fit, yardstick):
                rows.append(_row(model.label, fit, whole, file))
                if file.artefact is not None and file.artefact.candidates:
                    name = f"{model.label}, seed {fit.seed}, {runtime_label(file.artefact.runtime)}"
                    tried.setdefault(name, file.artefact.candidates)
    if not rows or yardstick is None:
        return nothing("No quantised file evaluated", "vireid quantise RUN --to DIR")
    columns = [Column("Model", text=True), Column("Seed"), Column("File", text=True), Column("mAP", "%, fp32")]
    columns += [Column("mAP", "%, file"), Column("Difference", "points"), Column("Interval", "of the file's mAP")]
    columns += [Column("Cosine", "to fp32 features"), Column("Top 10", "% shared"), Column("Size", "MB")]
    caption = (
        f"Files of less precision beside the networks that they were made from: {yardstick.title}, {PLAIN}. Cosine: "
        "mean over the evaluated images; top 10: mean share of the ten nearest gallery images that both have in "
        f"common. Settings were chosen on dev identities.{as_sentence(yardstick.note)}"
    )
    pieces: list[Content] = [table(columns, [Rows("", rows)], caption)]
    if tried:
        pieces.append(paragraph("Settings that were compared on dev before one was taken:"))
        listed = [tag("span", f"{name}: ", "; ".join(map(_words, own))) for name, own in tried.items()]
        pieces.append(bullets(listed))
    return join(pieces)


def pairs(
    deployment: Deployment, fit: FitRecord, yardstick: Yardstick
) -> list[tuple[EvaluationRecord | None, EvaluationRecord]]:
    """A fit's evaluated files, each with the evaluation of the model itself."""
    own = evaluations_under(deployment, fit, yardstick)
    whole = next((e for e in reversed(own) if e.artefact is None), None)
    return [(whole, evaluation) for evaluation in own if evaluation.artefact is not None]


def _row(label: str, fit: FitRecord, whole: EvaluationRecord | None, file: EvaluationRecord) -> list[Content]:
    artefact, score = file.artefact, file.metrics["mAP"]
    assert artefact is not None
    interval = file.intervals.get("mAP")
    return [
        label,
        str(fit.seed),
        _file(artefact.runtime, artefact.precision),
        _DASH if whole is None else f"{100 * whole.metrics['mAP']:.2f}",
        f"{100 * score:.2f}",
        _DASH if whole is None else signed(100 * (score - whole.metrics["mAP"]), 2),
        _DASH if interval is None else f"[{100 * interval.low:.1f}, {100 * interval.high:.1f}]",
        f"{artefact.cosine:.4f}",
        f"{100 * artefact.overlap10:.1f}",
        f"{artefact.size_bytes / 1e6:.1f}",
    ]


def _words(setting: Mapping[str, Any]) -> str:
    parts = []
    for key, value in setting.items():
        if isinstance(value, Mapping):
            parts.append(_words(value) or "defaults")
        elif isinstance(value, float):
            parts.append(f"{key} {value:.4g}")
        elif value not in (None, ""):
            parts.append(f"{key} {value}")
    return ", ".join(parts)


def _file(runtime: Mapping[str, Any], precision: str) -> str:
    """Runtime and precision; how it was quantised where that is not the usual way."""
    words = runtime_label({"name": runtime["name"], "quantisation": runtime.get("quantisation")})
    return f"{runtime['name'] if words.endswith(' onnxruntime)') else words} {precision}"
