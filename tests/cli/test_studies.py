"""The smoke study from pixels to HTML: complete, resumable after SIGKILL, robust against a failing cell."""

import json
import signal
import time
from pathlib import Path

import pandas as pd
import pytest

from vireid.core.plan import Plan
from vireid.core.records import EvaluationRecord, FitRecord
from vireid.store import Store

pytestmark = pytest.mark.check
SMOKE = str(Path(__file__).parents[2] / "ablations" / "smoke.yaml")
TWO_CELLS = ["--only", "system=idkl"]  # of its four: what has nothing to do with their kinds is shown by these


def _metrics(store: Store) -> dict[str, dict[str, float]]:
    return {record.id: record.metrics for record in store.records() if isinstance(record, EvaluationRecord)}


def _plan(store: Store, name: str = "smoke") -> Plan:
    return Plan.model_validate_json((store.study(name) / "plan.json").read_bytes())


def test_smoke_study_from_pixels_to_html(shell):
    result = shell.spawn("ablate", SMOKE, "--report")
    assert result.returncode == 0, result.stderr
    store = Store(shell.store)
    page = store.study("smoke") / "report" / "index.html"
    assert str(page).removeprefix(str(shell.folder)).lstrip("/") in result.stdout.replace("\n", "")
    text = page.read_text(encoding="utf-8")
    assert "synthetic" in text
    assert "1 seed, no effect claimed" in text
    assert 'src="http' not in text
    for run in _plan(store).runs:
        assert store.get(run.fit) is not None
        assert store.get(run.cost) is not None
        assert all(store.get(evaluation) is not None for evaluation in run.evaluations)
        assert (store.directory(run.fit) / "job.log").is_file()

    before = {file: file.stat().st_mtime_ns for file in store.root.rglob("*.json")}
    again = shell.spawn("ablate", SMOKE, "--report")
    assert again.returncode == 0, again.stderr
    after = {file: file.stat().st_mtime_ns for file in store.root.rglob("*.json")}
    changed = {file.name for file in after if before.get(file) != after[file]}
    assert changed <= {"plan.json"}, "the second run computed something again"

    told = json.loads(shell.spawn("ablate", SMOKE, "--json").stdout)
    assert (told["failures"], told["report"]) == ({}, None)
    assert all(run["trained"] and all(run["evaluations"].values()) for run in told["runs"])

    assert shell.spawn("results", "export", "out.csv", "--kind", "cost").returncode == 0
    table = pd.read_csv(shell.folder / "out.csv")
    assert (table["parameters.deployed"] > 0).all()

    published = shell.spawn("results", "publish", "smoke", "--to", "out")
    assert published.returncode == 0, published.stderr
    copy = Store(shell.folder / "out")
    assert _metrics(copy) == _metrics(store)
    assert not list(copy.runs.rglob("*.safetensors"))


def test_a_killed_study_takes_up_and_ends_with_the_same_numbers(shell, tmp_path_factory):
    longer = ["recipe.epochs=12", *TWO_CELLS]
    process = shell.start("ablate", SMOKE, *longer)
    store = Store(shell.store)
    deadline = time.monotonic() + 240
    second = None
    while time.monotonic() < deadline and process.poll() is None:
        done = [r.id for r in store.records() if isinstance(r, FitRecord)] if store.runs.is_dir() else []
        training = [d for d in store.runs.glob("*/checkpoint*") if d.parent.name not in done]
        if done and training:  # one fit finished, the next in the middle of its training
            second = training[0].parent.name
            break
        time.sleep(0.02)
    assert second is not None, "the study ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    first = {file: file.stat().st_mtime_ns for file in store.runs.glob("*.json")}
    time.sleep(2)
    assert store.get(second) is None, "the training went on without its parent"

    result = shell.spawn("ablate", SMOKE, *longer)
    assert result.returncode == 0, result.stderr
    assert all(file.stat().st_mtime_ns == at for file, at in first.items()), "a finished run was repeated"
    other = shell.beside(tmp_path_factory.mktemp("undisturbed"))
    assert other.spawn("ablate", SMOKE, *longer).returncode == 0
    assert _metrics(store) == _metrics(Store(other.store))


def test_a_failing_cell_is_reported_and_does_not_stop_the_others(shell):
    study = (
        Path(SMOKE)
        .read_text()
        .replace("ibn:\n    none: [model.ibn=none]", "ibn:\n    none: [recipe.optimiser.lr=1e30]")
    )
    study = study.replace("    a: [model.ibn=a]", "    a: [model.ibn=a, recipe.optimiser.lr=3.5e-4]")
    (shell.folder / "study.yaml").write_text(study)
    result = shell.spawn("ablate", "study.yaml", "--report", *TWO_CELLS)
    assert result.returncode == 1
    assert "failed: fit of baseline, seed 1" in result.stdout
    store = Store(shell.store)
    plan = _plan(store)
    assert store.get(plan.runs[0].fit) is None
    assert store.get(plan.runs[1].fit) is not None
    assert (store.study("smoke") / "report" / "index.html").is_file()
    assert json.loads(next(store.runs.glob("*.failed-1.json")).read_text())["status"] == "failed"


def test_fits_side_by_side_give_what_they_give_one_after_the_other(shell):
    """Bitwise, at the same number of threads; the images are rendered once."""
    fits = [SMOKE, "runtime.threads=1", "--seeds", "1,2", *TWO_CELLS]
    beside = shell.spawn("ablate", *fits, "--jobs", "2", "--store", "beside")
    assert beside.returncode == 0, beside.stderr
    assert "images of seed 2: done" in beside.stderr
    after = shell.spawn("ablate", *fits, "--store", "after")
    assert after.returncode == 0, after.stderr
    metrics = _metrics(Store(shell.folder / "beside"))
    assert len(metrics) > 0
    assert metrics == _metrics(Store(shell.folder / "after"))
