"""Stored galleries of a fit: dev and test, the project's metrics, reuse; searches timed in processes of their own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.tiny import tiny
from vireid.core.records import GalleryRecord
from vireid.experiment.context import RunContext
from vireid.experiment.cost.search import search_step
from vireid.experiment.deploy.evaluate import deployed_step
from vireid.experiment.fit import evaluate_step, fit_step
from vireid.experiment.gallery import chosen_storage, gallery_protocols, gallery_step
from vireid.profiling.config import LatencyBudget
from vireid.store import Store

ONE = "{name: onnxruntime, precision: fp32}"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunContext:
    run = RunContext(tiny(f"evaluation.deployed=[{ONE}]"), Store(tmp_path_factory.mktemp("store")))
    fit_step(run)
    return run


def test_a_dev_fit_has_galleries_on_dev_and_on_test(trained: RunContext) -> None:
    protocols = gallery_protocols(trained)[:1]
    records = gallery_step(trained, protocols)
    assert [(r.card.split, r.storage) for r in records[:4]] == [
        *(("dev", storage) for storage in ("fp32", "fp16", "int8", "binary"))
    ], "the tiny network's features have too few values to be reduced"
    by_key = {(r.card.split, r.storage): r for r in records}
    (evaluated, *_) = evaluate_step(trained)
    exact = by_key["dev", "fp32"]
    assert exact.metrics == pytest.approx(evaluated.metrics, abs=1e-6)
    assert exact.card.comparable == evaluated.card.comparable
    assert exact.intervals["mAP"].low == pytest.approx(evaluated.intervals["mAP"].low, abs=1e-6)
    assert exact.fingerprint == evaluated.fingerprint
    assert by_key["test", "fp32"].fingerprint != exact.fingerprint
    for record in records:
        assert record.row_bytes == {"fp32": 4, "fp16": 2, "int8": 1, "binary": 1}[record.storage] * record.features + (
            0 if record.storage[:2] == "fp" else 4 if record.storage == "int8" else 4 + 8 * -(-record.features // 64)
        )
        change = record.differences["mAP"]
        assert change.mean == pytest.approx(record.metrics["mAP"] - by_key[record.card.split, "fp32"].metrics["mAP"])
        fitted = None if record.storage != "binary" else trained.data.train_fingerprint
        assert (record.fitted_on or {}).get("fingerprint") == fitted, "of training images alone"
    assert by_key["dev", "fp16"].overlap10 == pytest.approx(1, abs=0.02)


def test_finished_galleries_are_reused_and_files_have_their_own(
    trained: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    protocols = gallery_protocols(trained)[:1]
    records = gallery_step(trained, protocols, ["fp32", "int8"])
    deployed_step(trained)
    both = gallery_step(trained, protocols, ["fp32", "int8"], deployed=True)
    assert both[: len(records)] == records
    files = both[len(records) :]
    assert [record.storage for record in files] == [record.storage for record in records]
    for file, model in zip(files, records, strict=True):
        assert file.artefact is not None
        assert file.artefact.runtime["name"] == "onnxruntime"
        assert file.metrics == pytest.approx(model.metrics, abs=1e-3)
    monkeypatch.setattr("vireid.experiment.gallery.embeddings", lambda *_, **__: pytest.fail("made again"))
    assert gallery_step(trained, protocols, ["fp32", "int8"]) == records
    assert gallery_step(trained, protocols)[:2] == [
        r for r in gallery_step(trained, protocols) if r.card.split == "dev" and r.storage in ("fp32", "fp16")
    ]


def test_the_fewest_bytes_that_keep_a_share_on_dev_are_chosen(trained: RunContext) -> None:
    def record(storage: str, score: float, size: float, split: str = "dev") -> GalleryRecord:
        like = gallery_step(trained, gallery_protocols(trained)[:1], ["fp32"])[0]
        update = {"storage": storage, "metrics": {"mAP": score}, "row_bytes": size, "protocol": {"split": split}}
        return like.model_copy(update=update)

    records = [record("fp32", 0.5, 512), record("int8", 0.496, 132), record("pca64", 0.49, 64)]
    assert chosen_storage(records, 0.99) == "int8"
    assert chosen_storage(records, 0.97) == "pca64"
    assert chosen_storage(records, 1.0) == "fp32"
    on_test = [record("fp32", 0.5, 512, "test"), record("int8", 0.5, 132, "test")]
    assert chosen_storage(on_test, 0.99) is None, "nothing is chosen on test identities"
    assert chosen_storage([*records, *on_test], 1.0) == "fp32", "whatever test says"


@pytest.mark.check
def test_searches_are_timed_in_processes_of_their_own_and_reused(trained: RunContext) -> None:
    budget = LatencyBudget(warmup_seconds=0, min_seconds=0, min_repeats=3, max_seconds=0.05)
    seen: list[str] = []
    run = replace(trained, progress=lambda *given: seen.append(str(given[-1])))
    (record,) = search_step(run, 96, ["binary"], [300], ["numpy"], budget)
    assert (record.status, record.reason) == ("ok", None)
    assert (record.storage, record.features, record.rows, record.library) == ("binary", 96, 300, "numpy")
    assert len(record.seconds) >= 3
    assert record.gallery_bytes == 300 * (96 + 4 + 16)
    assert record.memory_bytes is not None
    assert record.affinity is None or len(record.affinity) == 1
    assert search_step(run, 96, ["binary"], [300], ["numpy"], budget) == [record]
    (failed,) = search_step(run, 96, ["pca128"], [300], ["numpy"], budget)
    assert failed.status == "failed"
    assert "of 96 values there are" in str(failed.reason)
