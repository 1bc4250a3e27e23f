"""A synthetic store: five cumulative cells, with plausible numbers, per-query tables and panel images."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from vireid.core.environment import Environment
from vireid.core.identity import run_id
from vireid.core.plan import Cell, Plan, PlannedRun
from vireid.core.records import ComponentStamp, CostRecord, EvaluationRecord, FitRecord, LatencyRecord
from vireid.store import Store, file_digest, write_atomically

FACTORS = {
    "ibn": ["none", "a"],
    "mha": ["none", "guidance"],
    "augmentation": ["base", "full"],
    "weighting": ["fixed", "uncertainty"],
}
LABELS = ["Baseline", "+ IBN", "+ MHA", "+ augmentation", "+ adaptive weighting"]
MAP = [0.221, 0.246, 0.252, 0.331, 0.327]
TERMS = {"id": 4.2, "triplet": 1.1, "modality": 0.69, "pseudo_modality": 0.7, "tgsa": 0.4, "csa": 0.9}
PLAIN = {"name": "none"}
ZHONG = {"name": "zhong", "k1": 20, "k2": 6, "lambda": 0.3}
UNITS = dict.fromkeys(("r1", "r5", "r10", "r20", "mAP", "mINP"), "fraction in [0, 1], higher is better")
BuildStore = Callable[..., Store]


def environment(accelerator: str = "cpu", **device: object) -> Environment:
    return Environment(
        python="3.11.9",
        platform="Linux-6.1-x86_64",
        packages={"vireid": "0.1.0", "torch": "2.6.0", "numpy": "2.1.0"},
        git_commit="0123456789abcdef0123456789abcdef01234567",
        git_dirty=False,
        accelerator=accelerator,
        threads=2,
        device={"cpu": "Example CPU @ 2.6 GHz", "logical_cores": 2, **device},
    )


def card(reranking: dict[str, object], **changes: object) -> dict[str, object]:
    base = {
        "name": "sysu/official", "mode": "all", "direction": "infrared to visible", "shots": 1, "trials": 10,
        "reranking": reranking, "test_time_augmentation": "none", "feature_normalisation": "L2",
        "text": "none", "selection": "last epoch", "split": "test",
    }  # fmt: skip
    return {**base, **changes}


def curves(rng: np.random.Generator, *, adaptive: bool, epochs: int = 18) -> list[dict[str, object]]:
    entries = []
    for epoch in range(epochs):
        fall = float(np.exp(-epoch / 6))
        terms = {
            name: scale * (0.15 + fall) * float(rng.normal(1, 0.03))
            for name, scale in TERMS.items()
        }  # fmt: skip
        weights = {name: (0.5 + 0.04 * epoch * (i % 3) if adaptive else 1.0) for i, name in enumerate(terms)}
        entries.append(
            {
                "epoch": epoch, "stage": "main", "loss": sum(terms.values()), "terms": terms, "weights": weights,
                "lr": 3.5e-4 * min(1, (epoch + 1) / 5) * (0.1 if epoch > 12 else 1), "grad_norm": 3.0,
                "images_per_second": 210.0, "seconds": 5.0,
            }
        )  # fmt: skip
    return entries


def build(root: Path, seeds: Sequence[int] = (0,), *, kind: str = "synthetic", broken: Sequence[int] = ()) -> Store:
    """Write a whole study; positions in ``broken`` get a failed training instead of results."""
    store = Store(root)
    runs: list[PlannedRun] = []
    levels = [{name: FACTORS[name][int(i > n)] for n, name in enumerate(FACTORS)} for i in range(5)]
    cells = [Cell(name=f"c{i}", label=LABELS[i], factors=levels[i], baseline=i == 0) for i in range(5)]
    for position, cell in enumerate(cells):
        artefact = run_id(["graph", min(position, 1)])
        cost_id = run_id(["cost", cell.name])
        for seed in seeds:
            rng = np.random.default_rng([position, seed])
            common = {
                "data_kind": kind, "environment": environment(), "started": "2026-01-01T10:00:00+00:00",
                "ended": "2026-01-01T10:02:00+00:00",
                "components": {"model": ComponentStamp(name="idkl", version="1", digest="a" * 12)},
            }  # fmt: skip
            fit = run_id(["fit", cell.name, seed])
            evaluations = [run_id(["evaluation", cell.name, seed, r["name"]]) for r in (PLAIN, ZHONG)]
            runs.append(
                PlannedRun(cell=cell.name, seed=seed, overrides=[], fit=fit, evaluations=evaluations, cost=cost_id)
            )
            data = {"name": "sysu-synthetic", "specification": {"synthetic": {"ids": 100, "renderer_version": "1.0"}},
                    "fingerprint": "f" * 64, "images": 4000, "identities": 100}  # fmt: skip
            failed = position in broken
            store.put(
                FitRecord(
                    id=fit, status="failed" if failed else "ok", config={}, seed=seed, data=data, **common,
                    reason="loss term 'triplet' became NaN at epoch 3, step 41" if failed else None,
                    curves=curves(rng, adaptive=position == 4), seconds=float(rng.normal(95, 2)),
                    step_seconds=list(rng.normal(0.11, 0.005, 60)), peak_memory_bytes=int(1.9e9),
                )
            )  # fmt: skip
            if failed:
                continue
            for evaluation, reranking in zip(evaluations, (PLAIN, ZHONG), strict=True):
                lift = 0.0 if reranking is PLAIN else 0.06
                ap = np.clip(rng.normal(MAP[position] + lift, 0.15, 200), 0, 1)
                shift = float(rng.normal(0, 0.006))
                m = MAP[position] + lift + shift
                values = {"r1": m + 0.02, "r5": m + 0.2, "r10": m + 0.34, "r20": m + 0.47, "mAP": m, "mINP": m - 0.09}
                file = f"{fit}/{evaluation}.parquet"
                buffer = io.BytesIO()
                pd.DataFrame({"query": range(200), "ap": ap}).to_parquet(buffer)
                write_atomically(store.runs / file, buffer.getvalue())
                store.put(
                    EvaluationRecord(
                        id=evaluation, status="ok", fit=fit, protocol=card(reranking), metrics=values,
                        metric_units=UNITS, per_query_file=file, per_query_digest=file_digest(store.runs / file),
                        fingerprint="e" * 64, **common,
                    )
                )  # fmt: skip
            store.put(
                CostRecord(
                    id=cost_id, status="ok", model={"name": "idkl"}, num_classes=100, artefact=artefact,
                    resolution=(96, 48), **common, macs=0.61e9 * (1.02 if position else 1),
                    parameters={"deployed": 11_200_000 + 4000 * (position > 0), "training_only": 9_300_000, "dead": 0},
                    counters=[
                        {"name": "fvcore", "macs": 0.610e9, "convention": "1 MAC", "uncounted": {"aten::exp": 2}},
                        {"name": "thop", "macs": 0.6e9, "convention": "1 MAC", "uncounted": ["GeM"]},
                        {"name": "torch", "macs": 0.66e9, "convention": "FLOPs ÷ 2", "uncounted": {}},
                    ],
                    disagreement=0.1 if position > 2 else 0.016, size_bytes=44_800_000,
                )
            )  # fmt: skip
            for batch, seconds in ((1, 0.0111), (32, 0.21)):
                samples = seconds * (1.07 if position else 1) * np.random.default_rng(batch).gamma(400, 1 / 400, 100)
                store.put(
                    LatencyRecord(
                        id=run_id(["latency", artefact, batch]), status="ok", artefact=artefact,
                        runtime={"name": "eager", "precision": "fp32", "channels_last": False, "version": "1"},
                        precision="fp32", batch=batch, resolution=(96, 48), threads=2, warmup=10,
                        seconds=[float(s) for s in samples], **common,
                    )
                )  # fmt: skip
    plan = Plan(
        name="quick", title="IDKL, toggle by toggle", design="cumulative", factors=FACTORS, seeds=list(seeds),
        description="Each configuration adds one toggle to the one before.", cells=cells, runs=runs, study={},
    )  # fmt: skip
    write_atomically(store.study("quick") / "plan.json", json.dumps(plan.model_dump(mode="json")))
    return store


def add_panel(store: Store, fit: str, queries: int = 4) -> None:
    """Images and the index file as ``vireid explain`` writes them."""
    folder = store.directory(fit) / "explain"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(7)

    def image(name: str, *, grey: bool) -> str:
        pixels = rng.integers(40, 216, (6, 3, 1 if grey else 3), dtype=np.uint8).repeat(3 if grey else 1, axis=2)
        Image.fromarray(pixels).resize((48, 96), Image.Resampling.BICUBIC).save(folder / name)
        return name

    listed = []
    for q in range(queries):
        ranked = [
            {"image": image(f"q{q}_r{r}.jpg", grey=False), "identity": 10 + q if (q + r) % 3 == 0 else 50 + r,
             "camera": 1 + r % 2, "correct": (q + r) % 3 == 0}
            for r in range(10)
        ]  # fmt: skip
        listed.append({"image": image(f"q{q}.jpg", grey=True), "identity": 10 + q, "camera": 3, "ranked": ranked})
    (folder / "retrieval.json").write_text(json.dumps({"protocol": card(PLAIN), "queries": listed}))
