"""Layers of a forward: work that adds up, names of real modules, times within the whole, reasons for none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.profiling.models import FunctionalAttention, GeM, MultiheadPool, SharedConvolution
from vireid.core.config import parse
from vireid.profiling import layers as layering
from vireid.profiling.complexity import complexity, example_images
from vireid.profiling.config import ProfileConfig
from vireid.profiling.layers import Layer, LayerProfile, Roofs, canonical, layer_profiles, work_of_modules
from vireid.profiling.runtimes.layer_times import LayersUntoldError, LayerTime, calm, mean, summed, typical
from vireid.profiling.runtimes.module_times import module_times

HEIGHT, WIDTH = 32, 16
BUDGET = {"warmup_seconds": 0.0, "min_seconds": 0.0, "min_repeats": 4, "max_repeats": 4, "max_seconds": 60.0}


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(x + self.bn(self.conv(x)))


class Network(nn.Module):
    """A stem, two blocks and a linear layer: B×3×H×W → B×5."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False)
        self.blocks = nn.Sequential(Block(16), Block(16))
        self.pool = GeM()
        self.head = nn.Linear(16, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.pool(self.blocks(self.stem(images))))


PRODUCTS = ["stem", "blocks.0.conv", "blocks.1.conv", "head"]


def _network() -> nn.Module:
    torch.manual_seed(0)
    return Network().eval()


@pytest.fixture(autouse=True)
def known_roofs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measuring them takes seconds, and is tested elsewhere."""
    measured = {"gflops": {"value": 100.0}, "bandwidth": {"value": 10.0}}
    monkeypatch.setattr(layering, "roofs", lambda *_: (measured, []))


def _profile(module: nn.Module, runtime: dict[str, Any], batch: int = 1, **settings: Any) -> LayerProfile:
    asked = {"runtimes": [runtime], "batches": [batch], "threads": [1], "budget": BUDGET, **settings}
    (profile,) = layer_profiles(module, HEIGHT, WIDTH, parse(ProfileConfig, asked, "profile"))
    return profile


def _macs(profile: LayerProfile) -> int:
    assert profile.rest is not None
    return sum(layer.macs for layer in (*profile.layers, profile.rest))


@pytest.mark.parametrize("make", [Network, MultiheadPool, FunctionalAttention, SharedConvolution])
def test_work_of_all_modules_is_what_the_counter_counts(make: Callable[[], nn.Module]) -> None:
    module = make().eval()
    work = work_of_modules(module, example_images(1, HEIGHT, WIDTH))
    assert sum(macs for macs, _ in work.values()) == complexity(module, HEIGHT, WIDTH, counters=["torch"])["macs"]
    for path in work:
        module.get_submodule(path)


def test_work_and_bytes_of_a_convolution_by_hand() -> None:
    outputs = 16 * (HEIGHT // 2) * (WIDTH // 2)
    macs, moved = work_of_modules(_network(), example_images(2, HEIGHT, WIDTH))["stem"]
    assert macs == 2 * outputs * 3 * 3 * 3
    assert moved == 4 * (2 * 3 * HEIGHT * WIDTH + 16 * 3 * 3 * 3 + 2 * outputs)


def test_a_shared_module_has_one_path() -> None:
    module = SharedConvolution().eval()
    places = [path for path, inner in module.named_modules(remove_duplicate=False) if isinstance(inner, nn.Conv2d)]
    assert len(places) == 4
    assert {canonical(module, path) for path in places} == {"stem", "blocks.0.conv"}


@pytest.mark.parametrize("runtime", [{"name": "eager"}, {"name": "channels_last"}])
def test_modules_are_timed_within_the_whole(runtime: dict[str, Any]) -> None:
    module = _network()
    profile = _profile(module, runtime, batch=2)
    assert profile.status == "ok", profile.reason
    assert profile.rest is not None
    assert all(layer.seconds > 0 for layer in profile.layers)
    total = sum(layer.seconds for layer in profile.layers)
    assert total <= profile.profiled
    assert total + profile.rest.seconds == pytest.approx(profile.profiled)
    assert 0 < profile.explained <= 1
    assert {layer.module for layer in profile.layers} == {path for path, _ in module.named_modules()}
    assert _macs(profile) == 2 * complexity(module, HEIGHT, WIDTH, counters=["torch"])["macs"]
    assert not any(inner._forward_hooks or inner._forward_pre_hooks for inner in module.modules())


def test_a_block_has_what_its_children_leave() -> None:
    class Slow(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x @ x

    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.slow = Slow()

        def forward(self, x: Tensor) -> Tensor:
            return self.slow(x)

    module = Around()
    square = torch.ones(600, 600)

    def repeat(call: Callable[[], object]) -> Sequence[float]:
        call()  # warm-up
        return [float(call() is not None) for _ in range(3)]

    times = {layer.module: layer.seconds for layer in module_times(module, module, square, repeat).layers}
    assert list(times) == ["", "slow"]
    assert times["slow"] > times[""]


@pytest.mark.parametrize(
    "runtime",
    [
        {"name": "onnxruntime"},
        {"name": "onnxruntime", "optimisation": "extended"},
        {"name": "onnxruntime", "optimisation": "none"},
        {"name": "onnxruntime", "precision": "int8"},
        {"name": "openvino"},
    ],
    ids=lambda runtime: "-".join(runtime.values()),
)
def test_nodes_of_deployed_graphs_are_named_by_modules(runtime: dict[str, Any]) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip(runtime["name"])
    module = _network()
    profile = _profile(module, runtime, batch=2)
    assert profile.status == "ok", profile.reason
    names = [layer.module for layer in profile.layers]
    assert len(names) == len(set(names))
    assert set(names) <= {path for path, _ in module.named_modules()}
    assert set(PRODUCTS) <= set(names)
    assert not any(name.endswith(".bn") for name in names)  # folded into its convolution
    assert profile.rest is not None
    assert profile.rest.macs == 0  # every product was found
    assert _macs(profile) == 2 * complexity(module, HEIGHT, WIDTH, counters=["torch"])["macs"]
    stem = next(layer for layer in profile.layers if layer.module == "stem")
    assert stem.bytes is not None
    values = 2 * 3 * HEIGHT * WIDTH + 16 * 3 * 3 * 3 + 2 * 16 * (HEIGHT // 2) * (WIDTH // 2)
    size = 1 if runtime.get("precision") == "int8" else 4
    assert size * values <= stem.bytes < 1.1 * size * values + 4 * 2 * 3 * HEIGHT * WIDTH  # bias, scales, a float input


def test_fused_activations_are_no_layers_of_their_own() -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    plain = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), GeM())
    fused = {layer.module for layer in _profile(plain.eval(), {"name": "onnxruntime"}).layers}
    assert {"0", "2"} <= fused
    assert "1" not in fused
    alone = {layer.module for layer in _profile(plain, {"name": "onnxruntime", "optimisation": "none"}).layers}
    assert {"0", "1", "2"} <= alone


def test_a_runtime_that_does_not_tell_gives_a_reason() -> None:
    profile = _profile(_network(), {"name": "tests.profiling.stored_runtime:Stored"})
    assert profile.status == "skipped"
    assert profile.layers == ()
    assert "stored_runtime:Stored' does not tell the time of its layers; eager," in str(profile.reason)


def test_hooks_do_not_time_an_accelerator() -> None:
    module = _network()
    with pytest.raises(LayersUntoldError, match="on meta kernels run after their call has returned"):
        module_times(module, module, torch.empty(1, 3, 8, 8, device="meta"), lambda _: [])


@pytest.mark.check
def test_a_process_of_its_own_measures_under_a_limit() -> None:
    profile = _profile(_network(), {"name": "eager"}, isolate=True)
    assert profile.status == "ok", profile.reason
    assert profile.roofs is not None
    assert _macs(profile) == complexity(_network(), HEIGHT, WIDTH, counters=["torch"])["macs"]


def test_roofs_by_hand() -> None:
    roofs = Roofs(gflops=100.0, bandwidth=10.0)  # they meet at 10 operations per byte
    memory = Layer("a", 4e-3, macs=10**7, bytes=10**7)  # 2 operations per byte: 1 ms of traffic, 0.2 ms of arithmetic
    compute = Layer("b", 4e-3, macs=10**8, bytes=10**6)
    assert memory.intensity == 2
    assert (roofs.bound(memory), roofs.share(memory)) == ("memory", pytest.approx(0.25))
    assert (roofs.bound(compute), roofs.share(compute)) == ("compute", pytest.approx(0.5))
    attainable = min(roofs.gflops, memory.intensity * roofs.bandwidth)
    assert roofs.share(memory) == pytest.approx(2 * memory.macs / memory.seconds / 1e9 / attainable)
    assert roofs.share(Layer("c", 1e-3, macs=0, bytes=10**6)) == pytest.approx(0.1)  # of the bandwidth
    unknown = Layer("d", 1e-3, macs=0, bytes=None)
    assert (unknown.intensity, roofs.bound(unknown), roofs.share(unknown)) == (None, None, None)


def test_the_faster_half_of_forwards_counts() -> None:
    forwards = [5.0, 1.0, 9.0, 2.0, 3.0]
    assert sorted(calm(forwards)) == [1, 3, 4]
    assert typical(forwards) == 2.0
    assert mean([10.0, 1.0, 10.0, 1.0, 4.0], calm(forwards)) == 2.0


def test_parts_of_a_module_add_up() -> None:
    parts = [LayerTime("a", 1.0, 4), LayerTime("b", 2.0, 8), LayerTime("a", 3.0, 5), LayerTime("b", 1.0, None)]
    assert summed(parts) == [LayerTime("a", 4.0, 9), LayerTime("b", 3.0, None)]
