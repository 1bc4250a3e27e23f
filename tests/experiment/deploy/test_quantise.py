"""Fits as deployed files: evaluated as they are, chosen on dev, reused, never chosen on test identities."""

import json
from importlib import metadata

import pytest

from tests.tiny import tiny
from vireid.core.errors import UserError
from vireid.core.files import file_digest
from vireid.core.processor import kernels_of_runtime
from vireid.core.records import EvaluationRecord
from vireid.experiment.context import RunContext
from vireid.experiment.cost.profile import measure_latencies
from vireid.experiment.deploy import evaluate
from vireid.experiment.deploy.evaluate import CANDIDATES, deployed_step, is_deployed, quantise_step, settings_for
from vireid.experiment.deploy.export import Deployment, export_step
from vireid.experiment.fit import evaluate_step, fit_step
from vireid.profiling.runtimes.executorch import said_by
from vireid.store import Store

ONE = "{name: onnxruntime, precision: fp32}"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("store"))
    config = tiny(f"evaluation.deployed=[{ONE}]", f"profile.runtimes=[{ONE}]", "profile.memory=false")
    fit_step(RunContext(config, store))
    return config, store, evaluate_step(RunContext(config, store))


def test_a_float_file_is_as_accurate_as_the_model(trained):
    config, store, plain = trained
    assert not is_deployed(RunContext(config, store))
    records = deployed_step(RunContext(config, store))
    assert is_deployed(RunContext(config, store))
    assert [record.protocol for record in records] == [record.protocol for record in plain]
    for record, model in zip(records, plain, strict=True):
        assert record.id != model.id
        assert model.artefact is None
        assert record.metrics == pytest.approx(model.metrics, abs=1e-6)
        assert record.artefact is not None
        assert record.artefact.precision == "fp32"
        assert record.artefact.kernels is None, "float32 is the same on every processor"
        assert record.artefact.runtime_version == metadata.version("onnxruntime")
        assert record.artefact.calibration is None
        assert record.artefact.cosine == pytest.approx(1, abs=1e-6)
        assert record.artefact.overlap10 == pytest.approx(1, abs=1e-2)
        assert store.per_query(record) is not None
    before = (store.runs / f"{records[0].id}.json").read_bytes()
    assert deployed_step(RunContext(config, store)) == records
    assert (store.runs / f"{records[0].id}.json").read_bytes() == before


def test_a_file_is_known_by_its_digest_also_as_one_of_two(tmp_path):
    files = {graph: tmp_path / graph / "model.onnx" for graph in ("model-visible", "model-infrared")}
    for graph, path in files.items():  # as a runtime stores them: alike by name
        path.parent.mkdir()
        path.write_bytes(graph.encode())
    both = Deployment({}, files, {}, "int8", None)
    assert both.parts == {f"{graph}/model.onnx": file_digest(path) for graph, path in files.items()}
    alone = Deployment({}, {"model": files["model-infrared"]}, {}, "int8", None)
    assert (alone.parts, alone.digest) == ({}, both.parts["model-infrared/model.onnx"])
    assert both.digest not in both.parts.values()


def test_latencies_are_found_by_what_the_record_says(trained):
    config, store, _ = trained
    (latency,) = measure_latencies(RunContext(config, store))
    file = deployed_step(RunContext(config, store))[0].artefact
    assert file is not None
    assert (latency.artefact, latency.runtime, latency.resolution) == (file.graph, file.runtime, file.resolution)


@pytest.mark.parametrize("name", ["onnxruntime", pytest.param("openvino", marks=pytest.mark.check)])
def test_the_kept_setting_is_the_nearest(trained, tmp_path, name):
    config, store, _ = trained
    options = [{"images": count} for count in (2, 6)]
    (found,) = quantise_step(RunContext(config, store), tmp_path / "out", [name], options, force=True)
    file = found.records[0].artefact
    assert file is not None
    assert file.precision == "int8"
    assert [candidate["quantisation"]["images"] for candidate in file.candidates] == [2, 6]
    assert file.cosine == max(candidate["cosine"] for candidate in file.candidates)
    assert {candidate["split"] for candidate in file.candidates} == {"dev"}
    assert file.calibration is not None
    assert file.calibration["images"] in (2, 6)
    assert (file.kernels, file.runtime_version) == (kernels_of_runtime(name), metadata.version(name))
    assert {path.suffix for path in found.files} == ({".onnx"} if name == "onnxruntime" else {".xml", ".bin"})
    if name == "onnxruntime":
        onnx = pytest.importorskip("onnx")
        assert file_digest(found.files[0]) == file.digest
        said = {entry.key: entry.value for entry in onnx.load(found.files[0]).metadata_props}
        assert said["precision"] == "int8"
        assert said["graph"] == file.graph
        assert json.loads(said["runtime"]) == file.runtime
        float_file = export_step(RunContext(config, store), tmp_path / "float", ["onnx"]).files[0]
        assert found.files[0].stat().st_size < float_file.size_bytes
    again = store.get(found.records[0].id)
    assert isinstance(again, EvaluationRecord)
    assert again.artefact == file


def test_nothing_is_chosen_on_test_identities(trained, tmp_path):
    _, store, _ = trained
    config = tiny("data.split=test")
    with pytest.raises(UserError, match="on which nothing may be chosen"):
        quantise_step(RunContext(config, store), tmp_path, ["onnxruntime"])


@pytest.mark.parametrize(
    ("here", "wanted", "settings"),
    [
        ("vnni", None, CANDIDATES["onnxruntime"]),
        ("avx2", "avx2", CANDIDATES["onnxruntime"]),
        ("vnni", "neon_dotprod", CANDIDATES["onnxruntime"]),  # both add in 32 bits
        ("vnni", "avx2", ({"weight_bits": 7},)),
        ("avx512", "avx2", ({"weight_bits": 7},)),
        ("avx2", "vnni", ({},)),
        ("unknown", "avx2", ({"weight_bits": 7},)),
        ("unknown", "neon", ({},)),
    ],
)
def test_settings_are_compared_where_sums_are_those_of_the_processor_that_is_named(monkeypatch, here, wanted, settings):
    monkeypatch.setattr(evaluate, "kernels_of_runtime", lambda _: here)
    assert settings_for("onnxruntime", wanted) == settings
    assert settings_for("executorch", wanted) == CANDIDATES["executorch"], "it adds in 32 bits everywhere"


def test_layers_are_asked_of_files_that_know_them(trained, tmp_path):
    config, store, _ = trained
    with pytest.raises(UserError, match=r"--layers: the layers of executorch files .* leave --layers out"):
        quantise_step(RunContext(config, store), tmp_path / "out", ["executorch"], layers=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.check
def test_a_program_of_executorch_passes_the_same_gate(trained, tmp_path):
    for package in ("executorch", "torchao"):
        pytest.importorskip(package)
    config, store, _ = trained
    run = RunContext(config, store)
    (found,) = quantise_step(run, tmp_path / "out", ["executorch"], [{"images": 6}], force=True)
    assert [path.name for path in found.files] == ["model-int8.pte"]
    file = found.records[0].artefact
    assert file is not None
    assert file.digest == file_digest(found.files[0])
    assert (file.precision, file.runtime["name"]) == ("int8", "executorch")
    assert (file.kernels, file.runtime_version) == (kernels_of_runtime("executorch"), metadata.version("executorch"))
    assert file.calibration is not None
    assert file.calibration["images"] == 6
    assert file.cosine > 0.9
    said = said_by(found.files[0])
    assert json.loads(said["runtime"]) == file.runtime
    assert json.loads(said["preprocessing"])["height"] == config.data.height
    strict = tiny(f"evaluation.deployed=[{ONE}]", "evaluation.gate.int8={cosine_distance: 0, rank1: 1, mAP: 0}")
    with pytest.raises(
        UserError, match=r"^executorch, int8, images 6: cosine distance .*Nothing was written.*settings"
    ):
        quantise_step(RunContext(strict, store), tmp_path / "refused", ["executorch"], [{"images": 6}])
    assert not (tmp_path / "refused").exists()
