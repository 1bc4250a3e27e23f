"""What quantisation changes: the file beside the network that it was made from, fit by fit."""

from collections.abc import Mapping
from typing import Any

from vireid.core.messages import DASH
from vireid.core.protocol_card import PLAIN
from vireid.core.records import EvaluationRecord, FitRecord
from vireid.report.html import Column, Html, bullets, join, paragraph, table, tag, unfilled
from vireid.report.numbers import signed
from vireid.report.page import Report
from vireid.report.records.candidates import evaluations_under, find_accuracy_key
from vireid.report.records.deployment import DeploymentView
from vireid.report.records.keys import AccuracyKey
from vireid.report.records.labels import as_sentence, runtime_label


def render(report: Report) -> Html:
    """Files of less precision beside float32: accuracy, nearness of features, size; and what was tried on dev."""
    deployment = report.deployment
    key = find_accuracy_key(deployment)
    rows = []
    tried: dict[str, list[dict[str, Any]]] = {}
    for model in deployment.models:
        for fit in model.fits if key is not None else ():
            assert key is not None
            for whole, file in pairs(deployment, fit, key):
                rows.append(_row(model.label, fit, whole, file))
                if file.artefact is not None and file.artefact.candidates:
                    name = f"{model.label}, seed {fit.seed}, {runtime_label(file.artefact.runtime)}"
                    tried.setdefault(name, file.artefact.candidates)
    if not rows or key is None:
        return unfilled("No quantised file evaluated", "vireid quantise RUN --to DIR")
    columns = [Column("Model", text=True), Column("Seed"), Column("File", text=True), Column("mAP", "%, fp32")]
    columns += [Column("mAP", "%, file"), Column("Difference", "points"), Column("Interval", "of the file's mAP")]
    columns += [Column("Cosine", "to fp32 features"), Column("Top 10", "% shared"), Column("Size", "MB")]
    caption = (
        f"Files of less precision beside the networks that they were made from: {key.title}, {PLAIN}. Cosine: "
        "mean over the evaluated images; top 10: mean share of the ten nearest gallery images that both have in "
        f"common. Settings were chosen on dev identities.{as_sentence(key.note)}"
    )
    pieces = [table(columns, [("", rows)], caption)]
    if tried:
        pieces.append(paragraph("Settings that were compared on dev before one was taken:"))
        listed = [tag("span", f"{name}: ", "; ".join(map(_text, own))) for name, own in tried.items()]
        pieces.append(bullets(listed))
    return join(pieces)


def pairs(
    deployment: DeploymentView, fit: FitRecord, key: AccuracyKey
) -> list[tuple[EvaluationRecord | None, EvaluationRecord]]:
    """A fit's evaluated files, each with the evaluation of the model itself."""
    own = evaluations_under(deployment, fit, key)
    whole = next((e for e in reversed(own) if e.artefact is None), None)
    return [(whole, evaluation) for evaluation in own if evaluation.artefact is not None]


def _row(label: str, fit: FitRecord, whole: EvaluationRecord | None, file: EvaluationRecord) -> list[str]:
    artefact, score = file.artefact, file.metrics["mAP"]
    assert artefact is not None
    interval = file.intervals.get("mAP")
    return [
        label,
        str(fit.seed),
        _file(artefact.runtime, artefact.precision),
        DASH if whole is None else f"{100 * whole.metrics['mAP']:.2f}",
        f"{100 * score:.2f}",
        DASH if whole is None else signed(100 * (score - whole.metrics["mAP"]), 2),
        DASH if interval is None else f"[{100 * interval.low:.1f}, {100 * interval.high:.1f}]",
        f"{artefact.cosine:.4f}",
        f"{100 * artefact.overlap10:.1f}",
        f"{artefact.size_bytes / 1e6:.1f}",
    ]


def _text(setting: Mapping[str, Any]) -> str:
    parts = []
    for key, value in setting.items():
        if isinstance(value, Mapping):
            parts.append(_text(value) or "defaults")
        elif isinstance(value, float):
            parts.append(f"{key} {value:.4g}")
        elif value not in (None, ""):
            parts.append(f"{key} {value}")
    return ", ".join(parts)


def _file(runtime: Mapping[str, Any], precision: str) -> str:
    """Runtime and precision; how it was quantised where that is not the usual mode."""
    label = runtime_label({"name": runtime["name"], "quantisation": runtime.get("quantisation")})
    return f"{runtime['name'] if label.endswith(' onnxruntime)') else label} {precision}"
