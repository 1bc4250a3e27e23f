"""A synthetic store with models of two systems, files of several precisions, two machines, and untrained profiles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.report.studies import PLAIN, UNITS, Writer, card, common, environment
from vireid.core.identity import run_id
from vireid.core.plan import Cell, Plan, PlannedRun
from vireid.core.records import (
    CostRecord,
    EvaluatedFile,
    EvaluationRecord,
    FitRecord,
    GalleryRecord,
    LatencyRecord,
    MetricInterval,
    PairedDifference,
    SearchRecord,
)
from vireid.store import Store

SIZE = (96, 48)
EAGER = {"name": "eager", "precision": "fp32", "channels_last": False, "version": "1"}
ONNX = {"name": "onnxruntime", "optimisation": "all", "version": "1"}
BF16 = {"name": "openvino", "precision": "bf16", "version": "1"}
INT8 = {"name": "onnxruntime_int8", "precision": "int8", "quantiser": "nncf", "version": "1"}
HERE: dict[str, Any] = {"cpu": "Example CPU @ 2.6 GHz", "logical_cores": 2, "architecture": "x86_64", "isa": ["avx2"]}
BOARD: dict[str, Any] = {"cpu": "Example ARM board", "logical_cores": 4, "architecture": "aarch64", "isa": ["asimd"]}
PEAKS = {
    "gflops": {"value": 50.0, "unit": "GFLOP/s", "method": "oneDNN linear, 2048×2048, float32"},
    "bandwidth": {"value": 8.0, "unit": "GB/s", "method": "triad"},
}
# Model: configuration, MACs, bytes of weights, mAP of seed 1 and of seed 2.
MODELS: dict[str, tuple[dict[str, Any], float, int, tuple[float, float]]] = {
    "idkl": ({"name": "idkl", "backbone": "resnet50", "ibn": "none", "mha": "none"}, 400e6, 90_000_000, (0.30, 0.34)),
    "compact": ({"name": "compact", "backbone": "resnet18", "width": 0.5}, 50e6, 11_000_000, (0.26, 0.28)),
}


def graph(name: str) -> str:
    return run_id(["graph", name])


def fit_id(name: str, seed: int) -> str:
    return run_id(["fit", name, seed])


class Deployed(Writer):
    """Writes what reports on hardware read."""

    def model(self, name: str, seed: int) -> None:
        data = {"dataset": {"name": "sysu"}, "height": SIZE[0], "width": SIZE[1], "split": "test"}
        data["synthetic"] = {"seed": seed, "train_ids": 100, "renderer_version": "1.0"}
        teacher = {"teacher": {"run": "0" * 12}} if name == "compact" else {}
        self.store.put(
            FitRecord(
                id=fit_id(name, seed), status="ok", seed=seed,
                config={"kind": "fit", "seed": seed, "data": data, "model": {**MODELS[name][0], **teacher}},
                data={"name": "sysu-synthetic", "specification": data, "fingerprint": "f" * 64}, **common(),
            )
        )  # fmt: skip

    def score(
        self,
        name: str,
        seed: int,
        mean_ap: float,
        file: EvaluatedFile | None = None,
        half: float = 0.05,
        **changes: object,
    ) -> str:
        run = run_id(["evaluation", name, seed, changes, file and file.model_dump(mode="json")])
        self.store.put(
            EvaluationRecord(
                id=run, status="ok", fit=fit_id(name, seed), protocol=card(PLAIN, **changes), metric_units=UNITS,
                metrics={"mAP": mean_ap, "r1": mean_ap + 0.02}, artefact=file, fingerprint="e" * 64,
                intervals={"mAP": MetricInterval(low=mean_ap - half, high=mean_ap + half, level=0.95, resamples=9)},
                **common(),
            )
        )  # fmt: skip
        return run

    def price(self, model: dict[str, Any], artefact: str, macs: float, size: int, resolution: Any = SIZE) -> str:
        run = run_id(["cost", model, resolution])
        self.store.put(
            CostRecord(
                id=run, status="ok", model=model, num_classes=395, artefact=artefact, resolution=resolution, macs=macs,
                size_bytes=size, parameters={"deployed": size // 4, "training_only": 0, "dead": 0}, **common(),
            )
        )  # fmt: skip
        return run

    def time(
        self,
        artefact: str,
        seconds: Sequence[float],
        runtime: dict[str, Any] = EAGER,
        *,
        threads: int = 1,
        device: dict[str, Any] = HERE,
        **changes: Any,
    ) -> str:
        fields: dict[str, Any] = {
            "precision": runtime.get("precision", "fp32"), "batch": 1, "resolution": SIZE, "isolated": True, **changes,
        }  # fmt: skip
        run = run_id(["latency", artefact, list(seconds), runtime, threads, device, *map(str, changes.items())])
        where = environment(**device)
        self.store.put(
            LatencyRecord(
                id=run, status="ok", artefact=artefact, runtime=runtime, threads=threads, seconds=list(seconds),
                **{**common(), "environment": where, **fields},
            )
        )  # fmt: skip
        return run

    def gallery(
        self, name: str, seed: int, storage: str, mean_ap: float, row_bytes: float, split: str = "test", **changes: Any
    ) -> str:
        """A stored gallery of a fit, of 128 values; the interval is ± 0.02."""
        run = run_id(["gallery", name, seed, storage, split, *map(str, changes.items())])
        ends = {"mAP": MetricInterval(low=mean_ap - 0.02, high=mean_ap + 0.02, level=0.95, resamples=9)}
        self.store.put(
            GalleryRecord(
                id=run, status="ok", fit=fit_id(name, seed), protocol=card(PLAIN, split=split), storage=storage,
                features=128, row_bytes=row_bytes, scanned_bytes=row_bytes, intervals=ends, overlap10=0.9,
                metrics={"mAP": mean_ap, "r1": mean_ap + 0.02},
                differences={"mAP": PairedDifference(mean=-0.01, low=-0.02, high=0.0)}, **{**common(), **changes},
            )
        )  # fmt: skip
        return run

    def search(self, storage: str, rows: int, seconds: float, library: str = "numpy", **changes: Any) -> str:
        """Searches in galleries of 128 values on one core."""
        run = run_id(["search", storage, rows, library, seconds, *map(str, changes.items())])
        self.store.put(
            SearchRecord(
                id=run, status="ok", storage=storage, features=128, rows=rows, top=20, library=library,
                library_version="2", threads=1, seconds=[seconds] * 3, gallery_bytes=rows * 100,
                **{**common(), "environment": environment(**HERE), **changes},
            )
        )  # fmt: skip
        return run


def int8_file(name: str, **changes: Any) -> EvaluatedFile:
    fields: dict[str, Any] = {
        "graph": graph(name), "runtime": INT8, "precision": "int8", "resolution": SIZE, "digest": "d" * 64,
        "size_bytes": 3_000_000, "cosine": 0.9913, "overlap10": 0.87, "kernels": "avx2", "runtime_version": "1.32.0",
        "candidates": [{"ranges": "minmax", "mAP": 0.31}, {"ranges": "percentile", "mAP": 0.322}],
    }  # fmt: skip
    return EvaluatedFile(**{**fields, **changes})


def build_deployment(root: Path, seeds: Sequence[int] = (1, 2)) -> Store:
    """A study named ``hardware``; see the constants above. Latencies at one thread, in an isolated process:

    idkl eager 40 ms, onnxruntime 30 ms, int8 12 ms; compact eager 8 ms, onnxruntime 6 ms, bf16 5 ms, int8 3 ms.
    """
    write = Deployed(Store(root))
    cells = [Cell(name=name, label=name, factors={"system": name}, baseline=name == "idkl") for name in MODELS]
    runs = []
    for name, (model, macs, size, scores) in MODELS.items():
        cost = write.price(model, graph(name), macs, size)
        for seed, score in zip(seeds, scores, strict=False):
            write.model(name, seed)
            planned = [write.score(name, seed, score), write.score(name, seed, score + 0.1, mode="indoor")]
            runs.append(
                PlannedRun(
                    cell=name, seed=seed, overrides=[f"model={name}"], fit=fit_id(name, seed), evaluations=planned,
                    cost=cost,
                )
            )  # fmt: skip
    write.score("compact", 1, 0.25, int8_file("compact"))
    write.score("compact", 2, 0.27, int8_file("compact"))
    big, small = graph("idkl"), graph("compact")
    measured = {"size_bytes": 12_000_000, "rss_bytes": 700_000_000, "load_seconds": 0.4, "peaks": PEAKS}
    write.time(big, [0.04, 0.04, 0.05], **{**measured, "size_bytes": 91_000_000})
    write.time(big, [0.03, 0.03, 0.03], ONNX, **{**measured, "size_bytes": 90_000_000})
    write.time(big, [0.012] * 3, INT8)
    write.time(small, [0.008, 0.008, 0.009], **measured)
    write.time(small, [0.006] * 3, ONNX, **measured)
    write.time(small, [0.005] * 3, BF16)
    write.time(small, [0.003] * 3, INT8, size_bytes=3_000_000, peaks=PEAKS)
    write.time(small, [0.25] * 3, batch=32, **measured)
    for name, factor in (("idkl", 1.0), ("compact", 0.2)):
        write.time(graph(name), [0.022 * factor, 0.024 * factor], threads=2)
        write.time(graph(name), [0.3 * factor, 0.31 * factor], ONNX, device=BOARD, joules_per_image=0.8 * factor)
    settings = {
        "gallery": 10_000, "gallery_bytes": 20_480_000, "top": 20,
        "image": {"height": 288, "width": 144, "bytes": 9000},
    }  # fmt: skip
    write.time(
        small, [0.02, 0.02], stage_settings=settings,
        stages={
            "decode": [0.001] * 2, "preprocess": [0.002] * 2, "backbone": [0.008] * 2, "neck": [0.001] * 2,
            "search": [0.008] * 2,
        },
    )  # fmt: skip
    profiled(write)
    write.plan(
        Plan(
            name="hardware", title="Two systems on two machines", design="explicit", factors={"system": list(MODELS)},
            seeds=list(seeds), cells=cells, runs=runs, study={"report": "hardware", "base": ["data=sysu_quick"]},
        )
    )  # fmt: skip
    return write.store


def profiled(write: Deployed) -> None:
    """IDKL at full size, never trained: without toggles, with ibn=a, and with mha=refine."""
    model = {"name": "idkl", "backbone": "resnet50", "ibn": "none", "mha": "none", "heads": 2}
    for changes, factor, macs in (({}, 1.0, 6.0e9), ({"ibn": "a"}, 1.25, 6.06e9), ({"mha": "refine"}, 1.5, 6.3e9)):
        artefact = run_id(["full size", changes])
        write.price({**model, **changes}, artefact, macs, 94_000_000, (384, 144))
        for runtime, seconds in ((EAGER, 0.2), (ONNX, 0.16)):
            write.time(artefact, [seconds * factor] * 3, runtime, resolution=(384, 144), peaks=PEAKS)
