"""Time and memory of large evaluations, each in a process of its own: growth with size, and a gallery of a million.

Minutes long: run it alone, and one test of it with ``-k``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ranking.scale import clustered

SCALE = Path(__file__).parent / "ranking" / "scale.py"
VIREID = Path(sys.executable).parent / "vireid"
SIZES = (5_000, 20_000, 50_000)
WIDTH = 2048
GIB = 2**30


def measured(*arguments):
    found = subprocess.run([sys.executable, SCALE, *map(str, arguments)], capture_output=True, text=True, check=True)
    return json.loads(found.stdout)


@pytest.mark.parametrize("task", ["rank", "rerank"])
def test_growth(task, benchmark, capsys):
    """Half of the items are queries, half gallery; the exponent is that of a power law through the three sizes."""
    runs = benchmark.pedantic(lambda: [measured(task, items, WIDTH) for items in SIZES], rounds=1)
    benchmark.extra_info["runs"] = dict(zip(map(str, SIZES), runs, strict=True))
    exponent = {
        key: np.polyfit(np.log(SIZES), np.log([run[key] for run in runs]), 1)[0] for key in ("seconds", "peak_bytes")
    }
    with capsys.disabled():
        print(f"\n{task}, {WIDTH}-d, half queries and half gallery")
        for items, run in zip(SIZES, runs, strict=True):
            print(f"  {items:,} items: {run['seconds']:.2f} s, peak {run['peak_bytes'] / GIB:.2f} GiB")
        print(f"  time grows as n^{exponent['seconds']:.2f}, peak memory as n^{exponent['peak_bytes']:.2f}")
    assert runs[-1]["peak_bytes"] < 4 * GIB


def test_a_million_gallery_rows_from_a_file(tmp_path, benchmark, capsys):
    """``vireid score`` on an .npz file of 1,000 queries and 1,000,000 gallery images of 512 dimensions."""
    gallery, identity = clustered(1_000_000, 512)
    query, query_id = gallery[:20_000:20] + 0.5, identity[:20_000:20]
    file = tmp_path / "features.npz"
    np.savez(file, query=query, gallery=gallery, query_id=query_id, gallery_id=identity)
    del gallery

    def evaluate():
        start = time.perf_counter()
        with subprocess.Popen([VIREID, "score", file, "--rule", "none", "--json"], stdout=subprocess.PIPE) as child:
            metrics = json.loads(child.stdout.read())
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        assert child.returncode == 0
        return metrics, time.perf_counter() - start, usage.ru_maxrss * 1024

    metrics, seconds, peak = benchmark.pedantic(evaluate, rounds=1)
    benchmark.extra_info["peak_bytes"] = peak
    with capsys.disabled():
        print(f"\n1,000 queries, gallery of 1,000,000 × 512 from a file: {seconds:.1f} s, peak {peak / GIB:.2f} GiB")
        print(f"  {metrics}")
    assert peak < 4 * GIB


@pytest.mark.parametrize("queries", [1_000, 4_000])
def test_a_large_gallery_against_its_products(queries, benchmark, capsys):
    """Ranking of 1,000,000 × 512 in memory beside the matrix products that it cannot do without."""
    run = benchmark.pedantic(lambda: measured("large", queries, 1_000_000, 512), rounds=1)
    benchmark.extra_info["run"] = run
    with capsys.disabled():
        print(
            f"\n{queries:,} queries, gallery of 1,000,000 × 512: {run['seconds']:.2f} s, products alone "
            f"{run['products']:.2f} s, {run['seconds'] / run['products']:.2f} ×; "
            f"peak {run['peak_bytes'] / GIB:.2f} GiB, {run['before_bytes'] / GIB:.2f} before"
        )


@pytest.mark.parametrize("kind", ["exact", "ivf", "ivfpq"])
def test_faiss_on_a_million(kind, benchmark, capsys):
    """21 neighbours of 1,000 images among 1,000,000 × 128, beside the exact search of ours."""
    pytest.importorskip("faiss")
    run = benchmark.pedantic(lambda: measured("neighbours", kind, 1_000_000, 128), rounds=1)
    benchmark.extra_info["run"] = run
    with capsys.disabled():
        print(
            f"\nfaiss {kind}, 1,000,000 × 128: built in {run['build_seconds']:.1f} s, 1,000 searched in "
            f"{run['search_seconds']:.2f} s (exact, ours: {run['exact_seconds']:.2f} s), recall {run['recall']:.3f}, "
            f"peak {run['peak_bytes'] / GIB:.2f} GiB"
        )
