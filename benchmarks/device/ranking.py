"""CMC, mAP and mINP of many features on the device beside the CPU: the same metrics, and the time of either."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import torch
from device.task import Row, Task, failed, float32_as, ok, out_of_time
from ranking.scale import clustered

from vireid.evaluation.features import rank_features
from vireid.evaluation.metrics import Labels

ITEMS, WIDTH = 50_000, 2048  # half of them queries, half gallery
REPEATS = 3
TOLERANCE = 1e-4  # of a metric: products differ in the last bits, and neighbours at equal distance change places


def measure(task: Task) -> Iterator[Row]:
    """The device first, then the CPU, each as often as the time allows."""
    items, width = (1_000, 64) if task.dry else (ITEMS, WIDTH)
    features, identity = clustered(items, width)
    labels = Labels(identity, np.ones_like(identity))
    query, gallery = features[::2].copy(), features[1::2].copy()
    del features
    found: dict[str, dict[str, float]] = {}
    took = 0.0
    for name, target in (("device", task.target), ("cpu", torch.device("cpu"))):
        if task.left < took:
            yield out_of_time(name, took, task.left)
            continue
        with float32_as("fp32"):
            sides = torch.from_numpy(query).to(target), torch.from_numpy(gallery).to(target)
            rank_features(sides[0][:64], sides[1][:640], labels[::2][:64], labels[1::2][:640])  # libraries loaded
            seconds: list[float] = []
            while len(seconds) < REPEATS and (not seconds or task.left > 2 * max(seconds)):
                started = time.perf_counter()
                ranked = rank_features(*sides, labels[::2], labels[1::2], cmc="plain")
                seconds.append(time.perf_counter() - started)
        took = max(seconds)
        found[name] = ranked.aggregate()
        yield ok(name, seconds=seconds, metrics=found[name], items=items, width=width, threads=torch.get_num_threads())
    if len(found) == 2:
        gap = max(abs(found["device"][metric] - value) for metric, value in found["cpu"].items())
        agreed = {"name": "device beside cpu", "largest_difference": gap, "tolerance": TOLERANCE}
        fault = failed("device beside cpu", f"metrics differ by {gap:.1e}")
        yield agreed | ({"status": "ok"} if gap <= TOLERANCE else fault)
