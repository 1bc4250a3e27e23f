"""Writing bundles: the same bytes every time, nothing of others overwritten, exported files taken in."""

import json
import os
import zipfile

import numpy as np
import pytest

from tests.bundle.conftest import SMALL
from vireid.bundle.write import BundledModel, DeviceCheck, device_code, write_bundle
from vireid.core.errors import UserError
from vireid.core.processor import kernels_of_runtime
from vireid.core.records import EvaluationRecord
from vireid.experiment.context import RunContext
from vireid.overrides import compose
from vireid.store import Store

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture
def exported(bundle, model_file, tmp_path):
    """An exported file with other metadata."""

    def change(**said):
        model = onnx.load(model_file)
        kept = {entry.key: entry.value for entry in model.metadata_props}
        del model.metadata_props[:]
        onnx.helper.set_model_props(model, {k: v for k, v in {**kept, **said}.items() if v is not None})
        file = tmp_path / f"given-{len(list(tmp_path.glob('given-*')))}.onnx"
        onnx.save(model, file)
        return file

    return change


def _bundle(files, tmp_path, target="out", check=None):
    from vireid.experiment.deploy.bundle import bundle_step

    return bundle_step([], files, Store(tmp_path / "store"), tmp_path / target, check=check)


def test_a_zip_is_the_same_every_time_and_says_so_of_every_file(small_zip, tmp_path):
    from vireid.experiment.deploy.bundle import bundle_step

    store = Store(tmp_path / "store")
    bundle_step([RunContext(compose(SMALL), store)], [], store, tmp_path / "small.zip")
    assert (tmp_path / "small.zip").read_bytes() == small_zip.read_bytes()
    with zipfile.ZipFile(small_zip) as archive:
        names = archive.namelist()
        assert names == sorted(names)
        assert all(name.startswith("small/") for name in names)
        listed = json.loads(archive.read("small/bundle.json"))["files"]
    assert {f"small/{name}" for name in listed} == set(names) - {"small/bundle.json"}


def test_a_folder_and_a_zip_hold_the_same(bundle, model_file, tmp_path):
    _bundle([model_file], tmp_path)
    for file in (file for file in bundle.folder.rglob("*") if file.is_file()):
        assert (tmp_path / "out" / file.relative_to(bundle.folder)).read_bytes() == file.read_bytes()


def test_a_bundle_is_replaced_and_anything_else_is_kept(model_file, tmp_path):
    _bundle([model_file], tmp_path)
    stray = tmp_path / "out" / "stray"
    stray.write_text("")
    _bundle([model_file], tmp_path)
    assert not stray.exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    with pytest.raises(UserError, match="is there and is not a bundle"):
        _bundle([model_file], tmp_path, "mine")
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["thesis.tex"]
    (tmp_path / "empty").mkdir()
    _bundle([model_file], tmp_path, "empty")
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")], "nothing is left lying about"


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="needs a place where nobody may write")  # noqa: PTH112
def test_an_unwritable_target_is_named(model_file, tmp_path):
    from vireid.experiment.deploy.bundle import bundle_step

    for name in ("bundle", "bundle.zip"):
        with pytest.raises(UserError, match=f"/proc/{name}: cannot write"):
            bundle_step([], [model_file], Store(tmp_path / "store"), (tmp_path / "/proc" / name))


def test_code_is_copied_as_it_is():
    code = device_code()
    assert "measuring/bundle/device/__main__.py" in code
    assert "measuring/profiling/sensors/energy.py" in code
    assert {name for name, content in code.items() if not content} == {
        "measuring/__init__.py",
        "measuring/bundle/__init__.py",
        "measuring/evaluation/__init__.py",
        "measuring/core/__init__.py",
        "measuring/profiling/__init__.py",
    }
    assert not [name for name in code if "__pycache__" in name]


def test_an_int8_file_is_described_by_its_own_words(exported, tmp_path):
    runtime = {"name": "onnxruntime", "optimisation": "all", "precision": "int8", "quantisation": {}, "version": "1"}
    file = exported(precision="int8", runtime=json.dumps(runtime))
    (model,) = _bundle([file], tmp_path, check=DeviceCheck(images=8, cosine=0.99, overlap10=0.95)).models
    assert model.name == "idkl-48x32-int8-initial"
    assert (model.check.images, model.check.cosine, model.check.overlap10) == (8, 0.99, 0.95)
    assert model.computed_with.kernels == kernels_of_runtime("onnxruntime")
    assert (model.precision, model.runtime) == ("int8", runtime)
    features = np.load(tmp_path / "out" / model.references.features)
    images = np.load(tmp_path / "out" / model.references.images)
    assert (features.dtype, features.shape) == (np.float32, (8, model.feature_size))
    assert len(images) == 8
    assert (images.dtype, images.shape[1:]) == (np.uint8, (48, 32))
    assert (tmp_path / "out" / model.file).read_bytes() == file.read_bytes()


def test_equal_names_are_told_apart(exported, tmp_path):
    names = [model.name for model in _bundle([exported(), exported()], tmp_path).models]
    assert names == ["idkl-48x32-fp32-initial", "idkl-48x32-fp32-initial-2"]


def test_a_graph_for_infrared_images_is_reported(exported, tmp_path):
    assert _bundle([exported(modality="infrared")], tmp_path).one_sided == ["idkl-48x32-fp32-initial"]


def test_files_that_are_not_of_export_are_named(exported, tmp_path):
    with pytest.raises(UserError, match="does not say its graph, runtime; export it with this version"):
        _bundle([exported(graph=None, runtime=None)], tmp_path)
    (tmp_path / "text.onnx").write_text("text")
    with pytest.raises(UserError, match=r"text\.onnx: ONNX Runtime cannot read it"):
        _bundle([tmp_path / "text.onnx"], tmp_path)
    with pytest.raises(UserError, match=r"none\.onnx: cannot be read"):
        _bundle([tmp_path / "none.onnx"], tmp_path)
    with pytest.raises(UserError, match="nothing to bundle"):
        _bundle([], tmp_path)


FILE = {"graph": "abc", "runtime": {}, "precision": "int8", "resolution": [48, 32], "size_bytes": 1, "cosine": 1.0}


def _evaluation(historic, **changes):
    plain = json.loads(historic.read_text())
    interval = {"low": 0.1, "high": 0.9, "level": 0.95, "resamples": 1000}
    return EvaluationRecord.model_validate({**plain, "intervals": {"mAP": interval}, **changes})


def test_accuracies_are_those_of_the_file_or_of_its_fit(tmp_path, pytestconfig):
    from vireid.experiment.deploy.bundle import known_accuracies

    historic = pytestconfig.rootpath / "tests/historic_records/v1-evaluation.json"
    of_fit = _evaluation(historic)
    card = of_fit.protocol
    artefact = {**FILE, "digest": "d" * 64, "overlap10": 1.0, "kernels": "avx2", "runtime_version": "1.32.0"}
    records = [
        of_fit,
        _evaluation(historic, id="1" * 12, artefact=artefact),
        _evaluation(historic, id="2" * 12, fit="3" * 12),
        _evaluation(historic, id="4" * 12, protocol={**card, "text": "captions"}),
        _evaluation(historic, id="5" * 12, protocol={**card, "reranking": {"name": "k-reciprocal"}}),
        _evaluation(historic, id="6" * 12, protocol={**card, "test_time_augmentation": "flip"}),
    ]

    def found(digest, precision, run):
        said = {"run": run, "precision": precision}
        return known_accuracies(digest, said, records, Store(tmp_path))

    assert [known.evaluation for known in found("", "fp32", of_fit.fit)] == [of_fit.id]
    (of_file,) = found("d" * 64, "int8", of_fit.fit)
    assert (of_file.evaluation, of_file.kernels, of_file.runtime_version) == ("1" * 12, "avx2", "1.32.0")
    assert found("", "int8", of_fit.fit) == []
    two = {**artefact, "digest": "e" * 64, "parts": {"model-visible.onnx": "f" * 64, "model-infrared.onnx": "a" * 64}}
    records.append(_evaluation(historic, id="7" * 12, artefact=two))
    assert [known.evaluation for known in found("a" * 64, "int8", of_fit.fit)] == ["7" * 12]
    assert found("", "fp32", "") == []
    (known,) = found("", "fp32", of_fit.fit)
    assert (known.mAP, known.low, known.high) == (of_fit.metrics["mAP"], 0.1, 0.9)
    assert "sysu/official" in known.protocol
    assert "not comparable with published results" in known.note


def test_a_failure_while_writing_leaves_the_old_bundle(bundle, model_file, tmp_path, monkeypatch):
    model = BundledModel.model_validate(bundle.manifest["models"][0])
    write_bundle(tmp_path / "out", [model], {"models/a": b"old"})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(UserError, match="the disk is full"):
        write_bundle(tmp_path / "out", [model], {"models/a": b"new"})
    assert (tmp_path / "out/models/a").read_bytes() == b"old"
