"""Every runtime that can run here gives the features of eager PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.profiling.runtimes.graphs import GRAPHS, HEIGHT, WIDTH, graph
from vireid.core.errors import UserError
from vireid.core.types import Modality
from vireid.profiling import RUNTIMES
from vireid.profiling.export.formats import check_images, difference
from vireid.profiling.runtimes.base import FileRuntime, unavailable

BOTH = list(Modality)
ANY_NUMBER = {"onnxruntime", "openvino", "ncnn"}  # their files take any number of images
PER_MODALITY = {"agw", "caj", "deen"}  # graphs with a stem for each
SLOW = {"compile", "executorch", "ncnn"}  # seconds for every graph
OTHERS = [name for name in RUNTIMES.names() if name not in ("eager", "compile")]
BF16 = 0.1  # relative; such small networks lose more than large ones


def _runtime(name: str, **settings: Any) -> Any:
    component = RUNTIMES.load(name)
    runtime = component(component.Config(name=name, **settings))
    if (reason := runtime.available()) is not None:
        pytest.skip(reason)
    return runtime


def _largest_difference(runtime: Any, name: str, modality: Modality, folder: Path) -> float:
    """Over batches of 1 and 3 images."""
    module = graph(name, modality)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    found, file = [], None
    for count in (1, 3):
        images = check_images(count, HEIGHT, WIDTH)
        if not isinstance(runtime, FileRuntime):
            session = runtime.prepare(module, images)
        else:
            if file is None or runtime.config.name not in ANY_NUMBER:
                file = runtime.store(module, images, folder)
            session = runtime.load(file, images)
        with torch.inference_mode():
            expected = module(images)
        found.append(difference(session(images), expected))
        assert difference(session(images), expected) == pytest.approx(found[-1], abs=1e-6), "a second call differs"
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    return max(found)


@pytest.mark.parametrize(
    ("name", "modality"),
    [
        pytest.param("ibn-a, refined", Modality.INFRARED, marks=pytest.mark.check),
        ("agw", Modality.VISIBLE),
        pytest.param("agw", Modality.INFRARED, marks=pytest.mark.check),
    ],
)
@pytest.mark.parametrize("runtime", [name for name in OTHERS if name not in SLOW])
def test_fast_runtimes(runtime: str, name: str, modality: Modality, tmp_path: Path) -> None:
    assert _largest_difference(_runtime(runtime), name, modality, tmp_path) <= 1e-4


@pytest.mark.check
@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("runtime", OTHERS)
def test_every_runtime_on_every_graph(runtime: str, name: str, tmp_path: Path) -> None:
    able = _runtime(runtime)
    if (runtime, name) == ("executorch", "deen"):  # its pass for channels-last stops at the layer that runs three times
        with pytest.raises(UserError, match="executorch: cannot lower this network"):
            able.store(graph(name), check_images(1, HEIGHT, WIDTH), tmp_path)
        return
    if runtime == "ncnn" and name in ("agw", "caj"):  # its converter loses the non-local blocks
        with pytest.raises(UserError, match="ncnn: features differ from those of eager PyTorch"):
            able.store(graph(name), check_images(1, HEIGHT, WIDTH), tmp_path)
        return
    for modality in BOTH if name in PER_MODALITY else [Modality.INFRARED]:  # the others share one graph
        folder = tmp_path / modality.name
        folder.mkdir()
        assert _largest_difference(able, name, modality, folder) <= 1e-4


@pytest.mark.check
@pytest.mark.parametrize("name", ["ibn-a, refined", "ibn-b", "agw"])
def test_compiled(name: str, tmp_path: Path) -> None:
    assert _largest_difference(_runtime("compile"), name, Modality.VISIBLE, tmp_path) <= 1e-4


@pytest.mark.parametrize("runtime", ["channels_last", "openvino"])
def test_bf16_rounds_and_no_more(runtime: str, tmp_path: Path) -> None:
    able = _runtime(runtime, precision="bf16")
    assert able.precision == "bf16"
    if runtime == "openvino" and (reason := unavailable(able)) is not None:
        with pytest.raises(
            RuntimeError, match="PrimitiveDescriptors"
        ):  # it emulates nothing, so `unavailable` must say so
            _largest_difference(able, "plain", Modality.INFRARED, tmp_path)
        assert "bfloat16" in reason
        return
    assert 1e-4 < _largest_difference(able, "plain", Modality.INFRARED, tmp_path) < BF16


@pytest.mark.check
def test_compiled_bf16_rounds_and_no_more(tmp_path: Path) -> None:
    able = _runtime("compile", precision="bf16")
    assert 1e-4 < _largest_difference(able, "plain", Modality.INFRARED, tmp_path) < BF16


@pytest.mark.check
def test_every_level_of_onnx_runtime(tmp_path: Path) -> None:
    module, images = graph("plain"), check_images(2, HEIGHT, WIDTH)
    file = _runtime("onnxruntime").store(module, images, tmp_path)
    with torch.inference_mode():
        expected = module(images)
    for level in ("none", "basic", "extended", "all"):
        assert difference(_runtime("onnxruntime", optimisation=level).load(file, images)(images), expected) <= 1e-4
