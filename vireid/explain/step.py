"""What a run sees: ranked lists, hardest queries, people, cameras and similarities, on a page beside the run.

``explain/retrieval.json`` and its pictures are the material of a report's retrieval panel; ``explain/index.html`` shows
everything. Pictures of people stay in the store, which is not committed.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vireid.config import ExperimentConfig
from vireid.core.protocol_card import ProtocolCard
from vireid.core.records import FitRecord
from vireid.core.seeding import generator
from vireid.core.types import FloatArray, ImageIndex
from vireid.data.images import read_image
from vireid.evaluation.evaluate import EvaluationResult
from vireid.evaluation.protocols import ProtocolConfig
from vireid.evaluation.test_time import ModelProtocol
from vireid.evaluation.trials import Trial
from vireid.experiment.context import RunContext
from vireid.experiment.data import trials_of
from vireid.experiment.fit import embeddings, evaluate_features
from vireid.experiment.identity import deployed_protocols
from vireid.explain import data, page
from vireid.report.copies import Copies
from vireid.report.html import join
from vireid.report.records.keys import as_sentence, data_label, data_note
from vireid.store import unwritable, write_atomically

QUERIES = 6
HARDEST = 12
HARDEST_OF_ONE = 2
PICTURES = "pictures"
PICTURE_HEIGHT = 192


@dataclass(frozen=True, slots=True)
class _Seen:
    """A fit with its features of the evaluation images and what its first protocol without text makes of them."""

    fit: FitRecord
    config: ProtocolConfig
    index: ImageIndex
    features: FloatArray
    trial: Trial
    result: EvaluationResult
    folder: Path

    def row(self, path: str) -> int:
        """Row of an image in the index."""
        return self.index.paths.index(path)


def explain_step(run: RunContext) -> Path:
    """Write the ``explain/`` folder of a fit, under its first protocol without text; returns the folder.

    The ranked lists show queries drawn at random (by the run's id), half of them among those whose best match is right
    and half among those where it is wrong, so that the panel flatters nobody.
    """
    fit, features = run.fit, embeddings(run)
    protocol = protocol_without_text(run.config)
    result, folder = evaluate_features(run, features, protocol), run.directory / "explain"
    seen = _Seen(fit, protocol, run.data.evaluation, features, trials_of(run, protocol)[0], result, folder)
    try:
        shutil.rmtree(folder, ignore_errors=True)
        (folder / PICTURES).mkdir(parents=True)
        panel = [_ranked(seen, query, f"query{number}") for number, query in enumerate(_choose(result.top, fit.id))]
        hardest = _hardest(seen)
    except OSError as error:
        raise unwritable(folder, error) from error
    _write_page(seen, panel, hardest)
    content = {"protocol": result.card, "queries": panel}
    write_atomically(folder / "retrieval.json", json.dumps(content, indent=1))
    return folder


def protocol_without_text(config: ExperimentConfig) -> ModelProtocol:
    """The first protocol of images alone, one pass each; where there is none, the first with all else left out."""
    protocols = config.evaluation.protocols
    left_out = {"text": "none", "captioner": None, "test_time": "none", "corruption": None}
    return next(iter(deployed_protocols(config)), protocols[0].model_copy(update=left_out))


def _choose(top: pd.DataFrame, key: str) -> list[str]:
    first = top[top["rank"] == 1]
    draw = generator(key, "retrieval panel")
    chosen: list[str] = []
    for right in (True, False):
        candidates = np.sort(first.loc[first["correct"] == right, "query"].to_numpy(dtype=str))
        chosen += draw.permutation(candidates)[: QUERIES // 2].tolist()
    return chosen


def _hardest(seen: _Seen) -> list[dict[str, Any]]:
    table = data.hardest_queries(seen.result.per_query, HARDEST, HARDEST_OF_ONE)
    rows = [seen.row(query) for query in table["query"]]
    matches = data.best_matches(seen.features, seen.index, seen.trial, seen.config, rows)
    entries = []
    for number, (query, ap, row) in enumerate(zip(table["query"], table["ap"], rows, strict=True)):
        name = f"hard{number}"
        match, rank = matches[row]
        truth = _picture(seen, match, f"{name}-match") | {"rank": rank}
        entries.append(_ranked(seen, query, name) | {"note": f"AP {100 * ap:.1f} %", "truth": truth})
    return entries


def _ranked(seen: _Seen, query: str, name: str) -> dict[str, Any]:
    """A query with its ranked list; pictures are ``<name>.jpg`` and ``<name>-rank<n>.jpg``."""
    ranked = seen.result.top[seen.result.top["query"] == query].sort_values("rank")
    entry = _picture(seen, seen.row(query), name)
    entry["ranked"] = [
        _picture(seen, seen.row(str(path)), f"{name}-rank{rank}") | {"correct": bool(correct)}
        for rank, path, correct in ranked[["rank", "gallery", "correct"]].to_numpy()
    ]
    return entry


def _picture(seen: _Seen, row: int, name: str) -> dict[str, Any]:
    image = read_image(seen.index.root, seen.index.paths[row])
    image.thumbnail((PICTURE_HEIGHT, PICTURE_HEIGHT))
    file = f"{PICTURES}/{name}.jpg"
    image.save(seen.folder / file, quality=90)
    return {"image": file, "identity": int(seen.index.identity[row]), "camera": int(seen.index.camera[row])}


def _write_page(seen: _Seen, panel: Sequence[dict[str, Any]], hardest: Sequence[dict[str, Any]]) -> None:
    result, folder = seen.result, seen.folder
    note = as_sentence(data_note(data_label(seen.fit)))
    people = data.identity_table(result.per_query)
    cameras = data.camera_table(seen.features, seen.index, seen.trial, seen.config, result.per_query)
    pairs = data.similarities(seen.features, seen.index, seen.fit.id)
    histograms = pd.concat(
        pd.DataFrame(
            {
                "pairs": name,
                "from": similar.edges[:-1],
                "to": similar.edges[1:],
                "same_person": similar.same,
                "different_people": similar.different,
                "same_person_and_camera": similar.same_camera,
            }
        )
        for name, similar in pairs.items()
    )
    for name, table in (("identities", people), ("cameras", cameras), ("similarities", histograms)):
        write_atomically(folder / f"{name}.csv", table.to_csv(index=False))
    valid = result.per_query[result.per_query["valid"]].sort_values(["ap", "query"], kind="stable")
    hardest_of = valid.drop_duplicates("identity")
    worst = dict(zip(hardest_of["identity"].tolist(), hardest_of["query"].tolist(), strict=True))
    label = ProtocolCard.model_validate(result.card).full_title
    copies = Copies(folder)
    bars = page.identity_bars(people, note, copies), page.camera_bars(cameras, note, copies)
    curves = page.similarity_histograms(pairs, note, copies)
    sections = [
        ("Result", page.outcome(result, label)),
        ("Ranked lists", join([page.method(_RANDOM), page.ranked_lists(panel)])),
        ("Hardest queries", join([page.method(_HARD), page.ranked_lists(hardest)])),
        ("People", join([bars[0], page.identity_rows(people, worst, "identities.csv")])),
        ("Cameras", join([bars[1], page.camera_rows(cameras, "cameras.csv")])),
        ("Similarities", join([curves, page.similarity_rows(pairs, "similarities.csv")])),
    ]
    title = f"Run {seen.fit.id}: {seen.fit.config['model']['name']}, seed {seen.fit.seed}"
    write_atomically(folder / "index.html", page.page(title, note.strip(), sections))


_RANDOM = (
    f"Queries drawn at random: {QUERIES // 2} of those whose best match is right (fewer where there are not so many), "
    f"{QUERIES // 2} of those where it is wrong. "
    "Green and ✓: same person; red and ✗: another."
)
_HARD = (
    f"The queries with the lowest average precision in the first trial, at most {HARDEST_OF_ONE} of one person. "
    "Dashed: the person's most similar gallery image and its place in the whole ranking, before any re-ranking."
)
