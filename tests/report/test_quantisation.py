"""What int8 files lose over seeds, and one file between two kinds of processor: against sums by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from vireid.report.html import Html
from vireid.report.sections import quantisation
from vireid.report.sections.quantisation import Quantised

USUAL = {"quantiser": "onnxruntime", "activations": "asymmetric", "ranges": "minmax", "bias_correction": "none"}


def file(model: str, seed: int, bits: int, kernels: str, whole: float, score: float, shared: float) -> Quantised:
    settings = {**USUAL, **({"weight_bits": 7} if bits == 7 else {})}
    runtime = {"name": "openvino", "precision": "int8", "quantisation": settings}
    artefact: Any = SimpleNamespace(
        runtime=runtime, precision="int8", kernels=kernels, overlap10=shared, digest=f"{model}-{seed}-{bits}"
    )
    record: Any = SimpleNamespace(metrics={"mAP": score, "r1": score / 2})
    return Quantised(
        model, SimpleNamespace(seed=seed), SimpleNamespace(metrics={"mAP": whole, "r1": whole / 2}), record, artefact
    )  # type: ignore[arg-type]


def shown(found: list[Quantised], monkeypatch: pytest.MonkeyPatch) -> tuple[list[list[str]], list[dict[str, object]]]:
    rows: list[list[str]] = []
    numbers: list[dict[str, object]] = []
    monkeypatch.setattr(quantisation, "csv_text", lambda lines: numbers.extend(lines) or "")
    monkeypatch.setattr(
        quantisation, "table", lambda _columns, blocks, _caption, *_: rows.extend(blocks[0][1]) or Html("table")
    )
    report: Any = SimpleNamespace(copy=lambda *_: Html())
    key: Any = SimpleNamespace(title="sysu", note="")
    quantisation._over_seeds(report, found, key)
    return rows, numbers


def test_losses_are_averaged_over_models_and_tested_over_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for seed, (one, other) in enumerate([(0.010, 0.030), (0.000, 0.020), (-0.010, 0.010)]):  # what each model loses
        for model, lost in (("a", one), ("b", other)):
            found.append(file(model, seed, 8, "vnni", 0.5, 0.5 - lost, 0.9))
            found.append(file(model, seed, 8, "avx2", 0.5, 0.5 - lost - 0.004, 0.8))
            found += [file(model, seed, 7, kernels, 0.5, 0.49, 0.85) for kernels in ("vnni", "avx2")]
    rows, numbers = shown(found, monkeypatch)
    by_name = {(str(line["file"]), str(line["kernels"])): line for line in numbers}
    whole = by_name["openvino int8", "vnni"]
    assert whole["mAP_mean"] == pytest.approx(-0.01)  # of −0.02, −0.01 and 0.00
    half = 4.302652729911275 * 0.01 / 3**0.5  # Student t of two degrees of freedom
    assert whole["mAP_low"] == pytest.approx(-0.01 - half)
    assert whole["mAP_high"] == pytest.approx(-0.01 + half)
    assert whole["largest_mAP"] == pytest.approx(0.03)
    assert whole["files"] == 6
    between = by_name["openvino int8", "avx2 less vnni"]
    assert between["mAP_mean"] == pytest.approx(-0.004)
    assert between["top10_shared"] == pytest.approx(-0.1)
    same = by_name["openvino int8 (7-bit weights)", "avx2 less vnni"]
    assert (same["mAP_mean"], same["r1_mean"], same["largest_mAP"]) == (0, 0, 0)
    text = {row[0] + "|" + row[1]: row for row in rows}
    assert text["openvino int8|avx2 less vnni"][3] == "−0.40 [−0.40, −0.40]"
    assert text["openvino int8|avx2 less vnni"][5] == "−10.0"


def test_nothing_is_said_over_seeds_below_three_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, _ = shown([file("a", seed, 8, "vnni", 0.5, 0.49, 0.9) for seed in (1, 2)], monkeypatch)
    assert rows == []
