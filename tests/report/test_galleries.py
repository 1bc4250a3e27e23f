"""Stored galleries from records: times by rows, the choice of network and storage together, floors, the section."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.deployments import HERE, ONNX, Deployed, build_deployment, graph
from vireid.core.errors import UserError
from vireid.core.records import LatencyRecord
from vireid.report.page import open_report
from vireid.report.records.choose import Limits, candidates, choose, find_accuracy_key, key_for
from vireid.report.records.deployment import store_deployment
from vireid.report.records.floor import fastest_above, floor_of, floor_sentences
from vireid.report.records.galleries import Retrieval, choose_retrieval, retrievals
from vireid.report.records.searches import search_times
from vireid.store import Store

MEMORY = {"peak_memory_bytes": 40_000_000, "memory_by": "growth"}
SCORES = {"fp32": (0.32, 512.0), "int8": (0.315, 132.0), "pca64": (0.29, 256.0)}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two systems; galleries of 128 values of idkl by seed 1 and 2, and of compact in float32 alone."""
    store = build_deployment(tmp_path / "store")
    write = Deployed(store)
    for storage, (score, row) in SCORES.items():
        for seed in (1, 2):
            write.gallery("idkl", seed, storage, score + 0.01 * (seed - 1), row)
        for rows, seconds in ((1000, 1e-4), (10_000, 1e-3), (100_000, 2e-2)):
            write.search(storage, rows, seconds * (0.5 if storage == "int8" else 1.0))
    for seed in (1, 2):
        write.gallery("compact", seed, "fp32", 0.27, 512.0)
    write.search("int8", 100_000, 5e-4, "faiss")
    write.time(graph("idkl"), [0.021] * 3, {**ONNX, "optimisation": "basic"}, **MEMORY)
    return store


def known(store: Store, rows: int) -> list[Retrieval]:
    deployment = store_deployment(store)
    key = find_accuracy_key(deployment)
    assert key is not None
    first = next(
        r
        for r in store.records()
        if isinstance(r, LatencyRecord) and (r.environment.device["cpu"], r.threads) == (HERE["cpu"], 1)
    )
    return retrievals(candidates(deployment, key), list(store.records()), key, key_for(first), rows)


def test_time_lies_on_a_power_of_rows_between_sizes_and_is_not_known_beyond(store: Store) -> None:
    (exact,) = (t for t in search_times(store.records()) if (t.storage, t.library) == ("fp32", "numpy"))
    assert exact.ms(1000) == pytest.approx(0.1)
    assert exact.ms(3162) == pytest.approx(0.1 * 3.162, rel=1e-3)
    assert (exact.ms(999), exact.ms(100_001)) == (None, None)
    assert exact.is_measured(10_000)
    assert not exact.is_measured(20_000)
    assert exact.exponent == pytest.approx(1.1505, abs=1e-3)  # log10(200) ÷ 2 over three even steps
    assert exact.gallery_bytes == {1000: 100_000, 10_000: 1_000_000, 100_000: 10_000_000}
    (faiss,) = (t for t in search_times(store.records()) if t.library == "faiss")
    assert faiss.exponent is None


def test_a_query_is_network_preprocessing_and_search(store: Store) -> None:
    one = next(one for one in known(store, 100_000) if one.storage == "int8" and one.memory_bytes is not None)
    assert one.deployable.timing.ms(50) == pytest.approx(21)
    assert (one.search_ms, one.preprocess_seconds) == (pytest.approx(10), 0.002)
    assert one.ms() == pytest.approx(33)
    assert one.memory_bytes == 40_000_000 + 13_200_000
    assert one.accuracy.mean_ap == pytest.approx(0.32), "mean over two fits"
    for record in list(store.records()):
        if isinstance(record, LatencyRecord) and record.stages:
            (store.runs / f"{record.id}.json").unlink()
    unmeasured = next(o for o in known(store, 100_000) if o.storage == "int8" and o.memory_bytes is not None)
    assert unmeasured.preprocess_seconds is None
    assert unmeasured.ms() == pytest.approx(31)


def test_network_and_storage_are_chosen_together(store: Store) -> None:
    everything = known(store, 100_000)
    assert {(one.deployable.label.rpartition(": ")[2], one.storage) for one in everything} == {
        *(("idkl", storage) for storage in SCORES),
        ("compact", "fp32"),
    }
    best = choose_retrieval(everything).best
    assert best is not None
    assert (best.storage, best.accuracy.mean_ap) == ("fp32", pytest.approx(0.325))
    tight = choose_retrieval(everything, max_bytes=60e6)
    assert tight.best is not None
    assert tight.best.storage == "int8", "51 MB of float32 rows leave no room for the file"
    assert all("not measured" in " ".join(tight.exceeded(o)) for o in everything if o.memory_bytes is None)
    fast = choose_retrieval(everything, max_ms=0.5)
    assert fast.best is None
    assert all(fast.exceeded(one)[0].startswith("latency") for one in everything)


def test_a_floor_takes_the_fastest_that_keeps_it(store: Store) -> None:
    everything = known(store, 100_000)
    floor = floor_of([one.deployable for one in everything if one.storage == "fp32"], 0.98)
    assert floor is not None
    assert floor.value == pytest.approx(0.98 * 0.325)
    choice = choose_retrieval(everything, floor=floor)
    assert choice.best is not None
    assert choice.best.storage == "int8", "0.32 keeps 0.3185, and is searched in half the time"
    assert floor.doubtful(choice.best.accuracy), "its interval begins at 0.30"
    assert not any(one.storage == "pca64" for one in choice.fitting)


def test_a_floor_for_files_alone(store: Store) -> None:
    deployment = store_deployment(store)
    first = next(r for r in store.records() if isinstance(r, LatencyRecord) and r.threads == 1 and not r.stages)
    choice = choose(candidates(deployment, find_accuracy_key(deployment)), key_for(first), Limits())
    floor = floor_of(choice.considered, 0.5)
    assert floor is not None
    kept = fastest_above(choice, floor)
    assert kept.best is not None
    assert choice.best is not None
    assert kept.best.timing.ms(50) == min(c.timing.ms(50) for c in choice.considered)
    assert "is the fastest that keeps the floor" in floor_sentences(kept, floor)[0]
    strict = floor_of(choice.considered, 1.0)
    assert strict is not None
    assert fastest_above(choice, strict).best == choice.best, "only the reference itself keeps all of its mAP"
    assert "marked ?" in floor_sentences(fastest_above(choice, strict), strict)[1]
    assert floor_of(choice.considered, 0.9, "compact").reference.endswith("compact")  # type: ignore[union-attr]
    with pytest.raises(UserError, match="--reference nobody: no evaluated float32 model is called so; there are: "):
        floor_of(choice.considered, 0.9, "nobody")
    assert floor_of([], 0.9) is None


def test_the_section_shows_accuracy_times_and_a_picture(store: Store, tmp_path: Path) -> None:
    section = open_report(store.root, "hardware", tmp_path / "out").section("galleries")
    frame = section.frame
    assert set(frame["storage"]) == set(SCORES)
    assert (frame["data"] == "synthetic data (renderer 1.0), not comparable with published results").all()
    assert "One search on one core" in section
    assert ">1.15<" in section
    assert (tmp_path / "out/figures/galleries-1.svg").is_file()


def test_without_galleries_the_section_names_the_command(tmp_path: Path) -> None:
    store = build_deployment(tmp_path / "store")
    section = open_report(store.root, "hardware", tmp_path / "out").section("galleries")
    assert "<code>vireid gallery RUN</code>" in section
