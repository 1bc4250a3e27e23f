"""Why a runtime cannot run, threads that follow PyTorch's, and files that go with their session."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vireid.core.config import parse
from vireid.core.errors import UserError
from vireid.profiling import RUNTIMES
from vireid.profiling.config import EagerConfig, ExecuTorchConfig, ProfileConfig
from vireid.profiling.device import available_cores, thread_limit
from vireid.profiling.runtimes import base
from vireid.profiling.runtimes.base import FileRuntime, PoolSession, unavailable
from vireid.profiling.runtimes.onnxruntime import PROVIDER


def _runtime(name: str, **settings: Any) -> Any:
    component = RUNTIMES.load(name)
    return component(component.Config(name=name, **settings))


def test_executorch_in_float32_keeps_the_identity_of_its_records() -> None:
    assert ExecuTorchConfig().model_dump(mode="json") == {"name": "executorch"}
    assert ExecuTorchConfig.model_validate({"name": "executorch", "precision": "int8"}).model_dump(mode="json") == {
        "name": "executorch",
        "precision": "int8",
        "quantisation": {"ranges": "minmax", "images": 256},
    }


def test_int8_of_executorch_needs_its_quantiser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "find_spec", lambda module: None if module == "torchao" else object())
    assert "needs the package 'torchao'" in _runtime("executorch", precision="int8").available()
    assert _runtime("executorch").available() is None


def test_eager_keeps_the_identity_of_its_records() -> None:
    assert EagerConfig().model_dump(mode="json") == {"name": "eager", "precision": "fp32", "channels_last": False}


@pytest.mark.parametrize("name", RUNTIMES.names())
def test_every_runtime_says_in_one_line_whether_it_can_run(name: str) -> None:
    reason = _runtime(name).available()
    assert reason is None or (reason and "\n" not in reason)


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("onnxruntime", "onnx", "deploy"),
        ("onnxruntime", "onnxruntime", "deploy"),
        ("openvino", "openvino", "deploy"),
        ("tensorrt", "onnxruntime", "deploy"),
        ("ncnn", "pnnx", "edge"),
        ("executorch", "executorch", "edge"),
    ],
)
def test_a_missing_package_is_the_reason(name: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "find_spec", lambda module: None if module == package else object())
    reason = _runtime(name).available()
    assert reason == (
        f"needs the package '{package}', which is not installed: make install EXTRAS={extra}, "
        f"outside a checkout pip install {package}"
    )


@pytest.mark.parametrize("name", ["eager", "channels_last", "compile", "openvino"])
def test_a_precision_without_instructions_is_a_reason_unless_emulation_is_asked_for(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "sh")  # any program
    monkeypatch.setattr(base, "emulated", lambda precision: None if precision == "fp32" else "Some CPU lacks it")
    runtime = _runtime(name, precision="bf16")
    assert unavailable(_runtime(name, precision="fp32")) is None
    assert unavailable(runtime) == (
        "Some CPU lacks it: use precision fp32, or runtime.emulate=true to have it emulated"
    )
    assert unavailable(runtime, emulate=True) == runtime.available()
    assert unavailable(runtime, "cuda") == runtime.available(), "an accelerator has instructions of its own"


def test_compile_needs_a_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert "needs a C++ compiler" in _runtime("compile").available()
    monkeypatch.setenv("CXX", "my-compiler")
    assert "(my-compiler)" in _runtime("compile").available()


def test_accelerators_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    library = pytest.importorskip("onnxruntime")
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "finds no CUDA device" in _runtime("cuda").available()
    assert "finds no CUDA device" in _runtime("tensorrt").available()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(library, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert "was built without TensorRT" in _runtime("tensorrt").available()
    monkeypatch.setattr(library, "get_available_providers", lambda: [PROVIDER])
    assert _runtime("tensorrt").available() is None


@pytest.mark.parametrize("name", ["onnxruntime", "openvino", "ncnn", "executorch", "tensorrt"])
def test_images_elsewhere_are_refused_by_runtimes_of_the_cpu(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"'{name}' takes images from main memory, not from meta: set runtime.device"):
        _runtime(name).store(nn.Identity(), torch.empty(1, 3, 8, 6, device="meta"), tmp_path)


def test_settings_are_checked() -> None:
    for runtime, message in (
        ({"name": "onnxruntim"}, "did you mean 'onnxruntime'"),
        ({"name": "onnxruntime", "optimisation": "al"}, "did you mean 'all'"),
        ({"name": "openvino", "precision": "int4"}, "fp32"),
        ({"name": "compile", "freezin": True}, "did you mean 'freezing'"),
    ):
        with pytest.raises(UserError, match=message):
            parse(ProfileConfig, {"runtimes": [runtime]}, "profile")


def test_a_pool_is_built_for_pytorchs_threads_and_again_when_they_change() -> None:
    built: list[int] = []

    def load(threads: int) -> Any:
        built.append(threads)
        return lambda images: images + threads

    before = torch.get_num_threads()
    session = PoolSession(load)
    image = torch.zeros(1)
    with thread_limit(before + 2):
        assert float(session(image)) == before + 2
        assert float(session(image)) == before + 2
    assert float(session(image)) == before
    assert built == [before, before + 2, before]


class Copying(FileRuntime):
    """Keeps the module's state; its sessions remember where it lay."""

    def store(self, module: nn.Module, example: Tensor, folder: Path) -> Path:
        torch.save(module.state_dict(), folder / "state.pt")
        return folder / "state.pt"

    def load(self, file: Path, example: Tensor) -> PoolSession:
        if not file.is_file() or example.shape[0] == 0:
            raise ValueError("no images")
        session = PoolSession(lambda _: lambda images: images)
        session.file = file  # type: ignore[attr-defined]
        return session


def test_files_last_as_long_as_their_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    session: Any = Copying(EagerConfig()).prepare(nn.Linear(2, 2), torch.zeros(1, 3, 2, 2))
    assert session.file.is_file()
    del session
    gc.collect()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="no images"):
        Copying(EagerConfig()).prepare(nn.Linear(2, 2), torch.zeros(0, 3, 2, 2))
    assert list(tmp_path.iterdir()) == []


def test_native_pools_have_the_threads_that_were_asked_for(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    from tests.profiling.runtimes.graphs import HEIGHT, WIDTH, graph
    from vireid.profiling.export.formats import check_images

    images = check_images(1, HEIGHT, WIDTH)
    runtime = _runtime("openvino")
    if (reason := runtime.available()) is not None:
        pytest.skip(reason)
    file = runtime.store(graph("plain"), images, tmp_path)
    for threads in range(1, min(2, available_cores()) + 1):
        with thread_limit(threads):
            session = runtime.load(file, images)
            inner = session._session
            assert inner.property("INFERENCE_NUM_THREADS") == threads
            assert str(inner.property("INFERENCE_PRECISION_HINT")) == "<Type: 'float32'>"
