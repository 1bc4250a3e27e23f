"""The numbers of a run's page against loops."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.evaluation.conftest import make_index
from vireid.core.types import Modality
from vireid.evaluation.evaluate import evaluate
from vireid.evaluation.protocols import ProtocolConfig
from vireid.evaluation.trials import plan_trials
from vireid.explain import data as explain_data
from vireid.explain.data import ALL

CONFIG = ProtocolConfig(name="sysu/seeded", trials=3)


@pytest.fixture(scope="module")
def seen():
    index = make_index()
    random = np.random.default_rng(0)
    centres = random.normal(size=(30, 5))
    features = (centres[index.identity] + 1.5 * random.normal(size=(len(index), 5))).astype(np.float32)
    result = evaluate(features, index, CONFIG)
    return index, features, result, plan_trials(CONFIG, index)[0]


def test_people_come_hardest_first_with_their_own_means(seen):
    _, _, result, _ = seen
    table = explain_data.identity_table(result.per_query)
    assert table["mAP"].is_monotonic_increasing
    for row in table.itertuples():
        own = result.per_query[(result.per_query["identity"] == row.identity) & result.per_query["valid"]]
        assert row.queries == own["query"].nunique()
        assert row.mAP == pytest.approx(own["ap"].mean())
        assert row.r1 == pytest.approx((own["first_hit_rank"] == 1).mean())
    weights = table["queries"]
    assert np.average(table["mAP"], weights=weights) == pytest.approx(result.metrics["mAP"])


def test_cameras_are_searched_one_by_one(seen):
    index, features, result, trial = seen
    table = explain_data.camera_table(features, index, trial, CONFIG, result.per_query)
    assert set(table["query_camera"]) == {3, 6}
    assert not ((table["query_camera"] == 3) & (table["gallery_camera"] == "2")).any()  # the rule leaves nothing
    assert set(table["gallery_camera"]) == {ALL, "1", "2", "4", "5"}
    whole = table[table["gallery_camera"] == ALL].set_index("query_camera")
    for camera, part in result.per_query[result.per_query["valid"]].groupby("camera"):
        assert whole.loc[camera, "mAP"] == pytest.approx(part["ap"].mean())
    row = table[(table["query_camera"] == 6) & (table["gallery_camera"] == "4")].iloc[0]
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    hits = []
    for query in trial.query[index.camera[trial.query] == 6]:
        gallery = trial.gallery[index.camera[trial.gallery] == 4]
        if index.identity[query] in index.identity[gallery]:
            best = gallery[np.argmax(unit[gallery] @ unit[query])]
            hits.append(index.identity[best] == index.identity[query])
    assert row.r1 == pytest.approx(np.mean(hits))
    assert row.queries == len(hits)


def test_hardest_queries_spread_over_people(seen):
    _, _, result, _ = seen
    hardest = explain_data.hardest_queries(result.per_query, 5, 2)
    assert len(hardest) == 5
    assert hardest["ap"].is_monotonic_increasing
    assert hardest["identity"].value_counts().max() <= 2
    first = result.per_query[(result.per_query["trial"] == 0) & result.per_query["valid"]]
    assert hardest["ap"].iloc[0] == first["ap"].min()


def test_the_best_true_match_and_its_rank(seen):
    index, features, result, trial = seen
    by_path = {path: row for row, path in enumerate(index.paths)}
    rows = [by_path[path] for path in explain_data.hardest_queries(result.per_query, 6, 2)["query"]]
    unit = features.astype(float) / np.linalg.norm(features, axis=1, keepdims=True)
    found = explain_data.best_matches(features, index, trial, CONFIG, rows)
    for query, (match, rank) in found.items():
        left = [g for g in trial.gallery if not (index.camera[query] == 3 and index.camera[g] == 2)]
        order = sorted(left, key=lambda g: -float(unit[g] @ unit[query]))
        place = next(n for n, g in enumerate(order) if index.identity[g] == index.identity[query])
        assert (match, rank) == (order[place], place + 1)


def test_similarities_count_every_pair_once(seen):
    index, features, _, _ = seen
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    found = explain_data.similarities(features, index, "key")
    for name, (first, second) in explain_data.PAIRS.items():
        values = {"same": [], "different": [], "same_camera": []}
        for a in np.flatnonzero(index.modality == first):
            for b in np.flatnonzero(index.modality == second):
                if first == second and a >= b:
                    continue
                near = first == second and index.camera[a] == index.camera[b]
                same = index.identity[a] == index.identity[b]
                kind = ("same_camera" if near else "same") if same else "different"
                values[kind].append(float(unit[a] @ unit[b]))
        pairs = found[name]
        for kind, wanted in values.items():
            assert getattr(pairs, kind).sum() == len(wanted)
            if wanted:
                assert pairs.mean(getattr(pairs, kind)) == pytest.approx(np.mean(wanted), abs=0.006)
        wanted = np.mean([s > np.array(values["different"]) for s in values["same"]])
        assert pairs.separation == pytest.approx(wanted, abs=0.01)


def test_one_camera_per_modality_leaves_no_near_copies_out(seen):
    index, features, _, _ = seen
    single = replace(index, camera=np.where(index.modality == Modality.VISIBLE, 1, 2).astype(np.int64))
    found = explain_data.similarities(features, single, "key")
    assert all(pairs.same_camera.sum() == 0 and pairs.same.sum() > 0 for pairs in found.values())


def test_many_images_are_drawn_by_key(seen, monkeypatch):
    index, features, _, _ = seen
    monkeypatch.setattr(explain_data, "MAX_IMAGES", 10)
    one, again, other = (explain_data.similarities(features, index, key) for key in ("a", "a", "b"))
    name = "infrared with visible"
    assert one[name].same.sum() + one[name].different.sum() == 100
    assert (one[name].different == again[name].different).all()
    assert (one[name].different != other[name].different).any()


def test_a_table_without_misses_has_a_page_too():
    table = pd.DataFrame(
        {"trial": 0, "query": ["a", "b"], "identity": [1, 1], "ap": 1.0, "inp": 1.0, "first_hit_rank": 1, "valid": True}
    )
    assert explain_data.identity_table(table)["mAP"].tolist() == [1.0]
