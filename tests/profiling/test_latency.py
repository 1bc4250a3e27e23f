"""Latency samples, thread limits, memory and the runtimes."""

from __future__ import annotations

import gc
import json
import time
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.profiling.models import Pooled
from vireid.core.config import parse
from vireid.core.errors import UserError
from vireid.core.records import CostRecord, LatencyRecord
from vireid.profiling import RUNTIMES
from vireid.profiling.complexity import cost, example_images
from vireid.profiling.config import EagerConfig, LatencyBudget, ProfileConfig
from vireid.profiling.device import thread_limit
from vireid.profiling.latency import latency, measure
from vireid.profiling.runtimes.eager import Eager
from vireid.profiling.sampling import summarise
from vireid.profiling.sensors.reading import machine_notes

SHORT = LatencyBudget(warmup_seconds=0.02, min_seconds=0.02, min_repeats=5, max_seconds=0.5)
QUICK = {"budget": SHORT.model_dump(), "batches": [1, 3], "threads": [1]}


def profile_config(**changes: Any) -> ProfileConfig:
    return parse(ProfileConfig, {**QUICK, **changes}, "profile")


def test_samples_are_raw_and_measure_the_session() -> None:
    calls: list[tuple[bool, bool]] = []

    def session(images: Tensor) -> None:
        calls.append((gc.isenabled(), torch.get_num_threads() == 1))
        time.sleep(0.004)

    before = torch.get_num_threads()
    samples = measure(session, example_images(2, 4, 4), threads=1, budget=SHORT)
    assert len(samples.seconds) >= 5
    assert len(calls) == samples.warmup + len(samples.seconds)
    assert all(second >= 0.004 for second in samples.seconds)
    assert not any(collecting for collecting, _ in calls[samples.warmup :])
    assert all(limited for _, limited in calls)
    assert gc.isenabled()
    assert torch.get_num_threads() == before
    assert samples.batch == 2


def test_garbage_collection_and_threads_are_restored_after_a_failure() -> None:
    before = torch.get_num_threads()
    calls = 0

    def session(images: Tensor) -> None:
        nonlocal calls
        calls += 1
        if calls > 8:
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError):
        measure(session, example_images(1, 4, 4), threads=1, budget=LatencyBudget(warmup_seconds=0, min_seconds=1))
    assert gc.isenabled()
    assert torch.get_num_threads() == before


def test_time_limit_and_noise_are_noted() -> None:
    durations = iter([0.001, 0.03, 0.002, 0.03, 0.03, 0.03, 0.03, 0.03, 0.03])
    budget = LatencyBudget(warmup_seconds=0, min_seconds=0, min_repeats=50, max_seconds=0.05)
    samples = measure(lambda _: time.sleep(next(durations)), example_images(1, 4, 4), threads=1, budget=budget)
    assert samples.warmup == 1
    assert not samples.steady
    assert 3 <= len(samples.seconds) < 9
    assert any("time limit of 0.05 s" in note for note in samples.notes)
    assert any("not settled" in note for note in samples.notes)


def test_spread_is_noted() -> None:
    durations = iter([0.01, 0.01, 0.01, 0.01, 0.3, 0.3])
    budget = LatencyBudget(warmup_seconds=0, min_seconds=0, min_repeats=5, max_seconds=5)
    samples = measure(lambda _: time.sleep(next(durations)), example_images(1, 4, 4), threads=1, budget=budget)
    assert any(note.startswith("noisy: p90 is") for note in samples.notes)


def test_summary_by_hand() -> None:
    summary = summarise([0.5, 0.1, 0.2, 0.4, 0.3], batch=6)
    assert summary.p50 == pytest.approx(0.3)
    assert summary.p90 == pytest.approx(0.46)
    assert summary.p99 == pytest.approx(0.496)
    assert summary.mean == pytest.approx(0.3)
    assert summary.throughput == pytest.approx(20)


def test_thread_limit_restores() -> None:
    before = torch.get_num_threads()
    with thread_limit(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("changes", "tolerance"), [({}, 0.0), ({"channels_last": True}, 1e-5), ({"precision": "bf16"}, 2e-2)]
)
def test_eager_gives_the_module_s_embeddings(changes: dict[str, Any], tolerance: float) -> None:
    module = Pooled(nn.BatchNorm2d(4)).train()
    images = example_images(2, 8, 6)
    runtime = Eager(EagerConfig(**changes))
    session = runtime.prepare(module, images)
    embedding = session(images)
    assert module.training, "the module itself stays as it was"
    with torch.no_grad():
        expected = module.eval()(images)
    assert torch.allclose(embedding.float(), expected, rtol=tolerance, atol=tolerance)
    assert embedding.is_inference()
    assert runtime.available() is None
    assert runtime.precision == changes.get("precision", "fp32")


def test_every_registered_runtime_has_config_and_version() -> None:
    for name in RUNTIMES.names():
        runtime = RUNTIMES.load(name)
        assert isinstance(runtime.version, str)
        assert runtime.Config(name=name).name == name


def test_latency_covers_every_combination_and_fits_the_record() -> None:
    config = profile_config(runtimes=[{"name": "eager"}, {"name": "eager", "precision": "bf16"}])
    results = list(latency(Pooled(nn.ReLU()), 8, 6, config, artefact="0" * 12, emulate=True))
    assert [(r["precision"], r["threads"], r["batch"]) for r in results] == [
        (precision, 1, batch) for precision in ("fp32", "bf16") for batch in (1, 3)
    ]
    for result in results:
        assert result["status"] == "ok", result["reason"]
        assert json.loads(json.dumps(result, allow_nan=False)) == result
        assert set(result) <= set(LatencyRecord.model_fields)
        assert (result["peak_memory_bytes"], result["memory_by"]) == (None, None), "this process holds more than that"
        assert result["runtime"]["version"] == Eager.version


class Absent:
    Config = EagerConfig
    version = "1"
    precision = "int8"

    def __init__(self, config: EagerConfig) -> None:
        self.config = config

    def available(self) -> str | None:
        return "needs the package 'absent'"


def test_unavailable_runtime_is_skipped_and_a_broken_model_fails_aloud() -> None:
    config = profile_config(runtimes=[{"name": "tests.profiling.test_latency:Absent"}, {"name": "eager"}], batches=[1])
    skipped, failed = latency(nn.Linear(5, 2), 8, 6, config, artefact="0" * 12)
    assert (skipped["status"], skipped["reason"], skipped["seconds"]) == ("skipped", "needs the package 'absent'", [])
    assert failed["status"] == "failed"
    assert failed["reason"].startswith("RuntimeError: ")


def test_cost_asks_the_model_for_roles() -> None:
    class Method(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.deployed = Pooled(nn.ReLU())
            self.head = nn.Linear(4, 10)
            self.dead = nn.Linear(2, 2)

        def parameter_roles(self) -> dict[str, str]:
            return {"dead.weight": "dead", "dead.bias": "dead"}

    method = Method()
    result = cost(method, method.deployed, 8, 6, counters=["torch"])
    assert result["parameters"] == {"deployed": 109, "training_only": 50, "dead": 6}
    assert result["size_bytes"] == 4 * 109
    assert result["macs"] == 8 * 6 * 4 * 27
    assert set(result) <= set(CostRecord.model_fields)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"counters": ["toch"]}, "did you mean 'torch'"),
        ({"runtimes": [{"name": "eagr"}]}, "did you mean 'eager'"),
        ({"runtimes": [{"name": "eager", "precison": "fp32"}]}, "precis"),
        ({"batches": [0]}, "at least 1"),
        ({"batch": [1]}, "unknown key.*did you mean 'batches'"),
    ],
)
def test_bad_configuration_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        profile_config(**changes)


def machine(governor: str | None, throttling: Any) -> dict[str, Any]:
    return {"governor": {"value": governor}, "throttling": {"value": throttling}}


@pytest.mark.parametrize(
    ("before", "after", "notes"),
    [
        (machine(None, None), machine(None, None), []),
        (machine("performance", {"core_throttle_count": 3}), machine("performance", {"core_throttle_count": 3}), []),
        (
            machine("powersave", {"core_throttle_count": 3}),
            machine("powersave", {"core_throttle_count": 8}),
            ["governor 'powersave' changes the clock", "core throttle count rose by 5"],
        ),
        (
            machine(None, []),
            machine(None, ["throttled now", "throttled since boot"]),
            ["firmware says: throttled now"],
        ),
        (machine(None, []), machine(None, ["throttled since boot"]), []),
    ],
)
def test_remarks_on_the_machine(before: dict[str, Any], after: dict[str, Any], notes: list[str]) -> None:
    found = machine_notes(before, after)
    assert len(found) == len(notes)
    assert all(part in note for part, note in zip(notes, found, strict=True))
