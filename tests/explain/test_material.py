"""What ``vireid explain`` writes beside runs for the report on them, and that report."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.tiny import tiny
from vireid import training
from vireid.core.errors import UserError
from vireid.experiment.context import RunContext
from vireid.experiment.fit import build_model, evaluate_step, fit_step
from vireid.explain.material import PAIRS, start_rows
from vireid.explain.pair import write_pair
from vireid.explain.seen import look
from vireid.explain.step import explain_seen
from vireid.report.page import open_report
from vireid.report.records import explained
from vireid.report.records.explained import changes_by_query, pair_file
from vireid.store import Store

PARTS = ("map.csv", "similarities_start.csv", "queries.json", "heat.json", "explain.json")


@pytest.fixture(scope="module")
def pair(tmp_path_factory, rendered):
    """Two fits on the same people, one with attention that is deployed, looked into and set against each other."""
    store = Store(tmp_path_factory.mktemp("store"))
    seen = []
    for overrides in (("model.mha=none",), ("model.mha=refine",)):
        run = RunContext(tiny(f"data.root={rendered}", *overrides), store)
        fit_step(run)
        evaluate_step(run)
        seen.append(look(run))
        explain_seen(seen[-1])
    write_pair(*seen)
    return store, seen


def test_every_part_is_there_and_says_how_it_was_made(pair) -> None:
    _, seen = pair
    for one in seen:
        assert [name for name in PARTS if not (one.folder / name).is_file()] == []
        settings = json.loads((one.folder / "explain.json").read_text())
        assert settings["map"]["seed"] == 0
        assert 0 < settings["map"]["perplexity"] <= 30
        assert settings["start"]["weights"] == "random weights"
    places = [pd.read_csv(one.folder / "map.csv") for one in seen]
    assert list(places[0]["image"]) == list(places[1]["image"])  # the same people and images in both maps
    assert not np.allclose(places[0][["x", "y"]], places[1][["x", "y"]])


def test_similarities_before_training_are_those_of_the_initial_weights(pair) -> None:
    _, (one, _) = pair
    from vireid.evaluation.extraction import extract
    from vireid.experiment.data import evaluation_loader

    table = pd.read_csv(one.folder / "similarities_start.csv")
    across = table[table["pairs"] == "infrared with visible"]
    rows = start_rows(one.index)
    for weights, features in (
        ("start", extract(build_model(one.run.config, 6), evaluation_loader(one.run))[rows]),
        ("trained", one.features[rows]),
    ):
        unit = features / np.linalg.norm(features, axis=1, keepdims=True)
        index = one.index.select(rows)
        same = [
            float(unit[i] @ unit[v])
            for i in np.flatnonzero(index.modality == 1)
            for v in np.flatnonzero(index.modality == 0)
            if index.identity[i] == index.identity[v]
        ]
        counts = across[across["weights"] == weights]
        assert counts["same_person"].sum() == len(same)
        mean = np.average((counts["from"] + counts["to"]) / 2, weights=counts["same_person"])
        assert mean == pytest.approx(np.mean(same), abs=0.01)  # a bin is 0.01 wide


def test_heat_maps_are_of_the_same_queries_and_their_best_true_matches(pair) -> None:
    pytest.importorskip("pytorch_grad_cam", reason="needs the extra 'explain'")
    _, seen = pair
    contents = [json.loads((one.folder / "heat.json").read_text()) for one in seen]
    queries = [[pair["query"]["identity"] for pair in content["pairs"]] for content in contents]
    assert queries[0] == queries[1]
    assert 0 < len(queries[0]) <= PAIRS
    assert len(set(queries[0])) == len(queries[0])  # of different people
    assert [found["module"] for found in contents[0]["attention"]] == []
    assert [found["module"] for found in contents[1]["attention"]] == ["embedder.refine"]
    for one, content in zip(seen, contents, strict=True):
        assert set(content["grad_cam"]["layers"].values()) <= {"branch", "refine"}
        for shown in content["pairs"]:
            assert shown["query"]["identity"] == shown["match"]["identity"]
            assert shown["hidden"]["query"]["whole"] == pytest.approx(shown["similarity"], abs=1e-4)
            files = [*shown["grad_cam"].values(), *shown.get("attention", {}).get("embedder.refine", {}).values()]
            for file in files:
                with Image.open(one.folder / file) as picture:
                    assert picture.size == (32, 64)


def test_changed_queries_are_those_of_the_records(pair) -> None:
    _, (before, after) = pair
    content = json.loads((after.folder / pair_file(before.fit.id)).read_text())
    changes = {}
    tables = [one.result.per_query[one.result.per_query["valid"]] for one in (before, after)]
    for query in set(tables[0]["query"]):
        first, second = (table.loc[table["query"] == query, "ap"].mean() for table in tables)
        changes[query] = second - first
    improved = [entry["query"] for entry in content["improved"]]
    worsened = [entry["query"] for entry in content["worsened"]]
    assert improved or worsened
    if improved:
        assert changes[improved[0]] == pytest.approx(max(changes.values()))
    if worsened:
        assert changes[worsened[0]] == pytest.approx(min(changes.values()))
    assert all(changes[query] > 0 for query in improved)
    assert all(changes[query] < 0 for query in worsened)
    for entry in content["improved"] + content["worsened"]:
        for side, seen in (("before", before), ("after", after)):
            top = seen.result.top[seen.result.top["query"] == entry["query"]].sort_values("rank")
            assert [hit["correct"] for hit in entry[side]["ranked"]] == top["correct"].tolist()


def test_runs_on_other_queries_are_not_set_against_each_other(pair) -> None:
    _, (before, after) = pair
    other = after.result.per_query[after.result.per_query["query"] != after.result.per_query["query"].iloc[-1]]
    with pytest.raises(UserError, match="not asked the same queries"):
        changes_by_query(before.result.per_query, other)


def test_the_report_shows_all_of_it_without_a_study(pair, tmp_path) -> None:
    pytest.importorskip("pytorch_grad_cam", reason="needs the extra 'explain'")
    store, seen = pair
    report = open_report(store.root, "", tmp_path, runs=[one.fit.id[:8] for one in seen])
    head = report.section("runs")
    assert "not comparable with published results" in head
    assert 'class="warning"' not in head  # nothing is missing
    assert list(head.frame["mAP"]) == pytest.approx([one.result.metrics["mAP"] for one in seen])
    for name in ("changed_queries", "extreme_queries", "similarity_shift", "embedding_map", "heat_maps"):
        section = report.section(name)
        assert "<img" in section, name
        assert 'class="absent"' not in section, name
    assert "perplexity" in report.section("embedding_map")
    assert "similarity to the matched gallery image" in report.section("heat_maps")
    alone = open_report(store.root, "", tmp_path, runs=[seen[1].fit.id])
    assert "name two" in alone.section("changed_queries")
    shift = alone.section("similarity_shift").frame
    assert [name.rpartition(": ")[2] for name in shift["weights"]] == ["before training", "after training"]


@pytest.mark.parametrize(
    ("runs", "message"),
    [([], "name one"), (["0" * 12], "000000000000"), (["a", "b", "c"], "3 runs are given")],
)
def test_runs_that_cannot_be_shown_are_refused(pair, runs, message) -> None:
    store, _ = pair
    with pytest.raises(UserError, match=message):
        open_report(store.root, "", runs=runs)


def test_a_run_twice_is_refused(pair) -> None:
    store, (one, _) = pair
    with pytest.raises(UserError, match="given twice"):
        open_report(store.root, "", runs=[one.fit.id, one.fit.id])


def test_reports_look_for_weights_where_training_puts_them() -> None:
    assert explained.WEIGHTS == training.WEIGHTS
