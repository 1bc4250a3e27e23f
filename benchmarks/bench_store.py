"""What a large store costs: processor time of lists, tables, a report's data and a plan, and how it grows.

``pytest benchmarks/bench_store.py -s`` (VIREID_RECORDS=1250,2500,5000,10000 for other sizes). A store is made of copies
of the committed records under other ids: fits, evaluations, costs and latencies in their proportions, and a study of
about a hundred fits. Every figure is the processor time (user and system, which other processes change little) of a
fresh process, start and imports included: first without an index, then with one; the table of wall-clock times that
pytest-benchmark prints is of all sizes together. What a report takes beyond its data,
running its notebook and drawing, does not depend on the store's size.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

SIZES = [int(size) for size in os.environ.get("VIREID_RECORDS", "1250,2500,5000,10000").split(",")]
COMMITTED = Path(__file__).parents[1] / "results"
STUDY = "optimized_idkl"
LONG_AGO = 10**18  # nanoseconds: files that were written just now are not relied upon

LIST = "import sys; from vireid.cli import main; sys.argv = ['vireid', 'results', 'list', '--store', {store!r}]; main()"
QUERY = "from pathlib import Path; from vireid.store import Store; Store(Path({store!r})).query({kind!r})"
REPORT = """
from pathlib import Path
from vireid.experiment.sources import stale_parts
from vireid.report.render import input_digest
from vireid.report.records.study import StudyView
from vireid.report.records.deployment import study_deployment
from vireid.store import Store
store = Store(Path({store!r}))
view = StudyView(store, {study!r}, stale_parts(store.rows()))
input_digest(view, Path("notebooks/ablation.ipynb"), [])
view.scores, view.latency, view.costs, study_deployment(view)
"""
PLAN = """
from vireid.ablation.plan import make_plan
from vireid.ablation.study import Study
switches = [
    "model.ibn=none fork", "model.mha=none guidance", "augmentation.pad=3 4", "weighting=fixed gradnorm",
    "recipe.evaluate_every=0 5", "data.height=96 128", "data.width=48 64", "recipe.epochs=48 50",
    "recipe.optimiser.lr=0.01 0.02", "stream=0 1",
]
pairs = [text.partition("=") for text in switches]
factors = {{key: {{level: [f"{{key}}={{level}}"] for level in levels.split()}} for key, _, levels in pairs[:{factors}]}}
base = ["data=sysu_quick", "data.hold_out_dev=true", "data.split=test", "model=idkl_small", "recipe=from_trunk"]
study = Study(name="s", title="S", base=base, design="full_factorial", factors=factors, seeds=[1])
plan, _ = make_plan(study)
assert len(plan.runs) == 2 ** {factors}
"""


def processor_seconds(code: str, cache: Path) -> float:
    """User and system time of a fresh process that runs ``code``."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=COMMITTED.parent, stdout=subprocess.DEVNULL, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def exponent(seconds: dict[int, float]) -> float:
    """Slope of a straight line through logarithms of time over size, by least squares."""
    points = [(math.log(size), math.log(value)) for size, value in seconds.items()]
    x, y = (sum(column) / len(points) for column in zip(*points, strict=True))
    return float(sum((a - x) * (b - y) for a, b in points)) / sum((a - x) ** 2 for a, _ in points)


def make_store(root: Path, size: int) -> str:
    """Copies of the committed records, the first of them as they are, with the study that is rendered."""
    files = sorted(file for file in (COMMITTED / "runs").glob("*.json") if len(file.stem) == 12)
    plan = json.loads((COMMITTED / "studies" / STUDY / "plan.json").read_text())
    named = {id_ for run in plan["runs"] for id_ in (run["fit"], run["cost"], *run["evaluations"])}
    files.sort(key=lambda file: file.stem not in named)  # the study is whole, however small the store
    (root / "runs").mkdir(parents=True)
    (root / "studies" / STUDY).mkdir(parents=True)
    (root / "studies" / STUDY / "plan.json").write_text(json.dumps(plan))
    copies = ((number, file) for number in itertools.count() for file in files)
    for number, file in itertools.islice(copies, size):
        content = json.loads(file.read_bytes())
        for key in ("id", "fit"):
            if number and key in content:
                content[key] = hashlib.sha256(f"{number} {content[key]}".encode()).hexdigest()[:12]
        path = root / "runs" / f"{content['id']}.json"
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        os.utime(path, ns=(LONG_AGO, LONG_AGO))
    return str(root)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    """A store of each size."""
    return {size: make_store(tmp_path_factory.mktemp("stores") / str(size), size) for size in SIZES}


@pytest.mark.parametrize("what", ["list", "query of all kinds", "query of evaluations", "report"])
def test_store(what: str, stores: dict[int, str], tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    code = {"list": LIST, "report": REPORT}.get(what, QUERY)
    kind = "evaluation" if what == "query of evaluations" else None
    first: dict[int, float] = {}
    seconds: dict[int, float] = {}

    def measure() -> None:
        for size, store in stores.items():
            filled = code.format(store=store, kind=kind, study=STUDY)
            first[size] = processor_seconds(filled, tmp_path / str(size))
            seconds[size] = min(processor_seconds(filled, tmp_path / str(size)) for _ in range(2))

    benchmark.pedantic(measure, rounds=1)  # type: ignore[no-untyped-call]
    show(what, seconds, "records")
    show(f"{what}, when the index is made", first, "records")


def test_plan(tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    seconds: dict[int, float] = {}

    def measure() -> None:
        seconds.update({2**n: processor_seconds(PLAN.format(factors=n), tmp_path) for n in (7, 8, 9, 10)})

    benchmark.pedantic(measure, rounds=1)  # type: ignore[no-untyped-call]
    show("plan", seconds, "cells")


def show(what: str, seconds: dict[int, float], unit: str) -> None:
    """Print one line of figures."""
    figures = ", ".join(f"{size} {unit} {value:.2f} s" for size, value in seconds.items())
    slope = f"; exponent {exponent(seconds):.2f}" if len(seconds) > 1 else ""
    print(f"\n{what}: {figures} of processor time{slope}")
