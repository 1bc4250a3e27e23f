"""Synthetic stores with plausible numbers, per-query tables and panel images: a cumulative study, and a 2⁴ one."""

from __future__ import annotations

import io
import itertools
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from vireid.core.environment import Environment
from vireid.core.files import file_digest
from vireid.core.identity import run_id
from vireid.core.plan import Cell, Plan, PlannedRun
from vireid.core.records import ComponentStamp, CostRecord, EvaluationRecord, FitRecord, LatencyRecord
from vireid.report.records.study import StudyView
from vireid.store import Store, write_atomically

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


def common(kind: str = "synthetic", accelerator: str = "cpu") -> dict[str, object]:
    return {
        "data_kind": kind, "environment": environment(accelerator), "started": "2026-01-01T10:00:00+00:00",
        "ended": "2026-01-01T10:02:00+00:00",
        "components": {"model": ComponentStamp(name="idkl", version="1", digest="a" * 12)},
    }  # fmt: skip


def per_query(
    rng: np.random.Generator, mean_ap: float, identities: int = 50, trials: int = 2, ids_from: int = 0
) -> pd.DataFrame:
    """Per-query rows as evaluations write them: four queries per identity and trial, people of unlike difficulty."""
    ease = np.random.default_rng(5).normal(0, 0.08, identities)  # the same people in every run
    rows = [
        (trial, f"cam3/{i:04d}/{q:04d}.jpg", ids_from + i, 3, float(np.clip(rng.normal(mean_ap + ease[i], 0.05), 0, 1)))
        for trial in range(trials)
        for i in range(identities)
        for q in range(4)
    ]
    table = pd.DataFrame(rows, columns=["trial", "query", "identity", "camera", "ap"])
    table["inp"] = 0.6 * table.ap
    table["first_hit_rank"] = np.where(rng.random(len(table)) < mean_ap + 0.02, 1, rng.integers(2, 30, len(table)))
    return table.assign(valid=True)


class Writer:
    """Puts one planned run's records into a store."""

    def __init__(self, store: Store, kind: str = "synthetic") -> None:
        self.store, self.kind = store, kind

    def fit(self, cell: str, seed: int, rng: np.random.Generator, reason: str | None = None, **changes: object) -> str:
        fit = run_id(["fit", cell, seed])
        data = {"name": "sysu-synthetic", "specification": {"synthetic": {"ids": 100, "renderer_version": "1.0"}},
                "fingerprint": "f" * 64, "images": 4000, "identities": 100}  # fmt: skip
        fields = {
            "config": {}, "curves": curves(rng, adaptive=False), "seconds": float(rng.normal(95, 2)),
            "step_seconds": list(rng.normal(0.11, 0.005, 60)), "peak_memory_bytes": int(1.9e9), **common(self.kind),
        }  # fmt: skip
        status = "ok" if reason is None else "failed"
        self.store.put(FitRecord(id=fit, status=status, seed=seed, data=data, reason=reason, **{**fields, **changes}))
        return fit

    def evaluation(
        self,
        cell: str,
        seed: int,
        reranking: dict[str, object],
        mean_ap: float,
        queries: pd.DataFrame,
        counts: dict[str, int] | None = None,
        r1: float | None = None,
    ) -> str:
        fit = run_id(["fit", cell, seed])
        evaluation = run_id(["evaluation", cell, seed, reranking["name"]])
        m = mean_ap
        values = {
            "r1": m + 0.02 if r1 is None else r1,
            "r5": m + 0.2,
            "r10": m + 0.34,
            "r20": m + 0.47,
            "mAP": m,
            "mINP": 0.6 * m,
        }
        file = f"{fit}/per_query-{evaluation}.parquet"
        buffer = io.BytesIO()
        queries.to_parquet(buffer)
        write_atomically(self.store.runs / file, buffer.getvalue())
        self.store.put(
            EvaluationRecord(
                id=evaluation, status="ok", fit=fit, protocol=card(reranking, **(counts or {})), metrics=values,
                metric_units=UNITS, per_query_file=file, per_query_digest=file_digest(self.store.runs / file),
                fingerprint="e" * 64, **common(self.kind),
            )
        )  # fmt: skip
        return evaluation

    def cost(self, cell: str, artefact: str, macs: float, *, disagreement: float = 0.016, **parameters: int) -> str:
        cost = run_id(["cost", cell])
        self.store.put(
            CostRecord(
                id=cost, status="ok", model={"name": "idkl"}, num_classes=100, artefact=artefact,
                resolution=(96, 48), **common(self.kind), macs=macs,
                parameters={"deployed": 11_200_000, "training_only": 9_300_000, "dead": 0, **parameters},
                counters=[
                    {"name": "fvcore", "macs": macs, "convention": "1 MAC", "uncounted": {"aten::exp": 2}},
                    {"name": "thop", "macs": 0.98 * macs, "convention": "1 MAC", "uncounted": ["GeM"]},
                    {"name": "torch", "macs": 1.08 * macs, "convention": "FLOPs ÷ 2", "uncounted": {}},
                ],
                disagreement=disagreement, size_bytes=44_800_000,
            )
        )  # fmt: skip
        return cost

    def latency(self, artefact: str, factor: float) -> None:
        for batch, seconds in ((1, 0.0111), (32, 0.21)):
            samples = seconds * factor * np.random.default_rng(batch).gamma(400, 1 / 400, 100)
            self.store.put(
                LatencyRecord(
                    id=run_id(["latency", artefact, batch]), status="ok", artefact=artefact,
                    runtime={"name": "eager", "precision": "fp32", "channels_last": False, "version": "1"},
                    precision="fp32", batch=batch, resolution=(96, 48), threads=2, warmup=10,
                    seconds=[float(s) for s in samples], **common(self.kind),
                )
            )  # fmt: skip

    def plan(self, plan: Plan) -> None:
        write_atomically(self.store.study(plan.name) / "plan.json", json.dumps(plan.model_dump(mode="json")))


def build(root: Path, seeds: Sequence[int] = (0,), *, kind: str = "synthetic", broken: Sequence[int] = ()) -> Store:
    """Write a cumulative study; positions in ``broken`` get a failed training instead of results."""
    store = Store(root)
    write = Writer(store, kind)
    runs: list[PlannedRun] = []
    levels = [{name: FACTORS[name][int(i > n)] for n, name in enumerate(FACTORS)} for i in range(5)]
    cells = [Cell(name=f"c{i}", label=LABELS[i], factors=levels[i], baseline=i == 0) for i in range(5)]
    for position, cell in enumerate(cells):
        artefact = run_id(["graph", min(position, 1)])
        write.latency(artefact, 1.07 if position else 1)
        macs = 0.61e9 * (1.02 if position else 1)
        cost = write.cost(
            cell.name,
            artefact,
            macs,
            disagreement=0.1 if position > 2 else 0.016,
            deployed=11_200_000 + 4000 * position,
        )
        for seed in seeds:
            rng = np.random.default_rng([position, seed])
            reason = "loss term 'triplet' became NaN at epoch 3, step 41" if position in broken else None
            fit = write.fit(cell.name, seed, rng, reason, curves=curves(rng, adaptive=position == 4))
            evaluations = [run_id(["evaluation", cell.name, seed, r["name"]]) for r in (PLAIN, ZHONG)]
            runs.append(
                PlannedRun(cell=cell.name, seed=seed, overrides=[], fit=fit, evaluations=evaluations, cost=cost)
            )
            for reranking in () if reason else (PLAIN, ZHONG):
                m = MAP[position] + (0.0 if reranking is PLAIN else 0.06) + float(rng.normal(0, 0.006))
                write.evaluation(cell.name, seed, reranking, m, per_query(rng, m))
    write.plan(
        Plan(
            name="quick", title="IDKL, toggle by toggle", design="cumulative", factors=FACTORS, seeds=list(seeds),
            description="Each configuration adds one toggle to the one before.", cells=cells, runs=runs, study={},
        )
    )  # fmt: skip
    return store


# True effects of the factorial study, in mAP: what its report should find again.
MAIN = {"ibn": 0.021, "mha": 0.001, "augmentation": 0.07, "weighting": -0.012}
SYNERGY = 0.024  # of IBN and augmentation
NOISE, BLOCK = 0.006, 0.02  # standard deviations of a fit and of a seed
STUDY_LABELS = {"ibn": "IBN", "mha": "MHA", "augmentation": "augmentation", "weighting": "adaptive weighting"}
CONTROL = "shuffled identities"


def factorial_cells() -> list[Cell]:
    """2⁴ cells with a placebo on the parity of the others, and a control."""
    cells = []
    for chosen in itertools.product((0, 1), repeat=4):
        levels = {name: FACTORS[name][on] for name, on in zip(FACTORS, chosen, strict=True)}
        labels = [STUDY_LABELS[name] for name, on in zip(FACTORS, chosen, strict=True) if on]
        cells.append(
            Cell(
                name="".join(map(str, chosen)), label="+ " + " + ".join(labels) if labels else "baseline",
                factors={**levels, "placebo": ("off", "on")[sum(chosen) % 2]}, baseline=not any(chosen),
            )
        )  # fmt: skip
    return [*cells, Cell(name="shuffled", label=f"control: {CONTROL}", factors=cells[0].factors, control=CONTROL)]


def build_factorial(
    root: Path,
    seeds: Sequence[int] = (101, 102, 103),
    *,
    missing: Sequence[tuple[str, int]] = (),
    dev: bool = False,
    rerankings: Sequence[dict[str, object]] = (PLAIN,),
    pixels: float | None = None,
) -> Store:
    """Write a 2⁴ study named ``factorial``; ``missing`` (cell, seed) failed; ``dev`` adds scores of every epoch.

    With ``pixels``, a second control learns nothing and scores that much above chance, the first a little less.
    """
    store = Store(root)
    write = Writer(store)
    runs: list[PlannedRun] = []
    cells = factorial_cells()
    if pixels is not None:
        cells.append(Cell(name="still", label="control: no learning", factors=cells[0].factors, control="no learning"))
    blocks = {seed: float(np.random.default_rng([seed, 7]).normal(0, BLOCK)) for seed in seeds}
    for position, cell in enumerate(cells):
        on = {name: float(cell.factors[name] != FACTORS[name][0]) for name in FACTORS}
        artefact = run_id(["graph", on["ibn"]])
        write.latency(artefact, 1 + 0.08 * on["ibn"])
        cost = write.cost(cell.name, artefact, 0.0482e9 * (1 + 0.013 * on["ibn"]))
        for seed in seeds:
            rng = np.random.default_rng([position, seed, 2])
            reason = "killed for lack of memory" if (cell.name, seed) in missing else None
            truth = 0.25 + blocks[seed] + sum(MAIN[name] * on[name] for name in FACTORS)
            truth += SYNERGY * (on["ibn"] - 0.5) * (on["augmentation"] - 0.5)
            history = curves(rng, adaptive=bool(on["weighting"]))
            for entry in history if dev else ():
                score = truth * (1 - np.exp(-(int(entry["epoch"]) + 1) / 5)) + rng.normal(0, 0.01)
                entry["dev"] = {"mAP": float(score), "r1": float(score) + 0.02}
            fit = write.fit(
                cell.name, seed, rng, reason, curves=history,
                config={"weighting": {"name": cell.factors["weighting"]}},
                step_seconds=list(rng.normal(0.11 * (1 + 0.2 * on["mha"]), 0.005, 40)),
                peak_memory_bytes=int(0.9e9 * (1 + 0.3 * on["mha"])),
            )  # fmt: skip
            evaluations = [run_id(["evaluation", cell.name, seed, r["name"]]) for r in rerankings]
            runs.append(
                PlannedRun(cell=cell.name, seed=seed, overrides=[], fit=fit, evaluations=evaluations, cost=cost)
            )
            for reranking in () if reason else rerankings:
                m = truth + (0.0 if reranking is PLAIN else 0.06) + float(rng.normal(0, NOISE))
                r1 = None
                if cell.control is not None:  # at chance: 50 identities, 200 gallery images
                    above = (pixels or 0.0) + 0.004 * (cell.name == "still")
                    m, r1 = (level + above + float(rng.normal(0, 0.002)) for level in (0.0445, 0.02))
                counts = {"gallery": 200 + seed % 3, "queries": 200, "valid_queries": 200}
                write.evaluation(cell.name, seed, reranking, m, per_query(rng, m), counts, r1)
    write.plan(
        Plan(
            name="factorial", title="What each optimisation of IDKL is worth", design="full_factorial",
            factors={**FACTORS, "placebo": ["off", "on"]}, placebo=["placebo"], seeds=list(seeds), cells=cells,
            runs=runs, study={"labels": STUDY_LABELS}, untrained=None if pixels is None else "no learning",
        )
    )  # fmt: skip
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


def with_plan(store: Store, name: str = "factorial", **changes: object) -> StudyView:
    """The study with another plan over the same records, in a store of its own."""
    plan = StudyView(store, name).plan
    changed = plan.model_copy(update={"name": "changed", **changes})
    other = Store(Path(tempfile.mkdtemp(dir=store.root.parent)))
    other.runs.symlink_to(store.runs)
    write_atomically(other.study("changed") / "plan.json", changed.model_dump_json())
    return StudyView(other, "changed")
