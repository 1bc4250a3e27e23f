"""What runs on the device: imports nothing it must not, and agrees with the suite where both say the same thing."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

import vireid
from vireid.bundle.device import features, isolation, machine, options, record
from vireid.core.config import canonical_json
from vireid.core.environment import MACHINE_IDENTITY, Environment
from vireid.core.identity import run_id
from vireid.data.augmentation import MEAN, STD
from vireid.data.augmentation import normalise as normalise_torch
from vireid.evaluation.gallery import STORAGES
from vireid.profiling.complexity import example_images as example_torch
from vireid.profiling.device import describe_device, device_identity
from vireid.profiling.export.formats import difference

SUITE = Path(vireid.__file__).parent
DEVICE = sorted((SUITE / "bundle/device").glob("*.py"))
ALLOWED = {*sys.stdlib_module_names, "numpy", "onnxruntime"}
COPIED = (
    "vireid.bundle.device",
    "vireid.core.child",
    "vireid.core.processor",
    "vireid.evaluation.gallery",
    "vireid.profiling.sampling",
    "vireid.profiling.sensors",
)


def _imported(file: Path) -> list[str]:
    """Absolute names of everything that a file imports, at whatever place."""
    package = ["vireid", *file.relative_to(SUITE).parent.parts]
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            path = ".".join([*base, *filter(None, [node.module])])
            found += [f"{path}.{alias.name}" if path == "vireid.profiling" else path for alias in node.names]
    return found


@pytest.mark.parametrize("file", DEVICE, ids=lambda file: file.stem)
def test_device_code_imports_nothing_a_device_lacks(file):
    for name in _imported(file):
        assert name.split(".")[0] in ALLOWED or name.startswith(COPIED), f"{file.name} imports {name}"


@pytest.mark.parametrize(
    "file",
    [
        *DEVICE,
        SUITE / "core/processor.py",
        SUITE / "evaluation/gallery.py",
        *sorted((SUITE / "profiling/sensors").glob("*.py")),
    ],
    ids=lambda f: f.stem,
)
def test_device_code_has_the_syntax_of_python_3_9(file):
    ast.parse(file.read_text(encoding="utf-8"), feature_version=(3, 9))
    assert "slots=True" not in file.read_text(encoding="utf-8"), "dataclasses have slots from Python 3.10 on"


def test_this_machine_has_the_same_identity_by_the_bundle_and_by_the_suite():
    if torch.cuda.is_available():
        pytest.skip("the suite counts the graphics processor in, a bundle does not use it")
    assert machine.IDENTITY == MACHINE_IDENTITY
    assert machine.identity(machine.describe()) == device_identity(describe_device())
    assert machine.describe()["memory_bytes"] == describe_device()["memory_bytes"]


def test_cores_are_counted_from_siblings_else_from_packages(tmp_path):
    for number, siblings in enumerate(["0-1", "0-1", "2-3", "2-3"]):
        file = tmp_path / f"sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list"
        file.parent.mkdir(parents=True)
        file.write_text(siblings + "\n")
    assert machine.describe(tmp_path)["physical_cores"] == 2
    (tmp_path / "other/proc").mkdir(parents=True)
    blocks = [f"processor\t: {n}\nphysical id\t: {n // 4}\ncpu cores\t: 2" for n in range(8)]
    (tmp_path / "other/proc/cpuinfo").write_text("\n\n".join(blocks) + "\n")
    assert machine.describe(tmp_path / "other")["physical_cores"] == 4


def test_the_environment_is_one_of_the_suite():
    made = Environment.model_validate(machine.environment(machine.describe(), threads=1))
    assert set(made.packages) == {"numpy", "onnxruntime"}
    assert made.accelerator == "cpu"


def test_emulation_is_told_from_the_process_or_the_processor(tmp_path, monkeypatch):
    (tmp_path / "proc/self").mkdir(parents=True)
    comm, cpuinfo = tmp_path / "proc/self/comm", tmp_path / "proc/cpuinfo"
    comm.write_text("python3\n")
    cpuinfo.write_text("vendor_id\t: GenuineIntel\n")
    monkeypatch.setattr(machine.platform, "machine", lambda: "x86_64")
    assert machine.emulated(tmp_path) is None
    monkeypatch.setattr(machine.platform, "machine", lambda: "aarch64")
    assert "GenuineIntel" in machine.emulated(tmp_path)
    cpuinfo.write_text("CPU implementer\t: 0x41\n")
    (tmp_path / "proc/interrupts").write_text(
        "           CPU0\n 11:  5  GICv2 arch_timer\nIPI0:  1  Rescheduling\nErr:  0\n"
    )
    assert machine.emulated(tmp_path) is None
    (tmp_path / "proc/interrupts").write_text("           CPU0\n LOC:  5  Local timer interrupts\n")
    assert "x86" in machine.emulated(tmp_path)
    (tmp_path / "proc/interrupts").unlink()
    comm.write_text("qemu-aarch64-st\n")
    assert "qemu-aarch64" in machine.emulated(tmp_path)


def test_canonical_json_and_ids_are_those_of_the_suite():
    data = {"b": [1, 2.5, None, True], "a": {"ü": "°C", "x": 1e-7}, "budget": {"min_seconds": 3.0}}
    assert record.canonical_json(data) == canonical_json(data)
    assert record.run_id(data) == run_id(data)
    with pytest.raises(ValueError):
        record.canonical_json({"x": float("nan")})


def test_the_network_is_set_up_and_fed_as_in_the_suite():
    pytest.importorskip("onnxruntime")
    from vireid.bundle.device import network
    from vireid.profiling.runtimes import onnxruntime as runtime

    assert network.LEVELS == runtime._LEVELS
    assert set(network.LEVELS) == set(get_args(runtime.Optimisation))
    pixels = np.random.default_rng(1).integers(0, 256, (2, 6, 4, 3), dtype=np.uint8)
    expected = normalise_torch(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    assert np.allclose(network.normalise(pixels, MEAN, STD), expected.numpy(), atol=1e-6)
    grey = pixels[..., 0]
    assert np.array_equal(network.normalise(grey, MEAN, STD), network.normalise(np.stack([grey] * 3, 3), MEAN, STD))
    assert np.allclose(network.example_images(2, 6, 4), example_torch(2, 6, 4).numpy(), atol=1e-6)


def test_features_are_compared_as_the_suite_compares_them():
    generator = np.random.default_rng(0)
    reference = generator.standard_normal((3, 8)).astype(np.float32)
    near = reference + generator.standard_normal((3, 8)).astype(np.float32) * 1e-4
    found = features.compare(near, reference)
    assert found["difference"] == pytest.approx(difference(torch.from_numpy(near), torch.from_numpy(reference)))
    naive = min(float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for a, b in zip(near, reference, strict=True))
    assert found["cosine"] == pytest.approx(naive)
    assert features.fault("fp32", found, {}) is None
    assert "cosine" in features.fault("fp32", features.compare(reference * 1.01, reference), {})
    limits = {"cosine": 0.98, "overlap10": 0.9}
    assert features.fault("int8", features.compare(reference * 1.01, reference), limits) is None
    assert "cosine 0." in features.fault("int8", features.compare(reference + 1, reference), limits)
    assert "below 0.98" in features.fault("int8", features.compare(reference + 1, reference), limits)
    for precision in ("fp32", "int8"):
        broken = reference.copy()
        broken[1, 2] = np.nan
        assert features.fault(precision, features.compare(broken, reference), limits) is not None
        assert features.fault(precision, features.compare(reference[:, :4], reference), limits) is not None


def test_ranks_agree_as_far_as_naive_searches_do():
    """First shots are searched for among second ones; a fault names the limit that was missed."""
    generator = np.random.default_rng(0)
    reference = generator.standard_normal((60, 4))
    near = reference + 0.3 * generator.standard_normal((60, 4))

    def ranked(features, query):
        cosines = [-features[query] @ row / np.linalg.norm(row) for row in features[1::2]]
        return sorted(range(30), key=cosines.__getitem__)

    pairs = [(ranked(near, query), ranked(reference, query)) for query in range(0, 60, 2)]
    found = features.compare(near, reference)
    assert found["overlap10"] == pytest.approx(np.mean([len({*one[:10]} & {*other[:10]}) / 10 for one, other in pairs]))
    assert found["rank1"] == pytest.approx(np.mean([one[0] == other[0] for one, other in pairs]))
    assert 0.3 < found["overlap10"] < 1
    fault = features.fault("int8", found, {"cosine": -1, "overlap10": 0.99})
    assert fault is not None
    assert fault.endswith(f"overlap10 {found['overlap10']:.4f}, below 0.99")
    assert features.compare(reference, reference)["overlap10"] == 1


def test_a_process_without_an_answer_gives_a_reason():
    answer = isolation.run_isolated("nothing", {}, threads=1, timeout_seconds=60)
    assert answer["status"] == "failed"
    assert "AttributeError" in answer["reason"]
    assert answer["affinity"] is None or len(answer["affinity"]) == 1
    late = isolation.run_isolated("check", {}, threads=1, timeout_seconds=0.01)
    assert "killed" in late["reason"]


def test_the_entry_can_be_read_by_interpreters_that_are_too_old():
    text = (SUITE / "bundle/device/measure.py").read_text(encoding="utf-8")
    assert text.isascii()
    ast.parse(text, feature_version=(3, 4))
    assert 'f"' not in text


def test_a_record_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "record.json"
    record.write_records(path, {"bundle": "d"}, [({"kind": "latency"}, {"id": "x"})])
    before = path.read_text()
    with pytest.raises(ValueError):
        record.write_records(path, {"bundle": "d"}, [({"kind": "latency"}, {"id": float("nan")})])
    with pytest.raises(ValueError):
        record.write_records(path, {"device": {"cosine": float("inf")}}, [])
    assert path.read_text() == before
    assert [file.name for file in tmp_path.iterdir()] == ["record.json"]
    assert json.loads(before)["format"] == "vireid bundle records"


def test_the_packages_are_imported_by_the_child_after_it_was_pinned():
    code = "import sys, vireid.bundle.device.isolation; print({'numpy', 'onnxruntime'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "set()", done.stderr


def test_the_scale_of_features_decides_nothing():
    reference = np.random.default_rng(0).normal(size=(4, 16)).astype(np.float32)
    near = (reference * np.float32(1 + 1e-5)).astype(np.float32)
    for scale in (1e-25, 1.0, 1e25):
        found = features.compare(near * np.float32(scale), reference * np.float32(scale))
        assert found["cosine"] == pytest.approx(1, abs=1e-9)
        assert found["difference"] == pytest.approx(3e-5, abs=3e-5)
        pair = (torch.from_numpy(array * np.float32(scale)) for array in (near, reference))
        assert difference(*pair) == pytest.approx(found["difference"], rel=1e-9)


def test_storages_that_measure_py_offers_are_those_of_galleries():
    assert options.STORAGES == STORAGES
