"""Which device is meant, which seeds are one model, and whose people are compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.deployments import EAGER, HERE, ONNX, SIZE, Deployed, build_deployment, fit_id, graph
from vireid.core.errors import UserError
from vireid.core.records import FitRecord, LatencyRecord
from vireid.report.records.choose import Limits, candidates, choose, find_accuracy_key
from vireid.report.records.deployment import store_deployment
from vireid.report.records.devices import find_timing_key, other_conditions
from vireid.report.records.keys import measuring
from vireid.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return build_deployment(tmp_path / "store")


def test_a_device_goes_by_a_part_of_its_name(store: Store) -> None:
    deployment = store_deployment(store)
    key = find_timing_key(deployment, "example cpu")
    assert (key.device, key.threads, key.mode) == ("Example CPU @ 2.6 GHz, 2 logical cores", 1, "isolated")
    assert find_timing_key(deployment, "arm").device.startswith("Example ARM board")
    assert find_timing_key(deployment, "example cpu", threads=2).threads == 2
    assert other_conditions(deployment, key) == ["2 threads, isolated"]


def test_a_device_goes_by_the_id_of_a_record(store: Store) -> None:
    record = next(
        r for r in store.records() if isinstance(r, LatencyRecord) and r.environment.device["cpu"] == HERE["cpu"]
    )
    key = find_timing_key(store_deployment(store), record.id[:10], store.records())
    assert (key.device, key.threads) == ("Example CPU @ 2.6 GHz, 2 logical cores", record.threads)


def test_latencies_of_limited_kernels_are_never_pooled_with_others(store: Store) -> None:
    """A strong processor held to AVX2 is another kind of processor; runtimes that ask it themselves are not held."""
    strong = {**HERE, "isa": ["avx2", "avx512f"], "kernel_isa": ["avx2", "avx512f"], "torch_cpu_capability": "AVX512"}
    limited = {**strong, "kernel_isa": ["avx2"], "torch_cpu_capability": "AVX2"}
    write = Deployed(store)
    for device, seconds in ((strong, 0.010), (limited, 0.020)):
        for runtime in (EAGER, ONNX):
            write.time(graph("idkl"), [seconds] * 3, runtime, device=device)
    deployment = store_deployment(store)
    there = [t for t in deployment.timings if t.first.environment.device["isa"] == strong["isa"]]
    assert len({t.key.machine for t in there}) == 1, "one machine, so that its searches serve both"
    found = {(t.short, t.key.kernels): set(t.seconds) for t in there}
    eager, onnx = "eager fp32", "onnxruntime fp32"
    assert found == {(eager, ""): {0.010}, (eager, "AVX2"): {0.020}, (onnx, ""): {0.010, 0.020}}
    device = next(t.key.device for t in there)
    free, held = (find_timing_key(deployment, device, mode=mode) for mode in ("isolated", "held to AVX2"))
    assert (free.heading, held.heading) == ("1 thread, isolated", "1 thread, isolated, kernels held to AVX2")
    assert "1 thread, isolated, kernels held to AVX2" in other_conditions(deployment, free)
    record = next(t.first for t in there if t.key.kernels)
    assert find_timing_key(deployment, record.id, store.records()).kernels == "AVX2"
    other = find_timing_key(
        deployment, next(t.first for t in there if not t.key.kernels).id, store.records(), mode="AVX2"
    )
    assert other.kernels == "AVX2"
    assert measuring(held, ["model=idkl"]).startswith("ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 vireid profile")


@pytest.mark.parametrize(
    ("device", "choices", "words"),
    [
        (None, {}, r"several machines were measured: name one with --device; there are: 'Example ARM board"),
        ("example", {}, r"--device example: 2 machines are called so; there are: 'Example ARM.*'; 'Example CPU"),
        ("pentium", {}, r"--device pentium: no machine is called so, and no record matches; there are: 'Example"),
        ("arm", {"threads": 9}, r"nothing was measured with such threads and mode; there are: 1 thread, isolated"),
    ],
)
def test_what_is_no_single_device_is_refused_with_those_that_are(store: Store, device, choices, words) -> None:
    with pytest.raises(UserError, match=words):
        find_timing_key(store_deployment(store), device, store.records(), **choices)


def test_seeds_taught_by_a_fit_of_their_own_seed_are_one_model(store: Store) -> None:
    for seed in (1, 2):
        student = store.get(fit_id("compact", seed))
        assert isinstance(student, FitRecord)
        model = {**student.config["model"], "teacher": {"run": fit_id("idkl", seed)}}
        store.put(student.model_copy(update={"config": {**student.config, "model": model}}))
    (store.study("hardware") / "plan.json").unlink()
    students = [m for m in store_deployment(store).models if m.cost.model["name"] == "compact"]
    assert [[fit.seed for fit in student.fits] for student in students] == [[1, 2]]


def test_models_of_other_people_are_left_out_with_a_word(store: Store) -> None:
    write = Deployed(store)
    data = {"dataset": {"name": "sysu"}, "height": SIZE[0], "width": SIZE[1], "split": "test"}
    data["synthetic"] = {"seed": 9, "train_ids": 100, "renderer_version": "1.0"}
    other = {"name": "agw", "backbone": "resnet18"}
    like = store.get(fit_id("idkl", 1))
    assert isinstance(like, FitRecord)
    fit = like.model_copy(
        update={"id": fit_id("agw", 9), "seed": 9, "config": {"kind": "fit", "seed": 9, "data": data, "model": other}}
    )
    store.put(fit)
    write.price(other, graph("agw"), 1e6, 1_000_000)
    write.score("agw", 9, 0.9)
    write.time(graph("agw"), [0.001] * 3)
    deployment = store_deployment(store)
    key = find_timing_key(deployment, "example cpu")
    choice = choose(candidates(deployment, find_accuracy_key(deployment, None, key)), key, Limits())
    assert choice.best is not None
    assert choice.best.accuracy is not None
    assert choice.best.accuracy.mean_ap == pytest.approx(0.32), "nine tenths on other people are no better"
    assert [c.label for c in choice.elsewhere] == ["agw resnet18"]
    assert "Left out, as evaluated on other people (render seeds 9, not 1, 2): agw resnet18." in choice.people_note
