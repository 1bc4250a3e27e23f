"""What a run sees: ranked lists, hardest queries, people, cameras and similarities, on a page beside the run.

``explain/retrieval.json`` and its pictures are the material of a report's retrieval panel; ``explain/index.html`` shows
everything. Pictures of people stay in the store, which is not committed.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vireid.core.protocol_card import ProtocolCard
from vireid.core.seeding import generator
from vireid.experiment.context import RunContext
from vireid.explain import data, page
from vireid.explain.material import write_material
from vireid.explain.seen import PICTURES, Seen, look
from vireid.report.copies import Copies
from vireid.report.html import join
from vireid.report.records.keys import as_sentence, data_label, data_note
from vireid.store import unwritable, write_atomically

QUERIES = 6
HARDEST = 12
HARDEST_OF_ONE = 2


def explain_step(run: RunContext) -> Path:
    """Write the ``explain/`` folder of a fit, under its first protocol without text; returns the folder.

    The ranked lists show queries drawn at random (by the run's id), half of them among those whose best match is right
    and half among those where it is wrong, so that the panel flatters nobody.
    """
    return explain_seen(look(run))


def explain_seen(seen: Seen) -> Path:
    """The same of a fit that has been looked at."""
    folder = seen.folder
    try:
        shutil.rmtree(folder, ignore_errors=True)
        (folder / PICTURES).mkdir(parents=True)
        panel = seen.entries(_choose(seen.result.top, seen.fit.id), "query")
        hardest = _hardest(seen)
        write_material(seen, hardest)
    except OSError as error:
        raise unwritable(folder, error) from error
    _write_page(seen, panel, hardest)
    content = {"protocol": seen.result.card, "queries": panel}
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


def _hardest(seen: Seen) -> list[dict[str, Any]]:
    table = data.hardest_queries(seen.result.per_query, HARDEST, HARDEST_OF_ONE)
    rows = [seen.rows[query] for query in table["query"]]
    matches = data.best_matches(seen.features, seen.index, seen.trial, seen.config, rows)
    entries = seen.entries(list(table["query"]), "hard")
    for number, (entry, ap, row) in enumerate(zip(entries, table["ap"], rows, strict=True)):
        match, rank = matches[row]
        entry["note"] = f"AP {100 * ap:.1f} %"
        entry["truth"] = seen.picture(match, f"hard{number}-match") | {"rank": rank}
    return entries


def _write_page(seen: Seen, panel: Sequence[dict[str, Any]], hardest: Sequence[dict[str, Any]]) -> None:
    result, folder = seen.result, seen.folder
    note = as_sentence(data_note(data_label(seen.fit)))
    people = data.identity_table(result.per_query)
    cameras = data.camera_table(seen.features, seen.index, seen.trial, seen.config, result.per_query)
    pairs = data.similarities(seen.features, seen.index, seen.fit.id)
    histograms = data.histogram_table(pairs)
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
