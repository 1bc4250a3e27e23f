"""Synthetic stores with systems instead of toggles, and with queries that have text."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from tests.report.studies import PLAIN, UNITS, ZHONG, Writer, card, common
from vireid.core.identity import run_id
from vireid.core.plan import Cell, Plan, PlannedRun
from vireid.core.records import EvaluationRecord
from vireid.store import Store

# System: mAP, MACs, deployed and training-only parameters, seconds of a fit.
SYSTEMS = {
    "idkl": (0.24, 0.0482e9, 700_000, 1_900_000, 82.0),
    "idkl_released": (0.19, 0.0482e9, 700_000, 1_900_000, 78.0),
    "optimized": (0.29, 0.0489e9, 700_000, 2_300_000, 110.0),
    "optimized_fork": (0.20, 0.0489e9, 700_000, 2_100_000, 126.0),
    "iv_reid": (0.17, 0.0482e9, 705_000, 640_000, 53.0),
    "agw": (0.21, 0.0493e9, 702_000, 102_000, 60.0),
    "tskd": (0.25, 0.0493e9, 702_000, 102_000, 127.0),
    "tvi_lfm": (0.23, 0.0481e9, 701_000, 520_000, 66.0),
}
SEEDS = (201, 202, 203)
ALL, INDOOR, RERANKED = card(PLAIN), card(PLAIN, mode="indoor"), card(ZHONG)
CORRUPTED = card(PLAIN, corruption={"where": "gallery", "kind": "drawn", "severity": "drawn", "seed": 0})
WITNESS = card(PLAIN, text="query", captions="Witness_IR")
ORACLE = card(PLAIN, text="oracle", captions="Blip_RGB")
LIFT = {"Witness_IR": 0.05, "Blip_RGB": 0.12, "Blip_IR": 0.0}  # of mAP, over infrared alone


def recipe(system: str) -> dict[str, object]:
    """The recipe that a fit records: 31 × 35 batches of 64, but 68 × 32 of 32 for the fork, two stages with text."""
    base: dict[str, object] = {"batch_size": 64, "steps_per_epoch": 35, "stages": [{"name": "main", "epochs": 31}]}
    if system == "optimized_fork":
        return {**base, "batch_size": 32, "steps_per_epoch": 68, "stages": [{"name": "main", "epochs": 32}]}
    if system == "tvi_lfm":
        return {**base, "stages": [{"name": "base", "epochs": 19}, {"name": "text", "epochs": 12}]}
    return base


def score(cell: str, seed: int, protocol: dict[str, object]) -> float:
    """mAP of a run: its system's, a seed's block, noise of its own, what text and re-ranking add."""
    rng = np.random.default_rng([SEEDS[0] + seed, *map(ord, cell), *map(ord, str(protocol["mode"]))])
    truth = SYSTEMS[cell][0] if cell in SYSTEMS else 0.22
    found = truth + 0.02 * np.sin(seed) + float(rng.normal(0, 0.004))
    found += 0.1 * (protocol["mode"] == "indoor") + 0.06 * (protocol["reranking"] != PLAIN)
    if protocol.get("corruption"):
        found *= 0.6 + 0.01 * np.cos(5.0 * seed)
    if protocol["text"] != "none":
        found += LIFT[str(protocol["captions"])] + 0.003 * np.cos(3.0 * seed)
    return float(found)


def put_evaluation(write: Writer, cell: str, seed: int, protocol: dict[str, object]) -> None:
    m = score(cell, seed, protocol)
    values = {"r1": m + 0.02, "r5": m + 0.2, "r10": m + 0.34, "r20": m + 0.47, "mAP": m, "mINP": 0.6 * m}
    write.store.put(
        EvaluationRecord(
            id=evaluation_id(cell, seed, protocol), status="ok", fit=run_id(["fit", cell, seed]), protocol=protocol,
            metrics=values, metric_units=UNITS, fingerprint="e" * 64, **common(),
        )
    )  # fmt: skip


def evaluation_id(cell: str, seed: int, protocol: dict[str, object]) -> str:
    return run_id(["evaluation", cell, seed, protocol])


def put_run(
    write: Writer,
    cell: str,
    seed: int,
    planned: Sequence[dict[str, object]],
    cost: str,
    *,
    failed: bool,
    seconds: float,
    lost: Collection[str] = (),
    **config: object,
) -> PlannedRun:
    """A fit with its evaluations; ``lost`` evaluations are planned but not there."""
    rng = np.random.default_rng([seed, 3])
    reason = "killed for lack of memory" if failed else None
    fit = write.fit(
        cell, seed, rng, reason, config=config, seconds=seconds + float(rng.normal(0, 1)),
        step_seconds=list(rng.normal(seconds / 1085, 0.002, 40)), peak_memory_bytes=int(6e6 * seconds),
    )  # fmt: skip
    names = [evaluation_id(cell, seed, protocol) for protocol in planned]
    for protocol, name in zip(planned, names, strict=True):
        if not failed and name not in lost:
            put_evaluation(write, cell, seed, protocol)
    return PlannedRun(cell=cell, seed=seed, overrides=[], fit=fit, evaluations=names, cost=cost)


def build_comparison(
    root: Path,
    seeds: Sequence[int] = SEEDS,
    *,
    failed: Collection[tuple[str, int]] = (),
    lost: Collection[str] = (),
    untimed: Collection[str] = (),
    short: Collection[str] = (),
    corrupted: bool = False,
) -> Store:
    """A study of eight systems named ``comparison``; ``corrupted``: under one more protocol.

    ``failed`` (system, seed) have no result, ``lost`` evaluations are missing, ``untimed`` systems have no latency,
    ``short`` ones trained for half of the budget.
    """
    store = Store(root)
    write = Writer(store)
    cells = [
        Cell(
            name="baseline" if name == "idkl" else f"system={name}",
            label="baseline" if name == "idkl" else f"+ system {name}",
            factors={"system": name}, baseline=name == "idkl",
        )
        for name in SYSTEMS
    ]  # fmt: skip
    runs = []
    for cell, (name, (_, macs, deployed, extra, seconds)) in zip(cells, SYSTEMS.items(), strict=True):
        artefact = run_id(["graph", name])
        cost = write.cost(name, artefact, macs, deployed=deployed, training_only=extra)
        if name not in untimed:
            write.latency(artefact, macs / 0.0482e9)
        planned = [
            ALL,
            INDOOR,
            RERANKED,
            *([CORRUPTED] if corrupted else []),
            *([WITNESS, ORACLE] if name == "tvi_lfm" else []),
        ]
        own = recipe(name)
        if name in short:
            own = {**own, "stages": [{"name": "main", "epochs": 15}]}
        for seed in seeds:
            run = put_run(
                write, name, seed, planned, cost, failed=(name, seed) in failed, lost=lost, seconds=seconds, recipe=own
            )
            runs.append(run.model_copy(update={"cell": cell.name}))
    write.plan(
        Plan(
            name="comparison", title="Eight systems, the same images, the same budget", design="explicit",
            factors={"system": list(SYSTEMS)}, seeds=list(seeds), cells=cells, runs=runs, study={},
        )
    )  # fmt: skip
    return store


def build_text_study(root: Path, seeds: Sequence[int] = SEEDS, *, baseline: bool = True) -> Store:
    """A cumulative study named ``words``: infrared alone, then text, evaluated with captions of two kinds."""
    store = Store(root)
    write = Writer(store)
    cells = [
        Cell(name="alone", label="baseline", factors={"text": "off"}, baseline=True),
        Cell(name="text", label="+ text", factors={"text": "on"}),
    ]
    blind = card(PLAIN, text="query", captions="Blip_IR")
    runs = []
    for cell in cells:
        cost = write.cost(cell.name, run_id(["graph"]), 0.0481e9)
        planned = [ALL] if cell.baseline else [ALL, WITNESS, blind]
        for seed in seeds:
            failed = cell.baseline and not baseline
            runs.append(put_run(write, cell.name, seed, planned, cost, failed=failed, seconds=70.0))
    write.plan(
        Plan(
            name="words", title="What text adds", design="cumulative", factors={"text": ["off", "on"]},
            seeds=list(seeds), cells=cells, runs=runs, study={"labels": {"text": "text"}},
        )
    )  # fmt: skip
    return store
