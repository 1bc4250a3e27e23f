"""Own features: golden numbers, naive loops, and one clear message per fault."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.evaluation import naive
from vireid.core.errors import UserError
from vireid.evaluation.features import evaluate_features, evaluate_set, read_feature_set
from vireid.evaluation.metrics import Labels, rank_queries

GOLDEN = Path(__file__).parents[1] / "golden"
RULES = {
    "sysu": ("sysu_a", "query_cam"),
    "none": ("regdb", "query_cam"),
    "same-id-same-cam": ("same_id_same_cam", "query_cam_llcm"),
}


def some(queries=30, gallery=50, width=8, dtype=np.float64, seed=0):
    random = np.random.default_rng(seed)
    centres = random.normal(size=(9, width))
    query_id, gallery_id = random.integers(0, 9, queries), random.integers(0, 8, gallery)  # identity 8 has no match
    return {
        "query": (centres[query_id] + 1.5 * random.normal(size=(queries, width))).astype(dtype),
        "gallery": (centres[gallery_id] + 1.5 * random.normal(size=(gallery, width))).astype(dtype),
        "query_id": query_id,
        "gallery_id": gallery_id,
        "query_cam": random.choice([3, 6], queries),
        "gallery_cam": random.choice([1, 2, 3, 6], gallery),
    }


@pytest.mark.parametrize("case", ["a", "b"])
@pytest.mark.parametrize("rule", RULES)
def test_golden_files_give_the_golden_numbers(case, rule):
    key, cameras = RULES[rule]
    wanted = json.loads((GOLDEN / f"case_{case}.json").read_text())[key]
    result = evaluate_set(read_feature_set(GOLDEN / f"case_{case}.npz", rule, query_cam=cameras))
    assert {name: result.metrics[name] for name in wanted} == pytest.approx(wanted, abs=1e-7)


@pytest.mark.parametrize("case", ["a", "b"])
@pytest.mark.parametrize("variant", ["zhong", "query-only"])
def test_reranked_golden_files_give_the_metrics_of_the_golden_matrices(case, variant):
    with np.load(GOLDEN / f"case_{case}.npz") as file:
        arrays = {name: file[name] for name in file.files}
    sides = [Labels(arrays[f"{side}_id"], arrays[f"{side}_cam"]) for side in ("query", "gallery")]
    matrix = arrays[f"reranked_{variant.replace('-', '_')}"]
    wanted = rank_queries(matrix, *sides, rule="sysu", distance=True).aggregate()
    result = evaluate_set(read_feature_set(GOLDEN / f"case_{case}.npz", "sysu"), reranking=variant)
    for name, value in result.metrics.items():  # the reference computes in half precision: a query may change place
        assert value == pytest.approx(wanted[name], abs=5e-3 if name in ("mAP", "mINP") else 1.1 / result.valid_queries)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("cmc", [None, "plain", "dedup"])
def test_any_choice_equals_a_naive_loop(rule, normalise, cmc):
    arrays = some()
    result = evaluate_features(**arrays, rule=rule, normalise=normalise, cmc=cmc)
    query, gallery = arrays["query"], arrays["gallery"]
    if normalise:
        query, gallery = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (query, gallery))
    distance = ((query[:, None] - gallery) ** 2).sum(2)
    sides = [Labels(arrays[f"{side}_id"], arrays[f"{side}_cam"]) for side in ("query", "gallery")]
    convention = cmc or ("plain" if rule == "none" else "dedup")
    values = [v for v in naive.rank(distance, *sides, rule.replace("-", "_"), convention, True) if v is not None]
    assert result.queries == 30
    assert result.valid_queries == len(values) < 30
    assert result.mAP == pytest.approx(np.mean([ap for ap, _, _ in values]), abs=1e-9)
    assert result.mINP == pytest.approx(np.mean([inp for _, inp, _ in values]), abs=1e-9)
    assert result.r1 == pytest.approx(np.mean([first <= 1 for _, _, first in values]), abs=1e-9)
    assert set(result.summary()) == {"r1", "r5", "r10", "r20", "mAP", "mINP", "queries", "valid_queries"}


@pytest.mark.parametrize("kind", ["float16", "float32", "torch", "bfloat16", "big-endian", "fortran", "list", "int8"])
def test_kinds_of_arrays_and_tensors(kind):
    arrays = some(dtype=np.float32)
    exact = evaluate_features(**arrays, rule="sysu").metrics
    change = {
        "float16": lambda a: a.astype(np.float16),
        "float32": lambda a: a,
        "torch": torch.from_numpy,
        "bfloat16": lambda a: torch.from_numpy(a).bfloat16(),
        "big-endian": lambda a: a.astype(">f4"),
        "fortran": np.asfortranarray,
        "list": lambda a: a.tolist(),
        "int8": lambda a: np.round(16 * a).astype(np.int8),
    }[kind]
    changed = arrays | {side: change(arrays[side]) for side in ("query", "gallery")}
    rough = kind in ("float16", "bfloat16", "int8")
    assert evaluate_features(**changed, rule="sysu").metrics == pytest.approx(exact, abs=0.05 if rough else 1e-6)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_files_read_mapped_or_decompressed_and_may_hold_more(tmp_path, save):
    arrays = some(dtype=np.float32)
    save(tmp_path / "f.npz", **arrays, notes=np.array(["more"]))
    result = evaluate_set(read_feature_set(tmp_path / "f.npz", "sysu"))
    assert result.metrics == pytest.approx(evaluate_features(**arrays, rule="sysu").metrics, abs=1e-6)


def test_cameras_may_be_left_out_where_no_rule_needs_them():
    arrays = {name: array for name, array in some().items() if not name.endswith("_cam")}
    assert evaluate_features(**arrays, rule="none").metrics == evaluate_features(**some(), rule="none").metrics


def broken(**changes):
    def change(arrays):
        return {name: value for name, value in (arrays | changes).items() if value is not None}

    return change


def with_nan(arrays):
    gallery = arrays["gallery"].copy()
    gallery[[7, 9], 2] = np.nan
    return arrays | {"gallery": gallery}


@pytest.mark.parametrize(
    ("change", "rule", "words"),
    [
        (broken(query=None), "sysu", ["'query' is missing"]),
        (broken(gallery_id=None), "none", ["'gallery_id' is missing"]),
        (broken(query_cam=None), "sysu", ["'query_cam' is missing", "rule sysu", "rule none"]),
        (broken(query_id=np.arange(29)), "none", ["'query_id'", "(29,)", "30 rows"]),
        (broken(gallery_cam=np.arange(51)), "sysu", ["'gallery_cam'", "(51,)", "50 rows"]),
        (broken(query_id=np.zeros((30, 1), int)), "none", ["'query_id'", "(30, 1)"]),
        (broken(query_id=np.zeros(30)), "none", ["'query_id'", "float64", "astype(np.int64)"]),
        (broken(query_id=np.array(["a"] * 30)), "none", ["'query_id' holds text", "np.unique"]),
        (broken(query=np.zeros(30)), "none", ["'query'", "shape (30,)", "matrix"]),
        (broken(query=np.zeros((30, 7))), "none", ["'query' has 7 columns", "'gallery' has 8"]),
        (broken(gallery=np.zeros((0, 8)), gallery_id=np.zeros(0, int)), "none", ["'gallery' is empty"]),
        (broken(query=np.array([["a"] * 8] * 30)), "none", ["'query'", "real numbers"]),
        (broken(query=np.ones((30, 8), complex)), "none", ["'query'", "real numbers"]),
        (with_nan, "none", ["'gallery'", "2 of 50 rows", "row 7", "again in float32"]),
        (broken(), "sisu", ["unknown rule 'sisu'", "did you mean 'sysu'"]),
        (broken(query_id=np.full(30, 99)), "none", ["none of the 30 queries"]),
    ],
)
@pytest.mark.parametrize("source", ["arrays", "file"])
def test_faults_are_named_with_array_place_and_remedy(tmp_path, change, rule, words, source):
    arrays = change(some())
    file = tmp_path / "features.npz"
    np.savez(file, **arrays)
    names = ("query", "gallery", "query_id", "gallery_id", "query_cam", "gallery_cam")
    evaluate = {
        "file": lambda: evaluate_set(read_feature_set(file, rule)),
        "arrays": lambda: evaluate_features(**{name: arrays.get(name) for name in names}, rule=rule),
    }[source]
    with pytest.raises(UserError) as caught:
        evaluate()
    for word in words:
        assert word in str(caught.value)
    if source == "file" and "unknown rule" not in words[0] and "none of" not in words[0]:
        assert str(file) in str(caught.value)


def test_files_that_are_none_are_named(tmp_path):
    bare, object_array, cut = tmp_path / "bare.npz", tmp_path / "objects.npz", tmp_path / "cut.npz"
    bare.write_bytes(b"nothing")
    np.savez(object_array, **some() | {"query_id": np.array([{}] * 30, dtype=object)})
    np.savez(cut, **some())
    cut.write_bytes(cut.read_bytes()[:-200])
    for file, word in ((tmp_path / "no.npz", "no such file"), (bare, "not an .npz"), (cut, "not an .npz")):
        with pytest.raises(UserError, match=word) as caught:
            read_feature_set(file, "none")
        assert str(file) in str(caught.value)
    with pytest.raises(UserError, match="'query_id' cannot be read"):
        read_feature_set(object_array, "none")


def test_a_single_identity_is_evaluated():
    arrays = some() | {"query_id": np.ones(30, int), "gallery_id": np.ones(50, int)}
    result = evaluate_features(**arrays, rule="none")
    assert result.mAP == result.r1 == result.mINP == 1.0
    assert result.intervals()["mAP"].low == 1.0


def test_ties_keep_gallery_order():
    same = np.ones((3, 4), dtype=np.float32)
    result = evaluate_features(np.ones((1, 4)), same, [1], [2, 1, 1], rule="none")
    assert result.mAP == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_three_lines_from_the_package():
    import vireid

    arrays = some()
    result = vireid.evaluate_features(**arrays, rule="sysu")
    assert 0 < result.mAP < 1


def golden():
    with np.load(GOLDEN / "case_a.npz") as file:
        names = ("query", "gallery", "query_id", "gallery_id", "query_cam", "gallery_cam")
        return {name: file[name] for name in names}


@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1e-15, 1e15, 1e30])
@pytest.mark.parametrize("side", ["query", "gallery"])
@pytest.mark.parametrize("reranking", [None, "zhong"])
def test_the_scale_of_features_decides_nothing(scale, side, reranking):
    arrays = golden()
    wanted = evaluate_features(**arrays, rule="sysu", reranking=reranking)
    arrays[side] = (arrays[side].astype(np.float64) * scale).astype(np.float32)
    found = evaluate_features(**arrays, rule="sysu", reranking=reranking)
    # So near to zero, single precision holds three or four digits: a few images change places.
    assert found.metrics == pytest.approx(wanted.metrics, abs=1e-2 if scale < 1e-38 else 1e-6)


@pytest.mark.parametrize("reranking", [None, "zhong"])
def test_features_without_a_direction_are_refused_by_number_and_name(reranking):
    arrays = golden()
    arrays["gallery"][[7, 40]] = 0
    words = r"evaluate_features: 2 of 90 gallery features are unusable.*feature 7 \(from 0\).*without a direction"
    with pytest.raises(UserError, match=words):
        evaluate_features(**arrays, rule="sysu", reranking=reranking)
    plain = evaluate_features(**arrays, rule="sysu", normalise=False)  # the origin is a place like any other
    assert 0 < plain.mAP < 1


@pytest.mark.parametrize("scale", [1e-20, 1e19, 1e30])
def test_squared_distances_that_overflow_or_vanish_are_refused(scale):
    arrays = golden()
    wanted = evaluate_features(**arrays, rule="none", normalise=False).metrics
    for side in ("query", "gallery"):
        arrays[side] = arrays[side] * np.float32(scale)
    with pytest.raises(UserError, match=r"query features are unusable.*too long or too short.*float64, or normalise"):
        evaluate_features(**arrays, rule="none", normalise=False)
    wide = {side: arrays[side].astype(np.float64) for side in ("query", "gallery")}
    assert evaluate_features(**{**arrays, **wide}, rule="none", normalise=False).metrics == pytest.approx(
        wanted, abs=1e-6
    )


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("reranking", [None, "zhong"])
def test_junk_in_the_gallery_is_as_if_it_were_not_there(rule, reranking):
    arrays = golden()
    junk = np.arange(90) % 4 == 1
    arrays["gallery"][junk] = arrays["query"][:23]  # most alike, so that each would come first
    arrays["gallery_id"][junk] = -1
    kept = {name: array[~junk] if name.startswith("gallery") else array for name, array in arrays.items()}
    wanted = evaluate_features(**kept, rule=rule, reranking=reranking)
    found = evaluate_features(**arrays, rule=rule, reranking=reranking)
    assert found.metrics == wanted.metrics
    assert (found.junk, found.settings["gallery"], found.summary()["junk"]) == (23, 67, 23)
    assert wanted.junk == 0
    assert "junk" not in wanted.summary()
    arrays["gallery_id"][junk] = 0  # Market-1501's distractors are nobody's match, but they are ranked
    assert evaluate_features(**arrays, rule=rule, reranking=reranking).mAP < wanted.mAP


def test_junk_is_no_query_and_no_whole_gallery():
    arrays = golden()
    arrays["query_id"][[3, 9]] = -1
    words = r"'query_id' is negative in 2 of 150 rows, the first of them row 3 \(from 0\) with -1.*mark junk"
    with pytest.raises(UserError, match=words):
        evaluate_features(**arrays, rule="none")
    labels = Labels(arrays["query_id"], arrays["query_cam"]), Labels(arrays["gallery_id"], arrays["gallery_cam"])
    with pytest.raises(UserError, match=r"query 3 has identity -1"):
        rank_queries(np.zeros((150, 90)), *labels)
    with pytest.raises(UserError, match=r"every identity in 'gallery_id' is negative"):
        evaluate_features(**{**golden(), "gallery_id": np.full(90, -1)}, rule="none")


def test_matches_that_a_rule_removed_are_told_from_none_at_all():
    arrays = some()
    arrays["query_id"] = arrays["query_id"] % 8
    same = arrays | {"query_cam": np.ones(30, dtype=int), "gallery_cam": np.ones(50, dtype=int)}
    words = (
        r"30 of 30 queries have matches, all removed by the rule same-id-same-cam \(same camera\): "
        r"queries of camera 1, gallery of camera 1; every image needs the number.*or use rule none"
    )
    with pytest.raises(UserError, match=words):
        evaluate_features(**same, rule="same-id-same-cam")
    stand = arrays | {"query_cam": np.full(30, 3), "gallery_cam": np.full(50, 2)}
    with pytest.raises(
        UserError, match=r"30 of 30 queries.*by the rule sysu.*queries of camera 3, gallery of camera 2"
    ):
        evaluate_features(**stand, rule="sysu")
    with pytest.raises(UserError, match="none of the 30 queries has an image of its identity"):
        evaluate_features(**same | {"gallery_id": np.full(50, 77)}, rule="same-id-same-cam")
