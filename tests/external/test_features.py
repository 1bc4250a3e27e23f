"""A whole protocol from per-image features written by any program."""

import numpy as np
import pytest

from vireid.core.errors import UserError
from vireid.data.config import SYSUConfig
from vireid.data.sysu import SYSUMM01
from vireid.evaluation.evaluate import evaluate
from vireid.evaluation.protocols import ProtocolConfig
from vireid.external.features import by_protocol, by_rule, reranking_config


@pytest.fixture(scope="module")
def images(rendered):
    layout = SYSUMM01(SYSUConfig(), rendered)
    return layout, layout.evaluation("test")


def features_of(index, seed=0):
    random = np.random.default_rng(seed)
    centres = random.normal(size=(int(index.identity.max()) + 1, 6))
    return (centres[index.identity] + random.normal(size=(len(index), 6))).astype(np.float32)


@pytest.fixture
def file(images, tmp_path):
    """Features in another order than the layout's, with an image that belongs to no test identity."""
    _, index = images
    order = np.random.default_rng(1).permutation(len(index))
    paths = [index.paths[row] for row in order] + ["cam1/9999/0001.jpg"]
    features = np.concatenate([features_of(index)[order], np.full((1, 6), np.nan, dtype=np.float32)])
    np.savez(tmp_path / "images.npz", features=features, paths=np.array(paths))
    return tmp_path / "images.npz"


@pytest.mark.parametrize("choices", [{}, {"mode": "indoor"}, {"trials": 3, "normalise": False}])
def test_the_numbers_are_those_of_the_protocol_on_the_index(images, file, rendered, choices):
    layout, index = images
    asked = by_protocol("sysu/official", choices, rendered, reranking_config("zhong", 4, 2, 0.3))
    plain, reranked = asked.evaluate(file)
    config = ProtocolConfig(name="sysu/official", **choices)
    wanted = evaluate(features_of(index), index, config, layout.permutations())
    assert plain.metrics == pytest.approx(wanted.metrics, abs=1e-12)
    assert len(plain.trials) == config.trials
    assert plain.settings == wanted.card
    assert reranked.settings["reranking"]["name"] == "zhong"
    assert reranked.intervals()["mAP"].value == pytest.approx(reranked.mAP)
    assert asked.synthetic
    assert "sysu/official" in asked.title


def test_a_mapping_names_choices_and_options_win(file, rendered):
    asked = by_protocol("{name: sysu/official, mode: indoor, trials: 2}", {"trials": 4, "mode": None}, rendered)
    (result,) = asked.evaluate(file)
    assert result.settings["mode"] == "indoor"
    assert len(result.trials) == 4


@pytest.mark.parametrize("change", ["absolute", "dotted", "backslashes", "bytes"])
def test_ways_to_write_a_path(images, file, rendered, tmp_path, change):
    with np.load(file) as content:
        features, paths = content["features"], content["paths"].tolist()
    write = {
        "absolute": lambda p: f"{rendered}/{p}",
        "dotted": lambda p: f"./{p}",
        "backslashes": lambda p: p.replace("/", "\\"),
        "bytes": str.encode,
    }[change]
    np.savez(tmp_path / "other.npz", features=features, paths=np.array([write(p) for p in paths]))
    asked = by_protocol("sysu/official", {}, rendered)
    assert asked.evaluate(tmp_path / "other.npz")[0].metrics == asked.evaluate(file)[0].metrics


def test_two_files_are_compared_query_by_query(images, file, rendered, tmp_path):
    _, index = images
    np.savez(tmp_path / "b.npz", features=features_of(index, seed=5), paths=np.array(index.paths))
    asked = by_protocol("sysu/official", {"trials": 2}, rendered)
    (first,), (second,) = asked.evaluate(file), asked.evaluate(tmp_path / "b.npz")
    change = second.minus(first)["mAP"]
    assert change.value == pytest.approx(second.mAP - first.mAP)
    assert change.low <= change.value <= change.high


def test_results_of_other_images_are_not_paired(file, rendered):
    (first,) = by_protocol("sysu/official", {"mode": "all"}, rendered).evaluate(file)
    (second,) = by_protocol("sysu/official", {"mode": "indoor"}, rendered).evaluate(file)
    with pytest.raises(UserError, match="differ in"):
        second.minus(first)


def test_faults_are_named(images, file, rendered, tmp_path):
    _, index = images
    features = features_of(index)
    asked = by_protocol("sysu/official", {}, rendered)
    paths = np.array(index.paths)
    query = int(np.flatnonzero(index.modality)[0])
    spoilt = features.copy()
    spoilt[query] = np.inf
    for arrays, words in (
        ({"features": features[:-1], "paths": paths[:-1]}, ["have no features", "write features of every image"]),
        ({"features": features, "paths": np.array([f"x/{p}" for p in paths])}, ["for example, 'x/cam"]),
        ({"features": features, "paths": paths[:-1]}, ["'paths'", "rows"]),
        ({"features": features, "paths": np.arange(len(paths))}, ["'paths'", "int64", "one text per row"]),
        ({"features": features[:, 0], "paths": paths}, ["'features'", "matrix"]),
        ({"features": features}, ["'paths' is missing", index.paths[0]]),
        ({"features": np.repeat(features, 2, 0), "paths": np.repeat(paths, 2)}, ["more than once"]),
        ({"features": spoilt, "paths": paths}, ["not finite", index.paths[query]]),
    ):
        np.savez(tmp_path / "bad.npz", **arrays)
        with pytest.raises(UserError) as caught:
            asked.evaluate(tmp_path / "bad.npz")
        for word in words:
            assert word in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("sysu/offical", {}), ["unknown protocol 'sysu/offical'", "did you mean 'sysu/official'"]),
        (("sysu/official", {"direction": "t2v"}), ["no direction t2v", "i2v"]),
        (("{name: sysu/official, modes: x}", {}), ["modes", "did you mean 'mode'"]),
        (("{name: [", {}), ["not YAML"]),
    ],
)
def test_bad_protocols_are_named(rendered, arguments, words):
    with pytest.raises(UserError) as caught:
        by_protocol(*arguments, rendered)
    for word in words:
        assert word in str(caught.value)


def test_a_split_belongs_to_regdb_and_reranking_is_named_once(rendered):
    with pytest.raises(UserError, match="one official split"):
        by_protocol("sysu/official", {}, rendered, number=2)
    with pytest.raises(UserError, match="first split"):
        by_protocol("regdb/split1", {}, rendered, number=3)
    text = "{name: sysu/official, reranking: {name: zhong}}"
    with pytest.raises(UserError, match="leave --rerank out"):
        by_protocol(text, {}, rendered, reranking_config("zhong", 20, 6, 0.3))
    with pytest.raises(UserError, match="needs --root"):
        by_protocol("sysu/official", {}, None)


def test_a_rule_asks_the_same_of_every_file(tmp_path):
    random = np.random.default_rng(0)
    ids = np.arange(20) % 5
    for name in "ab":
        np.savez(
            tmp_path / name, query=random.random((20, 3)), gallery=random.random((20, 3)), query_id=ids, gallery_id=ids
        )
    asked = by_rule("none", reranking_config("query-only", 3, 2, 0.3))
    for name in "ab":
        plain, reranked = asked.evaluate(tmp_path / f"{name}.npz")
        assert plain.settings["reranking"] == {"name": "none"}
        assert reranked.settings["reranking"]["k1"] == 3
