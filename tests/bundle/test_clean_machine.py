"""From a fit to a record that came back: with an interpreter that has NumPy and ONNX Runtime, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.tiny import tiny
from vireid.experiment.context import RunContext
from vireid.experiment.cost.profile import cost_step
from vireid.experiment.deploy.bundle import bundle_step
from vireid.experiment.fit import evaluate_step, fit_step
from vireid.store import Store

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def clean_python(tmp_path_factory):
    """An interpreter with the two packages; skipped where they cannot be installed."""
    place = tmp_path_factory.mktemp("clean") / "env"
    python = str(place / "bin" / "python")
    if shutil.which("uv"):
        commands = [
            ["uv", "venv", "--quiet", "--python", sys.executable, str(place)],
            ["uv", "pip", "install", "--quiet", "--python", python, "numpy", "onnxruntime"],
        ]
    else:
        commands = [
            [sys.executable, "-m", "venv", str(place)],
            [python, "-m", "pip", "install", "--quiet", "numpy", "onnxruntime"],
        ]
    for command in commands:
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=400)
        except subprocess.TimeoutExpired:
            pytest.skip("installing numpy and onnxruntime took longer than 400 s")
        if done.returncode != 0:
            pytest.skip(f"numpy and onnxruntime cannot be installed here: {done.stderr.strip()[-300:]}")
    return python


@pytest.mark.check
def test_a_fit_is_measured_where_there_is_no_pytorch_and_its_records_come_back(clean_python, rendered, tmp_path):
    store, config = Store(tmp_path / "store"), tiny(f"data.root={rendered}")
    fit = fit_step(RunContext(config, store))
    evaluations = evaluate_step(RunContext(config, store))
    cost = cost_step(RunContext(config, store))
    bundled = bundle_step([RunContext(config, store)], [], store, tmp_path / "pi.zip")
    (model,) = bundled.models
    assert model.run == fit.id
    assert model.graph == cost.artefact
    assert {known.evaluation for known in model.accuracy} <= {record.id for record in evaluations}

    device = tmp_path / "device"
    with zipfile.ZipFile(tmp_path / "pi.zip") as archive:
        archive.extractall(device)
    absent = "import importlib.util as u; print([n for n in ('torch', 'psutil', 'PIL', 'vireid') if u.find_spec(n)])"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [clean_python, *arguments]
        return subprocess.run(command, cwd=device, env=environment, capture_output=True, text=True, timeout=300)

    assert run("-c", absent).stdout.strip() == "[]"
    done = run("pi/measure.py", "--seconds", "0.2", "--threads", "1", "--out", "record.json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fine (cosine" in done.stdout
    assert f"Most accurate: {model.name} (" in done.stdout
    assert "not comparable with published results" in done.stdout

    command = [sys.executable, "-c", "from vireid.cli import main; main()", "results", "add"]
    told = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    arguments = [str(device / "record.json"), "--store", str(store.root)]
    added = subprocess.run([*command, *arguments], capture_output=True, text=True, env=told, timeout=300)
    assert added.returncode == 0, added.stdout + added.stderr
    assert "2 measurements by somebody" in added.stdout
    assert "no cost record" not in added.stdout
    ((_, contribution),) = store.contributions()
    assert {entry.record.artefact for entry in contribution.records} == {cost.artefact}
    assert "torch" not in contribution.device.packages
