from __future__ import annotations

import random
import re

import numpy as np
import pytest

from vireid.core.config import parse
from vireid.core.errors import UserError
from vireid.core.types import Modality
from vireid.evaluation.protocols import PROTOCOLS, ProtocolConfig, card
from vireid.evaluation.scorers import SCORERS
from vireid.evaluation.trials import plan_trials

from .conftest import ABSENT, IDENTITIES, INFRARED_CAMERAS, make_index


def paths(index, rows):
    return [index.paths[row] for row in rows]


@pytest.mark.parametrize(("mode", "cameras"), [("all", (1, 2, 4, 5)), ("indoor", (1, 2))])
@pytest.mark.parametrize("shots", [1, 10])
def test_official_gallery_is_the_head_of_each_permutation(index, permutations, mode, cameras, shots):
    config = ProtocolConfig(name="sysu/official", mode=mode, shots=shots)
    trials = plan_trials(config, index, permutations)
    assert len(trials) == 10
    for number, trial in enumerate(trials):
        expected = [
            f"cam{camera}/{identity:04d}/{image:04d}.jpg"
            for identity in IDENTITIES
            for camera in cameras
            if (camera, identity) not in ABSENT
            for image in permutations[camera, identity][number][:shots]
        ]
        assert paths(index, trial.gallery) == expected
        assert np.isin(index.camera[trial.query], INFRARED_CAMERAS).all()
        assert len(trial.query) == 2 * 12 * len(IDENTITIES)
        np.testing.assert_array_equal(trial.query, trials[0].query)


def test_dev_identities_work_with_the_same_permutations(permutations):
    dev = make_index(identities=(1, 2, 333), absent=frozenset())
    trials = plan_trials(ProtocolConfig(name="sysu/official", trials=3), dev, permutations)
    assert [len(trial.gallery) for trial in trials] == [12, 12, 12]
    assert card(ProtocolConfig(name="sysu/official"), split="dev")["split"] == "dev"


def test_fewer_images_than_shots_take_them_all(index, permutations):
    short = {key: value[:, :1] for key, value in permutations.items()}
    for key in ABSENT:
        short[key] = np.empty((10, 0), dtype=np.int64)
    trials = plan_trials(ProtocolConfig(name="sysu/official", shots=10), index, short)
    assert len(trials[0].gallery) == 4 * len(IDENTITIES) - len(ABSENT)


def test_an_absent_folder_without_a_permutation_entry_is_fine(index, permutations):
    for key in ABSENT:
        del permutations[key]
    assert len(plan_trials(ProtocolConfig(name="sysu/official"), index, permutations)[0].gallery) == 14


def broken(permutations, how):
    if how == "missing":
        del permutations[1, 6]
    elif how == "short":
        permutations[1, 6] = permutations[1, 6][:4]
    elif how == "number":
        permutations[1, 6] = permutations[1, 6] + 50
    elif how == "folder":
        permutations[2, 10] = permutations[1, 10]
    return None if how == "none" else permutations


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("none", r"exp/rand_perm_cam.mat under /data/SYSU-MM01"),
        ("missing", r"camera 1, identity 6 is missing or empty, but /data/SYSU-MM01 holds 12"),
        ("short", r"camera 1, identity 6 has shape \(4, 12\); 10 trials"),
        ("number", r"does not hold \(expected cam1/0006/\d{4}\.jpg\)"),
        ("folder", r"12 images of camera 2, identity 10, but /data/SYSU-MM01/cam2/0010 has none"),
    ],
)
def test_permutations_that_do_not_fit_the_images_are_named(index, permutations, how, message):
    with pytest.raises(UserError, match=message):
        plan_trials(ProtocolConfig(name="sysu/official"), index, broken(permutations, how))


def test_seeded_draws_as_a_loop_over_folders_does(index):
    trials = plan_trials(ProtocolConfig(name="sysu/seeded", mode="indoor"), index)
    for number, trial in enumerate(trials):
        draw = random.Random(number)
        expected = []
        for identity in sorted(IDENTITIES):
            for camera in (1, 2):
                files = sorted(p for p in index.paths if p.startswith(f"cam{camera}/{identity:04d}/"))
                if files:
                    expected.append(draw.choice(files))
        assert paths(index, trial.gallery) == expected


@pytest.mark.parametrize(
    ("direction", "query"), [("v2t", Modality.VISIBLE), ("t2v", Modality.INFRARED), (None, Modality.VISIBLE)]
)
def test_regdb_ranks_everything_once(index, direction, query):
    config = ProtocolConfig(name="regdb/10split", **({"direction": direction} if direction else {}))
    (trial,) = plan_trials(config, index)
    assert (index.modality[trial.query] == query).all()
    assert sorted([*trial.query, *trial.gallery]) == list(range(len(index)))


def test_llcm_draws_one_image_per_identity_and_camera_of_the_gallery_side(index):
    for direction, per_identity, absent in (("i2v", 4, len(ABSENT)), ("v2i", 2, 0)):
        trials = plan_trials(ProtocolConfig(name="llcm/sampled", direction=direction), index)
        assert len(trials) == 10
        for trial in trials:
            pairs = set(zip(index.identity[trial.gallery], index.camera[trial.gallery], strict=True))
            assert len(pairs) == len(trial.gallery) == per_identity * len(IDENTITIES) - absent


@pytest.mark.parametrize("direction", ["i2v", "v2i"])
def test_deen_released_swaps_the_sides_of_visible_to_infrared(index, direction):
    sampled = plan_trials(ProtocolConfig(name="llcm/sampled", direction=direction), index)
    released = plan_trials(config := ProtocolConfig(name="llcm/deen-released", direction=direction), index)
    for stated, found in zip(sampled, released, strict=True):
        expected = (stated.gallery, stated.query) if direction == "v2i" else (stated.query, stated.gallery)
        np.testing.assert_array_equal(found.query, expected[0])
        np.testing.assert_array_equal(found.gallery, expected[1])
    assert ("sampled images are the queries" in card(config)["direction"]) == (direction == "v2i")


def test_llcm_full_ranks_what_the_lists_name(index):
    config = ProtocolConfig(name="llcm/full")
    (trial,) = plan_trials(config, index)
    assert sorted([*trial.query, *trial.gallery]) == list(range(len(index)))
    names = {path.rpartition("/")[2] for path in index.paths[:5]}
    (trial,) = plan_trials(config, index, listed=names)
    rows = [*trial.query, *trial.gallery]
    assert {index.paths[row].rpartition("/")[2] for row in rows} == names
    with pytest.raises(UserError, match=r"1 images that /data/SYSU-MM01 does not hold, such as x\.jpg"):
        plan_trials(config, index, listed=names | {"x.jpg"})
    assert card(config)["score"] == "negative squared Euclidean"


def test_a_side_without_images_is_named(index):
    only_infrared = index.select(index.modality == Modality.INFRARED)
    with pytest.raises(UserError, match="no visible image from cameras 1, 2 for the gallery"):
        plan_trials(ProtocolConfig(name="sysu/seeded", mode="indoor"), only_infrared)
    only_visible = index.select(index.modality == Modality.VISIBLE)
    with pytest.raises(UserError, match="no infrared image for the query"):
        plan_trials(ProtocolConfig(name="sysu/seeded"), only_visible)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_defaults_are_the_protocols_and_survive_a_round_trip(name):
    config = ProtocolConfig(name=name)
    assert ProtocolConfig.model_validate(config.model_dump()) == config
    assert config.score in SCORERS
    assert config.trials == PROTOCOLS[name].trials


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"name": "sysu/oficial"}, "did you mean 'sysu/official'"),
        ({"name": "sysu/official", "shots": 5}, "no shots 5; valid: 1, 10"),
        ({"name": "sysu/official", "direction": "v2i"}, "no direction v2i; valid: i2v"),
        ({"name": "regdb/10split", "mode": "indoor"}, "no mode indoor; valid: all"),
        ({"name": "regdb/10split", "trials": 10}, "at most 1 trials"),
        ({"name": "regdb/10split", "cmc": "dedup"}, "no cmc dedup; valid: plain"),
        ({"name": "sysu/official", "shot": 1}, "did you mean 'shots'"),
        ({"name": "sysu/official", "reranking": {"name": "zhong", "lambda": 0.5}}, "did you mean 'lambda_value'"),
    ],
)
def test_what_a_protocol_does_not_offer_is_an_error(data, message):
    with pytest.raises(UserError, match=re.escape(message)):
        parse(ProtocolConfig, data, "evaluation")


def test_card_names_everything_that_makes_numbers_comparable():
    config = ProtocolConfig(name="sysu/official", mode="indoor", shots=10, reranking={"name": "query-only", "k1": 15})
    assert card(config) == {
        "name": "sysu/official",
        "split": "test",
        "mode": "indoor",
        "direction": "infrared→visible",
        "shots": 10,
        "trials": 10,
        "cmc": "dedup",
        "camera_rule": "sysu",
        "reranking": {"name": "query-only", "k1": 15, "k2": 6, "lambda": 0.3},
        "test_time_augmentation": "none",
        "feature_normalisation": "L2",
        "score": "cosine",
        "text": "none",
        "selection": "last epoch",
    }
    plain = card(ProtocolConfig(name="regdb/10split", normalise=False))
    assert (plain["reranking"], plain["feature_normalisation"]) == ({"name": "none"}, "none")
