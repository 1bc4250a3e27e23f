"""Ranked lists with pictures beside a run: the material of a report's retrieval panel."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from vireid.config import ExperimentConfig
from vireid.core.seeding import generator
from vireid.core.types import ImageIndex
from vireid.data.images import read_image
from vireid.experiment.data import prepare
from vireid.experiment.evaluate import finished_fit, top_of_first_protocol
from vireid.experiment.progress import ProgressCallback, silent
from vireid.store import Store, unwritable, write_atomically

QUERIES = 6
PICTURE_HEIGHT = 128


def explain_step(config: ExperimentConfig, store: Store, progress: ProgressCallback = silent) -> Path:
    """Write ``explain/retrieval.json`` and its pictures beside a fit; returns the folder.

    The queries are drawn at random (by the run's id), half of them among those whose best match is right and half
    among those where it is wrong, so that the panel flatters nobody.
    """
    fit = finished_fit(config, store)
    data = prepare(config, store, progress)
    result = top_of_first_protocol(config, store, data, progress)
    folder = store.directory(fit.id) / "explain"
    rows = {path: row for row, path in enumerate(data.evaluation.paths)}
    panel = []
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for number, query in enumerate(_choose(result.top, fit.id)):
            ranked = result.top[result.top["query"] == query].sort_values("rank")
            entry = _picture(data.evaluation, rows[query], folder / f"query{number}.jpg")
            entry["ranked"] = [
                _picture(data.evaluation, rows[str(path)], folder / f"query{number}-rank{rank}.jpg")
                | {"correct": bool(correct)}
                for rank, path, correct in ranked[["rank", "gallery", "correct"]].to_numpy()
            ]
            panel.append(entry)
    except OSError as error:
        raise unwritable(folder, error) from error
    content = {"protocol": result.card, "queries": panel}
    write_atomically(folder / "retrieval.json", json.dumps(content, indent=1))
    return folder


def _choose(top: pd.DataFrame, key: str) -> list[str]:
    first = top[top["rank"] == 1]
    draw = generator(key, "retrieval panel")
    chosen: list[str] = []
    for right in (True, False):
        candidates = np.sort(first.loc[first["correct"] == right, "query"].to_numpy(dtype=str))
        chosen += draw.permutation(candidates)[: QUERIES // 2].tolist()
    return chosen


def _picture(index: ImageIndex, row: int, file: Path) -> dict[str, object]:
    image = read_image(index.root, index.paths[row])
    image.thumbnail((PICTURE_HEIGHT, PICTURE_HEIGHT))
    image.save(file, quality=90)
    return {"image": file.name, "identity": int(index.identity[row]), "camera": int(index.camera[row])}
