"""Galleries of both modalities, and both directions, against loops that share nothing with the suite but the files."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from vireid.config import EvaluationConfig
from vireid.core.config import deciding, parse
from vireid.core.errors import UserError
from vireid.core.protocol_card import ProtocolCard
from vireid.core.types import Modality
from vireid.evaluation.evaluate import evaluate
from vireid.evaluation.protocols import PROTOCOLS, ProtocolConfig, card, each_of_both
from vireid.evaluation.test_time import ModelProtocol
from vireid.evaluation.trials import plan_trials
from vireid.experiment.identity import RunIds
from vireid.overrides import compose

from .conftest import ABSENT, IDENTITIES

SENSORS = {Modality.VISIBLE: (1, 2, 4, 5), Modality.INFRARED: (3, 6)}
LETTERS = {"i": [Modality.INFRARED], "t": [Modality.INFRARED], "v": [Modality.VISIBLE], "m": list(Modality)}


@pytest.fixture
def features(index):
    rng = np.random.default_rng(2)
    centre = rng.normal(size=(400, 8))
    apart = 0.7 * rng.normal(size=(2, 8))  # modalities lie apart, so that a query's own comes first
    return centre[index.identity] + apart[index.modality] + 1.3 * rng.normal(size=(len(index), 8))


def two_sensors(index):
    """Cameras that see both modalities, as LLCM's do."""
    return replace(index, camera=np.array([{3: 1, 6: 4}.get(c, c) for c in index.camera.tolist()]))


def drawn(dataset, index, permutations, modality, trial):
    """Paths of one modality's gallery images, in order."""
    rows = [row for row in range(len(index)) if index.modality[row] == modality]
    if dataset == "regdb":
        return [
            index.paths[r] for r in sorted(rows, key=lambda r: (index.identity[r], index.camera[r], index.paths[r]))
        ]
    if dataset == "sysu":
        return [
            f"cam{camera}/{identity:04d}/{permutations[camera, identity][trial][0]:04d}.jpg"
            for identity in IDENTITIES
            for camera in SENSORS[modality]
            if (camera, identity) not in ABSENT
        ]
    generator, chosen = random.Random(trial), []
    for identity in IDENTITIES:
        for camera in range(1, 7):
            of = sorted(index.paths[r] for r in rows if (index.identity[r], index.camera[r]) == (identity, camera))
            chosen += [generator.choice(of)] if of else []
    return chosen


def junk(dataset, index, q, g, *, other):
    """Whether gallery image ``g`` does not exist for query ``q``."""
    same_person = index.identity[q] == index.identity[g]
    if dataset == "sysu" and {index.camera[q], index.camera[g]} == {2, 3}:
        return True
    if same_person and index.camera[q] == index.camera[g]:
        return True
    return bool(other and same_person and index.modality[q] == index.modality[g])


def loop(features, index, queries, gallery, left_out, *, dedup):
    """R1, R5, mAP and mINP, and of how many queries."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    found = []
    for q in queries:
        kept = [g for g in gallery if not left_out(q, g)]
        ranking = sorted(kept, key=lambda g: -float(unit[q] @ unit[g]))
        people = [int(index.identity[g]) for g in ranking]
        hits = [rank for rank, person in enumerate(people, start=1) if person == index.identity[q]]
        if hits:
            places = list(dict.fromkeys(people)) if dedup else people
            first = places.index(int(index.identity[q])) + 1
            ap = np.mean([number / rank for number, rank in enumerate(hits, start=1)])
            found.append((first <= 1, first <= 5, ap, len(hits) / hits[-1]))
    return [*np.mean(found, axis=0), len(found)]


@pytest.mark.parametrize("other", [False, True])
@pytest.mark.parametrize(
    ("name", "direction"),
    [
        ("sysu/mixed", "i2m"),
        ("sysu/mixed", "v2m"),
        ("regdb/mixed", "t2m"),
        ("regdb/mixed", "v2m"),
        ("llcm/mixed", "i2m"),
        ("llcm/mixed", "v2m"),
    ],
)
def test_a_gallery_of_both_modalities_equals_a_naive_loop(index, permutations, features, name, direction, other):
    dataset = name.partition("/")[0]
    index = two_sensors(index) if dataset == "llcm" else index
    trials = 1 if dataset == "regdb" else 3
    config = ProtocolConfig(name=name, direction=direction, trials=trials, matches="other" if other else "any")
    result = evaluate(features, index, config, permutations)
    row_of = {path: row for row, path in enumerate(index.paths)}
    queries = [row for row in range(len(index)) if index.modality[row] == LETTERS[direction[0]][0]]
    for trial in range(trials):
        halves = [drawn(dataset, index, permutations, modality, trial) for modality in Modality]
        gallery = [row_of[path] for half in halves for path in half]
        expected = loop(
            features,
            index,
            queries,
            gallery,
            lambda q, g, index=index: junk(dataset, index, q, g, other=other),
            dedup=dataset != "regdb",
        )
        values = result.per_trial[trial]
        valid = result.per_query[result.per_query.trial == trial].valid.sum()
        assert [values["r1"], values["r5"], values["mAP"], values["mINP"], valid] == pytest.approx(expected, abs=1e-9)
    assert not (result.top["query"] == result.top["gallery"]).any()


def test_matches_of_the_other_modality_are_fewer_and_harder(index, permutations, features):
    found = {
        matches: evaluate(features, index, ProtocolConfig(name="sysu/mixed", matches=matches), permutations)
        for matches in ("any", "other")
    }
    assert (found["other"].per_query.matches < found["any"].per_query.matches).any()
    assert (found["other"].per_query.matches <= found["any"].per_query.matches).all()
    assert found["other"].metrics["r1"] < found["any"].metrics["r1"]


def test_of_regdb_whoever_is_looked_for_is_there_in_the_other_modality_alone(index, features):
    dual = replace(index, camera=np.where(index.modality == Modality.VISIBLE, 1, 2))
    any_, other = (
        evaluate(features, dual, ProtocolConfig(name="regdb/mixed", matches=matches)).metrics
        for matches in ("any", "other")
    )
    assert any_ == other


def test_two_way_is_the_official_protocol_and_its_reverse(index, permutations, features):
    official = evaluate(features, index, ProtocolConfig(name="sysu/official"), permutations)
    forth, back = (
        evaluate(features, index, ProtocolConfig(name="sysu/two-way", direction=direction), permutations)
        for direction in ("i2v", "v2i")
    )
    assert (forth.metrics, forth.per_trial) == (official.metrics, official.per_trial)
    row_of = {path: row for row, path in enumerate(index.paths)}
    queries = [row for row in range(len(index)) if index.modality[row] == Modality.VISIBLE]
    for trial in range(10):
        gallery = [row_of[path] for path in drawn("sysu", index, permutations, Modality.INFRARED, trial)]
        expected = loop(
            features,
            index,
            queries,
            gallery,
            lambda q, g: index.camera[q] == 2 and index.camera[g] == 3,
            dedup=True,
        )
        values = back.per_trial[trial]
        assert [values[name] for name in ("r1", "r5", "mAP", "mINP")] == pytest.approx(expected[:4], abs=1e-9)


def test_an_infrared_folder_that_was_not_copied_is_named(index, permutations):
    fewer = index.select(~((index.camera == 6) & (index.identity == 10)))
    for name in ("sysu/two-way", "sysu/mixed"):
        direction = "v2i" if name == "sysu/two-way" else "i2m"
        with pytest.raises(
            UserError, match="12 images of camera 6, identity 10, but /data/SYSU-MM01/cam6/0010 has none"
        ):
            plan_trials(ProtocolConfig(name=name, direction=direction), fewer, permutations)
    plan_trials(ProtocolConfig(name="sysu/two-way"), fewer, permutations)


def test_both_stands_for_two_protocols_with_ids_of_their_own():
    written = [{"name": "sysu/official"}, {"name": "sysu/two-way", "direction": "both", "shots": 10}]
    config = EvaluationConfig(protocols=written)
    assert [(p.name, p.direction, p.shots) for p in config.protocols] == [
        ("sysu/official", "i2v", 1),
        ("sysu/two-way", "i2v", 10),
        ("sysu/two-way", "v2i", 10),
    ]
    assert EvaluationConfig.model_validate(config.model_dump()) == config
    all_four = each_of_both([{"name": "llcm/mixed", "direction": "both", "matches": "both"}])
    assert [(p["direction"], p["matches"]) for p in all_four] == [
        ("i2m", "any"),
        ("i2m", "other"),
        ("v2m", "any"),
        ("v2m", "other"),
    ]
    for name, directions in (("regdb/10split", ("v2t", "t2v")), ("llcm/sampled", ("i2v", "v2i"))):
        both = EvaluationConfig(protocols=[{"name": name, "direction": "both"}]).protocols
        alone = [ModelProtocol(name=name, direction=direction) for direction in directions]
        assert both == alone


def test_ids_of_evaluations_know_nothing_of_what_came_later():
    ids = RunIds(compose(["data=sysu", "data.root=/data", "model=idkl_small", "recipe=smoke"]))
    known = ModelProtocol(name="sysu/official", mode="indoor")
    assert deciding(known) == {"name": "sysu/official", "mode": "indoor"}
    others = [ModelProtocol(name="sysu/mixed"), ModelProtocol(name="sysu/mixed", matches="other")]
    assert len({ids.evaluation(p) for p in (known, *others)}) == 3
    assert "matches" not in card(known)


def test_cards_keep_these_scores_apart():
    configs = [
        ProtocolConfig(name=name, direction=direction, **({"matches": matches} if spec.mixed else {}))
        for name, spec in PROTOCOLS.items()
        for direction in spec.directions
        for matches in (("any", "other") if spec.mixed else ("any",))
    ]
    cards = [ProtocolCard.model_validate(card(config)) for config in configs]
    assert len({c.key for c in cards}) == len({c.title for c in cards}) == len(configs)
    title = ProtocolCard.model_validate(card(ProtocolConfig(name="sysu/mixed", matches="other"))).title
    assert title == "sysu/mixed · all · infrared→both modalities · single-shot · matches of the other modality"
    entries = card(ProtocolConfig(name="llcm/mixed", matches="other"))
    assert (entries["camera_rule"], entries["matches"]) == ("same_id_same_cam_other", "other")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"name": "sysu/official", "matches": "other"}, "the gallery of sysu/official is of one modality"),
        ({"name": "sysu/official", "direction": "both"}, "direction"),
        ({"name": "sysu/official", "matches": "both"}, "matches"),
        ({"name": "sysu/mixed", "direction": "i2v"}, "sysu/mixed has no direction i2v; valid: i2m, v2m"),
        ({"name": "sysu/mixed", "mode": "indoor"}, "no mode indoor; valid: all"),
        (
            {"name": "sysu/mixed", "reranking": {"name": "zhong"}},
            "cannot be re-ranked: query images are in its gallery",
        ),
        ({"name": "sysu/mixed", "text": "query"}, "would describe gallery images"),
        ({"name": "sysu/mixed", "test_time": "flip-summed"}, "set test_time to flip or none"),
        ({"name": "sysu/mixed", "corruption": {"where": "gallery"}}, "use where=both"),
    ],
)
def test_what_a_gallery_of_both_modalities_cannot_have_is_an_error(data, message):
    with pytest.raises(UserError, match=message):
        parse(EvaluationConfig, {"protocols": [data]}, "evaluation")


def test_corruption_of_a_gallery_of_both_modalities_is_of_all_images():
    protocol = ModelProtocol(name="sysu/mixed", corruption={"where": "both"})
    assert set(protocol.corruption.modalities(protocol)) == set(Modality)
    one_sided = ModelProtocol(name="sysu/two-way", direction="v2i", corruption={"where": "gallery"})
    assert one_sided.corruption.modalities(one_sided) == (Modality.INFRARED,)
