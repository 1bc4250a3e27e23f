"""Searches in stored galleries on one core: time by rows with the exponent, and what a search holds beside them.

``pytest benchmarks/bench_gallery.py`` (VIREID_ROWS=1000,10000,100000,1000000 for other sizes); the machine should be
idle. Every size is measured in a fresh process, as ``vireid gallery`` does.
"""

import os

import pytest

from vireid.evaluation.gallery import STORAGES, Gallery, stand_in
from vireid.experiment.cost.search import TASK, TOP
from vireid.profiling.isolation import run_isolated
from vireid.report.records.searches import SearchTimes

ROWS = [int(rows) for rows in os.environ.get("VIREID_ROWS", "1000,10000,100000").split(",")]
WIDTH = 512
BUDGET = {"warmup_seconds": 0.5, "min_seconds": 0.5, "max_seconds": 3.0}
FREE = 64e6  # bytes beside the rows: a block of features while they are made, scores, libraries' first pages


@pytest.mark.parametrize("library", ["numpy", "faiss"])
@pytest.mark.parametrize("storage", STORAGES)
def test_search(storage: str, library: str) -> None:
    if library == "faiss":
        pytest.importorskip("faiss")
    seconds, beside = {}, 0
    for rows in ROWS:
        asked = {"storage": storage, "features": WIDTH, "rows": rows, "top": TOP, "library": library, "budget": BUDGET}
        answer = run_isolated(TASK, asked, threads=1, timeout_seconds=900)
        assert answer.status == "ok", answer.reason
        seconds[rows] = sorted(answer.result["seconds"])[len(answer.result["seconds"]) // 2]
        held = Gallery(stand_in(storage, WIDTH), 1).nbytes * rows
        beside = max(beside, answer.result["memory_bytes"] - held)
    times = SearchTimes(storage, WIDTH, library, "this machine", seconds, {})
    shown = ", ".join(f"{rows} rows {1e3 * value:.3f} ms" for rows, value in seconds.items())
    print(f"\n{library} {storage}: {shown}; exponent {times.exponent:.2f}; {beside / 1e6:.0f} MB beside the rows")
    if library == "numpy":
        assert beside < FREE + 8 * max(ROWS)
