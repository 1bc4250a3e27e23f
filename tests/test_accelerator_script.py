"""`make accelerator` at toy size on the processor: every part runs, and what it writes can be read."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vireid.core.records import EvaluationRecord, FitRecord
from vireid.store import Store

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "benchmarks" / "accelerator.py"


def run(*arguments, **environment):
    words = [sys.executable, str(SCRIPT), *map(str, arguments)]
    alone = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        words, capture_output=True, text=True, env={**os.environ, **alone, **environment}, check=False
    )


@pytest.fixture(scope="module")
def dry(tmp_path_factory):
    to = tmp_path_factory.mktemp("accelerator")
    done = run("--device", "cpu", "--dry", "--budget", 150, "--to", to, "--commit", "abc")
    return done, to, json.loads((to / "accelerator.json").read_text(encoding="utf-8"))


def rows(record, part):
    (found,) = [each for each in record["parts"] if each["name"] == part]
    return {row["name"]: row for row in found["rows"]}


@pytest.mark.check
def test_every_part_runs(dry):
    done, _, record = dry
    assert done.returncode == 0, done.stdout + done.stderr
    states = {part["name"]: part["status"] for part in record["parts"]}
    assert states == {"tests": "skipped", "steps": "ok", "deployed": "ok", "ranking": "ok", "full_fit": "ok"}
    assert "needs a CUDA device" in rows(record, "tests")["all"]["reason"]
    assert record["dry"]
    assert record["environment"]["accelerator"] == "cpu"
    assert record["environment"]["packages"]["torch"]
    assert record["commit"]
    assert record["started"] <= record["ended"]


@pytest.mark.check
def test_raw_samples_are_recorded(dry):
    record = dry[2]
    step = rows(record, "steps")["ours fp32"]
    assert len(step["milliseconds"]) == len(step["step_seconds"]) > 0
    assert step["peak_bytes"] > 0
    assert "no --released PATH" in rows(record, "steps")["released"]["reason"]
    for batch in (1, 4):
        eager = rows(record, "deployed")[f"eager fp32, batch {batch}"]
        assert eager["batch"] == batch
        assert len(eager["milliseconds"]) > 1
        compiled = rows(record, "deployed")[f"compile fp32, batch {batch}"]
        assert compiled["status"] == "skipped" or compiled["feature_error"] < 1e-3
    ranked = rows(record, "ranking")
    assert ranked["device"]["metrics"] == pytest.approx(ranked["cpu"]["metrics"], abs=1e-4)
    assert set(ranked["cpu"]["metrics"]) >= {"r1", "mAP", "mINP"}


@pytest.mark.check
def test_the_fit_is_in_the_stores_format(dry):
    _, to, record = dry
    fit = rows(record, "full_fit")["fit"]
    assert isinstance(Store(to).get(fit["id"]), FitRecord)
    evaluation = Store(to).get(fit["evaluation"])
    assert isinstance(evaluation, EvaluationRecord)
    assert evaluation.fit == fit["id"]
    assert evaluation.metrics["mAP"] == pytest.approx(fit["dev"][-1])
    assert (to / "runs" / str(evaluation.per_query_file)).is_file()


@pytest.mark.check
def test_files_are_few_and_small(dry):
    _, to, _ = dry
    files = [file.relative_to(to) for file in to.rglob("*") if file.is_file()]
    assert len(files) <= 8
    assert all(len(file.parts) <= 3 and (to / file).stat().st_size < 16e6 for file in files)
    assert "| ours fp32 |" in (to / "accelerator.md").read_text(encoding="utf-8")


@pytest.mark.check
def test_a_failing_part_is_recorded_and_the_others_go_on(tmp_path):
    only = ("--only", "full_fit", "--only", "ranking")
    done = run("--device", "cpu", "--dry", "--to", tmp_path, *only, "--fit", "recipe.epochs=none")
    record = json.loads((tmp_path / "accelerator.json").read_text(encoding="utf-8"))
    assert done.returncode == 1
    assert [(part["name"], part["status"]) for part in record["parts"]] == [("ranking", "ok"), ("full_fit", "failed")]
    assert "epochs" in record["parts"][1]["reason"]


@pytest.mark.check
def test_what_the_time_does_not_allow_is_skipped(tmp_path):
    done = run("--device", "cpu", "--dry", "--to", tmp_path, "--budget", 1, "--only", "ranking")
    record = json.loads((tmp_path / "accelerator.json").read_text(encoding="utf-8"))
    assert done.returncode == 0
    assert record["parts"][0]["status"] == "skipped"
    assert "budget are spent" in record["parts"][0]["reason"]


def test_without_a_device_it_says_so(tmp_path):
    done = run("--to", tmp_path / "none")
    assert done.returncode == 2
    assert "finds no CUDA device" in done.stderr
    assert not (tmp_path / "none").exists()
