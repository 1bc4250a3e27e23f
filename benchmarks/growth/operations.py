"""The operations whose growth is kept: commands on a store, plans, searches in a gallery, evaluations."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.growth.measure import Cost, Operation, fastest, python, spent, vireid
from benchmarks.growth.store import make_store

MODEST, LARGE = "shuffled", "optimized_idkl"  # studies that are rendered: of 18 fits, and of 114
QUERY = "from pathlib import Path; from vireid.store import Store; Store(Path({store!r})).query()"
REPORT_DATA = """
from pathlib import Path
from vireid.experiment.sources import stale_parts
from vireid.report.records.study import StudyView
from vireid.report.records.deployment import study_deployment
from vireid.report.render import input_digest
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
SEARCH = """
import json
from vireid.experiment.cost.search import TASK, TOP
from vireid.profiling.isolation import run_isolated
budget = {{"warmup_seconds": 0.3, "min_seconds": 0.3, "max_seconds": 3.0}}
asked = {{"storage": "fp32", "features": 128, "rows": {rows}, "top": TOP, "library": "numpy", "budget": budget}}
answer = run_isolated(TASK, asked, threads=1, timeout_seconds=300)
assert answer.status == "ok", answer.reason
print(json.dumps(sorted(answer.result["seconds"])))
"""
EVALUATION = """
import json, sys, time
import numpy as np
sys.path.insert(0, "benchmarks")
import torch
from ranking.scale import clustered
from vireid.evaluation.features import rank_features
from vireid.evaluation.metrics import Labels
torch.set_num_threads({threads})
query_rows, gallery_rows = {queries}, {gallery}
gallery, identity = clustered(gallery_rows, {width})
labels = Labels(identity, np.ones_like(identity))
step = gallery_rows // query_rows
query, query_labels = gallery[::step].copy() + 0.5, labels[::step]
wall, processor = time.perf_counter(), time.process_time()
rank_features(query, gallery, query_labels, labels, cmc="plain", reranking=None)
print(json.dumps({{"processor": time.process_time() - processor, "wall": time.perf_counter() - wall}}))
"""


def store_operations(folder: Path, sizes: Sequence[int], say: Callable[[str], None]) -> Iterator[Operation]:
    """Commands on stores of these sizes, start of Python and imports included.

    Args:
        folder: that takes the stores and their indexes.
        sizes: numbers of records.
        say: told what is going on.
    """
    kept: dict[str, dict[int, Cost]] = {}
    for size in sizes:
        say(f"a store of {size:,} records")
        store = make_store(folder / str(size), size, [MODEST, LARGE])
        cache = folder / f"cache-{size}"

        def enter(name: str, cost: Cost, size: int = size) -> None:
            kept.setdefault(name, {})[size] = cost

        enter("first indexing", spent(vireid("results", "list", "--store", store), cache)[0])
        enter("results list", fastest(vireid("results", "list", "--store", store), cache))
        table = store.parent / "evaluations.csv"
        enter("results export", fastest(vireid("results", "export", table, "--store", store), cache))
        enter("Store.query", fastest(python(QUERY.format(store=str(store))), cache))
        if (device := some_latency(store)) is not None:
            enter("choose", fastest(vireid("choose", "--device", device, "--store", store), cache, codes=(0, 1)))
        data = REPORT_DATA.format(store=str(store), study=MODEST)
        enter("data of a report", fastest(python(data), cache))
        enter("report", _rendered(store, MODEST, cache))
        if size == max(sizes) and (store / "studies" / LARGE).is_dir():
            enter("report, large study", _rendered(store, LARGE, cache))
        shutil.rmtree(store)
    limits = {"results list": 2.0, "results export": 2.0, "Store.query": 2.0, "report": 10.0}
    notes = {
        "first indexing": "`vireid results list` without an index",
        "results export": "all evaluations as CSV",
        "Store.query": "all kinds, as a DataFrame",
        "choose": "on the machine of one of its latency records",
        "data of a report": f"of study {MODEST}: records joined, digest of all inputs",
        "report": f"`vireid report {MODEST}`, 18 fits, from nothing to the page",
        "report, large study": f"`vireid report {LARGE}`, 114 fits",
    }
    for name, costs in kept.items():
        yield Operation(name, "records", costs, limits.get(name), notes.get(name, ""))


def some_latency(store: Path) -> str | None:
    """Id of a latency record of one image, of a network that a plan of the store has trained; None without any."""
    plans = [json.loads(path.read_bytes()) for path in (store / "studies").glob("*/plan.json")]
    files = [store / "runs" / f"{cost}.json" for cost in {run["cost"] for plan in plans for run in plan["runs"]}]
    graphs = {json.loads(file.read_bytes())["artefact"] for file in files if file.is_file()}
    for path in sorted((store / "runs").glob("*.json")):
        if b'"kind": "latency"' in (content := path.read_bytes()):
            record = json.loads(content)
            one = record["status"] == "ok" and record["batch"] == 1 and not record.get("stages")
            if one and record["artefact"] in graphs:
                return path.stem
    return None


def _rendered(store: Path, study: str, cache: Path) -> Cost:
    shutil.rmtree(store / "studies" / study / "report", ignore_errors=True)
    return spent(vireid("report", study, "--store", store), cache)[0]


def plans(folder: Path, factors: Sequence[int]) -> Operation:
    """Full factorial plans of two levels for each number of factors."""
    costs = {2**n: fastest(python(PLAN.format(factors=n)), folder / "cache-plan") for n in factors}
    return Operation("plan of a study", "cells", costs, 5.0, "full factorial; start of Python included")


def searches(folder: Path, rows: Sequence[int]) -> Operation:
    """One query among that many rows, on one core: medians."""
    costs = {}
    for count in rows:
        seconds = json.loads(spent(python(SEARCH.format(rows=count)), folder / "cache-search")[1])
        median = seconds[len(seconds) // 2]
        costs[count] = Cost(median, median)
    return Operation("search in a gallery", "rows", costs, None, "one query, 128-d, float32, one core: wall clock")


def evaluations(folder: Path, items: Sequence[int]) -> Operation:
    """Plain ranking, half of the items queries and half gallery."""
    costs = {count: _evaluated(folder, count // 2, count // 2, 512) for count in items}
    return Operation("evaluation", "images", costs, None, "half queries, half gallery, 512-d, features to metrics")


def large_galleries(folder: Path, rows: Sequence[int]) -> Operation:
    """Plain ranking of 1,000 queries, by the clock: two threads share it."""
    walls = {count: _evaluated(folder, 1000, count, 512, threads=2).wall for count in rows}
    costs = {count: Cost(wall, wall) for count, wall in walls.items()}
    note = "1,000 queries, 512-d, features to metrics, two threads: wall clock"
    return Operation("evaluation of a large gallery", "rows", costs, 6.0, note)


def _evaluated(folder: Path, queries: int, gallery: int, width: int, threads: int = 1) -> Cost:
    code = EVALUATION.format(queries=queries, gallery=gallery, width=width, threads=threads)
    return Cost(**json.loads(spent([sys.executable, "-c", code], folder / "cache-evaluation")[1]))
