"""Exported files: what stands inside, that they are checked, and that a refused one leaves no trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from tests.profiling.runtimes.graphs import HEIGHT, WIDTH, graph
from vireid.core.errors import UserError
from vireid.profiling.export.formats import (
    BATCHES,
    INPUT,
    OPSET,
    OUTPUT,
    check_equal,
    check_images,
    difference,
    onnx_bytes,
)
from vireid.profiling.export.write import FORMATS, Graph, export
from vireid.profiling.runtimes.onnxruntime import OrtSession
from vireid.profiling.runtimes.openvino import OpenVinoSession

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
METADATA = {"run": "0123456789ab", "preprocessing": '{"mean": [0.5]}', "umlaut": "ä×"}


@pytest.fixture(scope="module")
def shown() -> Graph:
    return Graph(graph("ibn-a, refined"), HEIGHT, WIDTH, METADATA)


def _features(module: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        result: Tensor = module(images)
    return result


def test_an_onnx_file_says_what_it_takes_and_nothing_of_its_maker(shown: Graph) -> None:
    model = onnx.load_from_string(shown.onnx)
    onnx.checker.check_model(model, full_check=True)
    assert {entry.key: entry.value for entry in model.metadata_props} == METADATA
    assert [opset.version for opset in model.opset_import if opset.domain == ""] == [OPSET]
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {INPUT: ["batch", 3, HEIGHT, WIDTH], OUTPUT: ["batch", 64]}
    for path in (str(Path(__file__).parents[2]), "site-packages", ".py"):
        assert path.encode() not in shown.onnx
    assert not any(node.op_type == "BatchNormalization" and "neck" not in node.input[1] for node in model.graph.node)


def test_all_formats_hold_the_same_function(shown: Graph, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    (tmp_path / "model.onnx").write_text("an older export")
    reported: list[str] = []
    found = export({"model": shown}, tmp_path, report=reported.append)
    names = ["model.bin", "model.onnx", "model.safetensors", "model.xml"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert [e.format for e in found] == list(FORMATS)
    assert reported == [f"model, {name}" for name in FORMATS]
    assert sum(e.size_bytes for e in found) == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert all(0 < e.difference <= 1e-4 for e in found[:2])
    images = check_images(4, HEIGHT, WIDTH)  # not among the batches that were checked
    expected = _features(shown.module, images)
    assert difference(OrtSession(tmp_path / "model.onnx", 1)(images), expected) <= 1e-4
    session = OpenVinoSession(str(tmp_path / "model.xml"), 1)
    assert difference(session(images), expected) <= 1e-4
    ir = (tmp_path / "model.xml").read_text(encoding="utf-8")
    assert all(value in ir or value.replace('"', "&quot;") in ir for value in METADATA.values())
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert file.metadata() == METADATA
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    fresh = graph("ibn-a, refined")
    for parameter in fresh.parameters():
        nn.init.zeros_(parameter)
    fresh.load_state_dict(state, strict=True)
    assert torch.equal(_features(fresh, images), expected)


def test_a_graph_that_differs_is_refused_and_nothing_is_replaced(tmp_path: Path) -> None:
    broken = Graph(graph("plain"), HEIGHT, WIDTH, {})
    assert len(broken.onnx) > 1000  # made here, before the weights change
    with torch.no_grad():
        next(broken.module.parameters()).mul_(1.01)
    (tmp_path / "model.onnx").write_text("an older export")
    with pytest.raises(UserError, match=r"model\.onnx: features differ .* by .*e-0.* more than 1e-04; nothing was"):
        export({"model": broken}, tmp_path, ["safetensors", "onnx"])
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert (tmp_path / "model.onnx").read_text() == "an older export"
    with pytest.raises(UserError, match="features differ"):
        export({"model": broken}, tmp_path / "new", ["onnx"])
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_written_is_named(shown: Graph, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file: cannot be written .*choose another with --to"):
        export({"model": shown}, tmp_path / "file", ["safetensors"])


def test_a_missing_package_is_named(shown: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)  # as if not installed
    with pytest.raises(UserError, match="'onnxruntime', which is not installed: make install EXTRAS=deploy"):
        export({"model": shown}, tmp_path / "new", ["onnx"])
    assert not (tmp_path / "new").exists()


class OfBatch(nn.Module):
    """Depends on how many images there are."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, images: Tensor) -> Tensor:
        if self.kind == "one row":
            return images.mean(dim=0, keepdim=True).flatten(1)
        return images.reshape(2, -1)


@pytest.mark.parametrize(
    ("kind", "message"), [("one row", "'embedding' holds 1 images"), ("two rows", "ONNX export of OfBatch at 8×6")]
)
def test_a_graph_for_one_number_of_images_is_refused(kind: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        onnx_bytes(OfBatch(kind), 8, 6)


def test_difference_by_hand() -> None:
    reference = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
    features = torch.tensor([[3.0, 4.1], [0.3, 0.37]])
    by_image = [0.1 / np.sqrt(12.5), 0.03 / np.sqrt(0.125)]
    assert difference(features, reference) == pytest.approx(max(by_image), rel=1e-5)
    assert difference(reference, reference) == 0
    assert difference(features[:1], reference) == float("inf")
    assert np.isnan(difference(features * float("nan"), reference))


@pytest.mark.parametrize("wrong", [lambda y: y * float("nan"), lambda y: y + 1e-3, lambda y: y[:1]])
def test_the_check_catches_what_is_wrong_in_one_batch_alone(wrong: Any) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 4, 5))

    def run(images: Tensor) -> Tensor:
        right = _features(module, images)
        return wrong(right) if len(images) == BATCHES[1] else right

    with pytest.raises(UserError, match=r"here: features differ.*; mend it"):
        check_equal(run, module, 6, 4, "here", remedy="mend it")
    assert check_equal(lambda images: _features(module, images), module, 6, 4, "here", remedy="") < 1e-6
