"""The choice of an artefact: limits, ties, what is said where nothing fits or nothing was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.report.deployments import BOARD, HERE, INT8, Deployed, build_deployment, graph, int8_file
from vireid.core.records import LatencyRecord
from vireid.report.records.choose import (
    Accuracy,
    Deployable,
    DeploymentChoice,
    Limits,
    candidates,
    choose,
    find_accuracy_key,
    key_for,
    overlapping,
)
from vireid.report.records.deployment import store_deployment, study_deployment
from vireid.report.records.evaluated import kernels_note
from vireid.report.records.keys import measuring
from vireid.report.records.study import StudyView
from vireid.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return build_deployment(tmp_path / "store")


def record(store: Store, device: dict[str, object] = HERE, threads: int = 1) -> LatencyRecord:
    return next(
        r
        for r in store.records()
        if isinstance(r, LatencyRecord) and r.environment.device["cpu"] == device["cpu"] and r.threads == threads
    )


def every(store: Store) -> list[Deployable]:
    joined = study_deployment(StudyView(store, "hardware"))
    return candidates(joined, find_accuracy_key(joined))


def chosen(store: Store, limits: Limits, **place: object) -> DeploymentChoice:
    return choose(every(store), key_for(record(store), **place), limits)


def name(candidate: Deployable | None) -> tuple[str, str] | None:
    return None if candidate is None else (candidate.label, candidate.timing.short)


@pytest.mark.parametrize(
    ("limits", "best", "runner_up"),
    [
        # idkl (mAP 32) is as accurate in both float32 runtimes: the faster one is taken.
        (Limits(), ("idkl", "onnxruntime fp32"), ("compact", "onnxruntime fp32")),
        (Limits(ms=29), ("compact", "onnxruntime fp32"), ("compact", "onnxruntime_int8 int8")),
        (Limits(ms=30), ("idkl", "onnxruntime fp32"), ("compact", "onnxruntime fp32")),
        (Limits(ms=5.5), ("compact", "onnxruntime_int8 int8"), None),  # bf16 took 5 ms, but nobody evaluated it
        (Limits(mb=10), ("compact", "onnxruntime_int8 int8"), None),
        (Limits(mb=89), ("compact", "onnxruntime fp32"), ("compact", "onnxruntime_int8 int8")),
        # memory of the int8 file was not measured, and what is unknown is not within a limit
        (Limits(ms=29, rss_mb=800), ("compact", "onnxruntime fp32"), None),
        (Limits(ms=45, percentile=90), ("idkl", "onnxruntime fp32"), ("compact", "onnxruntime fp32")),
    ],
)
def test_highest_map_within_limits(
    store: Store, limits: Limits, best: tuple[str, str], runner_up: tuple[str, str] | None
) -> None:
    choice = chosen(store, limits)
    assert name(choice.best) == best
    assert name(choice.runner_up) == runner_up


def test_size_of_an_unmeasured_file_is_that_of_its_weights(store: Store) -> None:
    choice = chosen(store, Limits(mb=89.9), threads=2)
    assert name(choice.best) == ("compact", "eager fp32")
    assert choice.best is not None
    assert choice.best.size_bytes == 11_000_000
    assert name(chosen(store, Limits(mb=90), threads=2).best) == ("idkl", "eager fp32")


def test_intervals_say_whether_the_choice_is_shown(store: Store) -> None:
    choice = chosen(store, Limits())
    assert choice.overlap is True  # [27, 37] and [22, 32] share a point
    assert "do not show" in choice.against_runner_up
    assert "mAP 32.0 % [27.0, 37.0] (mean over seeds 1, 2; the commands take the first) at 30.00 ms (p50), 90.0 MB" in (
        choice.sentence
    )
    assert chosen(store, Limits(ms=5.5)).overlap is None


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [((0.2, 0.3), (0.29, 0.4), True), ((0.31, 0.4), (0.2, 0.3), False), ((0.2, 0.3), (None, None), None)],
)
def test_overlap_of_intervals(
    one: tuple[float, float], other: tuple[float | None, float | None], expected: bool | None
) -> None:
    first, second = (Accuracy(0.3, low, high, 0.95, ("a",), (1,)) for low, high in (one, other))
    assert overlapping(first, second) is overlapping(second, first) is expected


def test_the_shown_rows_hold_choice_and_front(store: Store) -> None:
    choice = chosen(store, Limits(mb=11.5, ms=100))
    assert [name(c) for c in choice.shown] == [
        ("compact", "onnxruntime_int8 int8"),
        ("compact", "onnxruntime fp32"),
        ("idkl", "onnxruntime fp32"),
    ]
    exceeded = {name(c): choice.limits.exceeded(c) for c in choice.shown}
    assert exceeded["idkl", "onnxruntime fp32"] == ["file 90.00 MB > 11.5"]
    assert [name(c) for c in choice.unevaluated] == [("idkl", "onnxruntime_int8 int8"), ("compact", "openvino bf16")]


def test_nothing_fits_names_the_nearest_miss_of_each_limit(store: Store) -> None:
    choice = chosen(store, Limits(ms=2, mb=50, rss_mb=500))
    assert choice.best is None
    assert choice.nearest_misses == (
        "Nothing evaluated fits all limits; "
        "latency (p50): at least 3.00 ms, of compact, onnxruntime_int8 (quantiser nncf) int8, against 2 ms; "
        "file: at least 3.00 MB, of compact, onnxruntime_int8 (quantiser nncf) int8, against 50 MB (within it); "
        "memory: at least 700.00 MB, of idkl, eager fp32, against 500 MB."
    )


def test_only_the_machine_way_and_threads_of_the_record_count(store: Store) -> None:
    board = key_for(record(store, BOARD))
    choice = choose(every(store), board, Limits())
    assert sorted(c.timing.ms(50) for c in choice.considered) == pytest.approx([61, 305])
    limited = record(store).model_copy(update={"limit": {"name": "x86, 1 core"}})
    nowhere = choose(every(store), key_for(limited), Limits())
    assert (nowhere.considered, nowhere.best) == ((), None)
    assert measuring(key_for(limited), ["model=idkl"]) == (
        """vireid profile model=idkl profile=weak 'profile.limit="x86, 1 core"' 'profile.threads=[1]'"""
    )


def test_commands_make_the_artefact(store: Store) -> None:
    found = {(c.label, c.timing.short): c for c in every(store) if c.accuracy is not None}
    fit = StudyView(store, "hardware").runs[2].planned.fit
    assert found["compact", "onnxruntime fp32"].commands == [f"vireid bundle {fit} --to deployed-bundle"]
    assert found["compact", "onnxruntime_int8 int8"].commands == [
        f"vireid quantise {fit} --to deployed",
        "vireid bundle --file deployed/model-int8.onnx --to deployed-bundle",
    ]
    write, runtime = Deployed(store), {**INT8, "name": "openvino"}
    write.time(graph("compact"), [0.002], runtime)
    write.score("compact", 1, 0.25, int8_file("compact", runtime=runtime))
    found = {(c.label, c.timing.short): c for c in every(store) if c.accuracy is not None}
    assert found["compact", "openvino int8"].commands == [f"vireid quantise {fit} --to deployed"]


def test_of_two_graphs_the_bundle_takes_the_one_for_queries(store: Store) -> None:
    parts = {"model-visible/model.onnx": "1" * 64, "model-infrared/model.onnx": "2" * 64}
    write, runtime = Deployed(store), {**INT8, "name": "onnxruntime_other"}
    write.time(graph("compact"), [0.002], runtime)
    write.score("compact", 1, 0.25, int8_file("compact", runtime=runtime, parts=parts))
    (two,) = [c for c in every(store) if c.accuracy is not None and c.accuracy.graph == "model-infrared"]
    assert two.commands[1] == "vireid bundle --file deployed/model-infrared-int8.onnx --to deployed-bundle"


def test_a_bundle_of_another_runtime_says_what_it_takes(store: Store) -> None:
    write = Deployed(store)
    write.time(graph("idkl"), [0.02], {"name": "openvino", "precision": "fp32"}, size_bytes=90_000_000)
    choice = chosen(store, Limits(ms=25))
    assert name(choice.best) == ("idkl", "openvino fp32")
    assert choice.bundle_note == (
        "A bundle runs on onnxruntime, where this network takes 30.00 ms, over the limits: latency (p50) 30.00 ms > 25."
    )
    assert chosen(store, Limits(ms=6)).bundle_note == ""


def test_sustained_runs_and_own_processes_are_places_of_their_own(store: Store) -> None:
    own = record(store)
    windows = [{"start": 0.0, "end": 10.0, "samples": 3}]
    sustained = key_for(own.model_copy(update={"windows": windows}))
    assert sustained.mode == "isolated, sustained"
    assert measuring(sustained, ["model=idkl"]) == "vireid profile model=idkl profile=sustained 'profile.threads=[1]'"
    inside = key_for(own.model_copy(update={"isolated": False}))
    assert measuring(inside, ["model=idkl"]) == "vireid profile model=idkl 'profile.threads=[1]'"
    assert not [c for c in every(store) if c.timing.key in (sustained, inside)]


def test_a_broken_record_and_a_broken_plan_change_nothing_but_a_word(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    before = store_deployment(store)
    (store.runs / "00000000000b.json").write_text("{")
    (store.study("broken")).mkdir()
    (store.study("broken") / "plan.json").write_text("{")
    assert store_deployment(store) == before
    assert [text.partition(":")[0] for text in caplog.messages] == [
        "1 record is left out; the first",
        "1 plan is left out",
    ]


def test_fixture_is_as_described(store: Store) -> None:
    found = {
        (c.label, c.timing.short): round(c.timing.ms(50))
        for c in every(store)
        if c.timing.key == key_for(record(store))
    }
    assert found == {
        ("idkl", "eager fp32"): 40,
        ("idkl", "onnxruntime fp32"): 30,
        ("idkl", "onnxruntime_int8 int8"): 12,
        ("compact", "eager fp32"): 8,
        ("compact", "onnxruntime fp32"): 6,
        ("compact", "openvino bf16"): 5,
        ("compact", "onnxruntime_int8 int8"): 3,
    }


def int8_on_this_machine(store: Store) -> Deployable:
    return next(c for c in every(store) if c.label == "idkl" and c.precision == "int8")


def test_int8_has_the_accuracy_of_its_own_kernels_alone(store: Store) -> None:
    Deployed(store).score("idkl", 1, 0.31, int8_file("idkl", kernels="vnni"))
    candidate = int8_on_this_machine(store)
    assert candidate.accuracy is None
    assert candidate.elsewhere == "measured on vnni, not on avx2"
    assert candidate in chosen(store, Limits()).unevaluated
    Deployed(store).score("idkl", 1, 0.21, int8_file("idkl", kernels="avx2"))
    candidate = int8_on_this_machine(store)
    assert candidate.accuracy is not None
    assert candidate.accuracy.mean_ap == pytest.approx(0.21), "not the mean with another machine's"
    assert candidate.accuracy.kernels == "avx2"
    assert "was measured on avx2, as this machine computes" in kernels_note(candidate)


@pytest.mark.parametrize(("isa", "counts"), [(["avx2"], True), (["avx2", "avx_vnni"], False), ([], False)])
def test_without_kernels_on_record_a_score_counts_for_machines_that_sum_alike(
    store: Store, isa: list[str], counts: bool
) -> None:
    run = Deployed(store).score("idkl", 1, 0.31, int8_file("idkl", kernels=None, runtime_version=None))
    file = store.runs / f"{run}.json"
    plain = json.loads(file.read_text())
    plain["environment"]["device"]["isa"] = isa
    file.write_text(json.dumps(plain))
    candidate = int8_on_this_machine(Store(store.root))
    assert (candidate.accuracy is not None) == counts
    if candidate.accuracy is not None:
        assert candidate.accuracy.kernels == "not recorded"
        assert "has no instruction set on record" in kernels_note(candidate)


def test_the_size_of_two_graphs_together_is_not_that_of_the_one_that_queries_need(store: Store) -> None:
    """Else the int8 file of a network with two stems would look twice as large as its float32 one."""
    Deployed(store).score("idkl", 1, 0.31, int8_file("idkl", kernels="avx2"))
    assert int8_on_this_machine(store).size_bytes is not None
    parts = {f"model-{name}/int8.onnx": "d" * 64 for name in ("infrared", "visible")}
    Deployed(store).score("idkl", 1, 0.31, int8_file("idkl", parts=parts, kernels="avx2"))
    candidate = int8_on_this_machine(store)
    assert candidate.accuracy is not None
    assert candidate.size_bytes is None
    assert Limits(mb=1000).exceeded(candidate), "what was not measured is not within a limit"
