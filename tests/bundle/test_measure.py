"""A bundle as its user runs it."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.bundle.conftest import QUICK
from vireid.bundle.write import read_records
from vireid.core.processor import kernels_of_runtime

ROOT = Path(__file__).parents[2]


def _faults(done, *words):
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    for word in words:
        assert word in done.stderr


def test_a_bundle_measures_and_its_records_are_the_suites(bundle):
    words = ("--batch", "1", "2", "--storage", "int8", "fp32", "--out", "record.json", "--max-ms", "1000")
    done = bundle.run(*QUICK, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    for words in ("features against the stored references", "fine (cosine 1.0000", "p50 ms", "images/s", "RSS MB"):
        assert words in done.stdout
    assert "Fastest within 1000 ms: idkl-48x32-fp32-initial" in done.stdout
    records = read_records(bundle.folder.parent / "record.json")
    (model,) = bundle.manifest["models"]
    assert [(r.status, r.batch, sorted(r.stages)) for r in records] == [
        ("ok", 1, []),
        ("ok", 2, []),
        ("ok", 1, ["network", "search"]),
        ("ok", 1, ["network", "search"]),
    ]
    assert len({r.id for r in records}) == 4
    for found in records:
        assert (found.artefact, found.runtime, found.precision) == (model["graph"], model["runtime"], "fp32")
        assert found.isolated
        assert found.threads == 1
        assert found.affinity is None or len(found.affinity) == 1
        assert found.size_bytes == model["bytes"]
        assert found.rss_bytes > 10e6
        assert found.load_seconds > 0
        assert len(found.seconds) >= 10
        assert "measured on the device by bundle" in found.notes[0]
    way, stored = records[-2:]
    assert len(way.stages["search"]) == len(way.seconds)
    assert way.stage_settings["measured"] == ["network", "search"]
    assert "decode" in way.stage_settings["not_measured"]
    assert way.stage_settings["gallery_bytes"] == 4 * 1000 * model["feature_size"]
    assert (way.stage_settings["storage"], stored.stage_settings["storage"]) == ("fp32", "int8")
    assert stored.stage_settings["gallery_bytes"] == 1000 * (model["feature_size"] + 4)


def test_a_sustained_run_has_windows_and_an_id_of_its_own(bundle):
    bundle.run(*QUICK, "--gallery", "0", "--out", "short.json")
    done = bundle.run(*QUICK, "--gallery", "0", "--sustained", "0.3", "--out", "long.json")
    assert done.returncode == 0, done.stderr
    (short,), (long,) = (read_records(bundle.folder.parent / f"{name}.json") for name in ("short", "long"))
    assert short.windows == []
    assert sum(window["samples"] for window in long.windows) == len(long.seconds)
    assert short.id != long.id
    bundle.run(*QUICK, "--gallery", "0", "--out", "again.json")
    assert read_records(bundle.folder.parent / "again.json")[0].id == short.id


@pytest.mark.parametrize("damage", ["cut", "changed", "missing"])
def test_a_damaged_model_is_named(bundle, model_file, damage):
    content = bytearray(model_file.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "missing":
        model_file.unlink()
    else:
        model_file.write_bytes(content if damage == "changed" else content[:1000])
    words = {"cut": "was cut short or changed: it has 1000 bytes", "changed": "was changed", "missing": "is missing"}
    _faults(bundle.run(), f"models/{model_file.name} {words[damage]}", "copy the bundle to this machine again")


def test_an_edited_or_broken_manifest_is_refused(bundle):
    file = bundle.folder / "bundle.json"
    text = file.read_text()
    file.write_text(text.replace('"precision": "fp32"', '"precision": "int8"', 1))
    _faults(bundle.run(), "bundle.json was changed since the bundle was made")
    file.write_text(text[:100])
    _faults(bundle.run(), "bundle.json cannot be read")


def test_wrong_references_fail_with_a_record_and_no_measurement(bundle):
    said = bundle.manifest
    file = bundle.folder / said["models"][0]["references"]["features"]
    np.save(file, np.load(file) * np.float32(1.01))
    bundle.seal(said)
    done = bundle.run(*QUICK, "--gallery", "0", "--out", "record.json")
    assert done.returncode == 1
    assert "FAILED: features differ from the stored references by" in done.stdout
    (failed,) = read_records(bundle.folder.parent / "record.json")
    assert failed.status == "failed"
    assert failed.seconds == []
    assert "features differ" in failed.reason


def _as_int8(bundle, *, noise=0.0, **model):
    """The bundle's file as an int8 one, its references moved by some of their own size."""
    said = bundle.manifest
    said["models"][0].update(precision="int8", **model)
    file = bundle.folder / said["models"][0]["references"]["features"]
    features = np.load(file)
    moved = features + noise * features.std() * np.random.default_rng(0).standard_normal(features.shape)
    np.save(file, moved.astype(np.float32))
    bundle.seal(said)
    return bundle.run(*QUICK, "--gallery", "0", "--out", "record.json")


@pytest.mark.parametrize(
    ("noise", "limit", "refused"), [(0.0, 0.999, False), (0.2, 0.5, False), (0.2, 0.999, True), (5.0, 0.5, True)]
)
def test_int8_is_held_to_the_limits_that_the_maker_set(bundle, noise, limit, refused):
    done = _as_int8(bundle, noise=noise, check={"images": 4, "cosine": limit, "overlap10": 0.9})
    assert done.returncode == int(refused), done.stdout + done.stderr
    if refused:
        assert "FAILED: features differ from the stored references: cosine" in done.stdout
        assert f"below {limit:g}" in done.stdout
        (failed,) = read_records(bundle.folder.parent / "record.json")
        assert failed.status == "failed"
    else:
        assert "fine (cosine loss at most" in done.stdout
        assert "100.0 % of the ten nearest and 100.0 % of the nearest the same; 4 images" in done.stdout
        assert "int8 on " in done.stdout


def test_an_int8_accuracy_of_other_instructions_is_called_so(bundle):
    known = {"evaluation": "0" * 12, "level": 0.95, "over": "query identities", "note": "", "key": "k", "protocol": "p"}
    accuracy = {**known, "mAP": 0.5, "low": 0.1, "high": 1, "runtime_version": "1.32.0"}
    here = kernels_of_runtime("onnxruntime")
    for kernels, words in (
        (here, ""),
        ("neon", "measured on neon, and"),
        (None, "instructions that were not recorded"),
    ):
        done = _as_int8(bundle, accuracy=[{**accuracy, "kernels": kernels}])
        assert done.returncode == 0, done.stdout + done.stderr
        assert ("its mAP was measured" in done.stdout) == bool(words)
        assert words in done.stdout


def test_a_broken_model_is_a_failure_with_its_reason(bundle, model_file):
    model_file.write_bytes(b"no model")
    said = bundle.manifest
    bundle.seal(said)
    done = bundle.run(*QUICK, "--out", "record.json")
    assert done.returncode == 1
    assert "the features could not be computed" in done.stdout
    assert all(r.status == "failed" for r in read_records(bundle.folder.parent / "record.json"))


def test_models_of_one_graph_are_measured_once_and_shown_both(bundle):
    said = bundle.manifest
    (model,) = said["models"]
    said["models"].append({**model, "name": "twin"})
    bundle.seal(said)
    done = bundle.run(*QUICK, "--gallery", "0", "--out", "record.json")
    assert done.returncode == 0, done.stderr
    assert len(read_records(bundle.folder.parent / "record.json")) == 1
    rows = done.stdout.split("p50 ms")[1]
    assert len(re.findall(rf"^(?:twin|{model['name']}) ", rows, re.MULTILINE)) == 2


def test_known_accuracies_decide(bundle):
    said = bundle.manifest
    (model,) = said["models"]
    known = {"evaluation": "0" * 12, "level": 0.95, "over": "query identities", "note": "; made up"}
    accuracies = {"good": 0.5, "bad": 0.2, "other": 0.9}
    said["models"] = [
        {**model, "name": name, "accuracy": [{**known, "key": key, "protocol": key, "mAP": mAP, "low": 0.1, "high": 1}]}
        for (name, mAP), key in zip(accuracies.items(), ("all", "all", "indoor"), strict=True)
    ]
    bundle.seal(said)
    done = bundle.run(*QUICK, "--gallery", "0", "--out", "record.json")
    assert "Most accurate: good (" in done.stdout
    assert "runner-up: bad (" in done.stdout
    assert "left out: other. Accuracy: all; made up." in done.stdout
    assert "also known under: indoor (choose with --protocol)" in done.stdout
    done = bundle.run(*QUICK, "--gallery", "0", "--out", "record.json", "--protocol", "indoor")
    assert "Most accurate: other (" in done.stdout
    _faults(bundle.run("--protocol", "outdoor"), "--protocol outdoor: accuracies are known under: all; indoor")


def test_emulated_timings_are_not_recorded(bundle):
    done = bundle.run("--emulated")
    assert done.returncode == 0, done.stderr
    assert "features were checked, latency is not measured and no record written" in done.stdout
    assert "p50" not in done.stdout
    assert not list(bundle.folder.parent.glob("record*"))


def test_missing_packages_are_named_with_the_command(bundle):
    done = bundle.run(python=(sys.executable, "-S"))  # without site-packages
    _faults(done, "numpy and onnxruntime not installed for this Python", f"{sys.executable} -m pip install numpy onnx")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only", "idkl-48x32-fp32-initia"], "did you mean 'idkl-48x32-fp32-initial'?"),
        (["--threads", "4096"], "--threads 4096: this process may use"),
        (["--batch", "0"], "0 is not a whole number from 1 on"),
        (["--seconds", "-1"], "-1 is not a number above 0"),
        (["--gallery", "-5"], "--gallery -5"),
        (["--out", "nowhere/record.json"], "nowhere: cannot be written"),
    ],
)
def test_bad_options_are_named(bundle, arguments, words):
    _faults(bundle.run(*arguments), words)


def test_nothing_of_this_machine_is_in_a_bundle(bundle):
    places = {str(ROOT), str(Path.home()), str(Path(sys.executable).parent), str(bundle.folder.parent)}
    for file in bundle.folder.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            for place in places:
                assert place.encode() not in content, f"{file.name} holds {place}"


def test_ids_are_of_the_specification_beside_them(bundle):
    bundle.run(*QUICK, "--gallery", "0", "--out", "record.json")
    (entry,) = json.loads((bundle.folder.parent / "record.json").read_text())["records"]
    assert set(entry) == {"specification", "digest", "record"}
    assert set(entry["specification"]) == {
        *("kind", "by", "artefact", "runtime", "threads", "batch", "budget", "device", "accelerator", "isolate"),
    }


def test_an_interrupted_run_says_so_and_leaves_no_process(bundle):
    command = [sys.executable, str(bundle.folder / "measure.py"), *QUICK, "--batch", "1", "--sustained", "60"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    with subprocess.Popen(
        command,
        cwd=bundle.folder,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where tests run in the background
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "measurements of about" in line:
                break
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    assert process.returncode == 130
    assert "interrupted; nothing was measured" in rest
    assert not list(bundle.folder.glob("record-*"))
