"""Which file is named: against a naive search, and the cases in which there is nothing to choose by."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vireid.bundle.device.choice import Candidate, choose, front
from vireid.bundle.device.phrases import sentence

CANDIDATES = st.lists(
    st.builds(
        Candidate,
        name=st.sampled_from("abcdef"),
        ms=st.sampled_from([1.0, 2.0, 5.0]),
        mb=st.sampled_from([1.0, 2.0, 5.0]),
        mAP=st.none() | st.sampled_from([0.1, 0.2, 0.3]),
    ),
    max_size=6,
)
LIMIT = st.none() | st.sampled_from([0.5, 2.0, 9.0])


def feasible(candidate, max_ms, max_mb):
    if max_ms is not None and candidate.ms > max_ms:
        return False
    return max_mb is None or candidate.mb <= max_mb


@given(CANDIDATES, LIMIT, LIMIT)
def test_nothing_feasible_is_better(candidates, max_ms, max_mb):
    choice = choose(candidates, max_ms, max_mb)
    fits = [c for c in candidates if feasible(c, max_ms, max_mb)]
    known = [c for c in fits if c.mAP is not None]
    assert (choice.best is None) == (not fits)
    assert choice.by_accuracy == bool(known)
    if choice.best is None:
        return
    assert choice.best in fits
    if not known:
        assert choice.best.ms == min(c.ms for c in fits)
        return
    assert choice.best.mAP == max(c.mAP for c in known)
    assert choice.best.ms == min(c.ms for c in known if c.mAP == choice.best.mAP)
    assert (choice.runner_up is None) == (len(known) == 1)
    if choice.runner_up is not None:
        others = list(known)
        others.remove(choice.best)
        assert choice.runner_up.mAP == max(c.mAP for c in others)


@given(CANDIDATES)
def test_the_front_holds_what_no_other_beats(candidates):
    known = [c for c in candidates if c.mAP is not None]
    expected = {(c.ms, c.mAP) for c in known if not any(_beats(other, c) for other in known)}
    assert {(c.ms, c.mAP) for c in front(candidates)} == expected


def _beats(other, c):
    return other.ms <= c.ms and other.mAP >= c.mAP and (other.ms, other.mAP) != (c.ms, c.mAP)


def test_accuracies_of_two_protocols_are_not_compared():
    with pytest.raises(ValueError, match="different protocols cannot be compared: all, indoor"):
        choose([Candidate("a", 1, 1, 0.1, protocol="all"), Candidate("b", 1, 1, 0.2, protocol="indoor")])


FP32 = Candidate("fp32", 40.0, 90.0, 0.50, 0.46, 0.54, "sysu")
INT8 = Candidate("int8", 12.34, 23.0, 0.49, 0.45, 0.53, "sysu")


@pytest.mark.parametrize(
    ("candidates", "limits", "words"),
    [
        ([FP32, INT8], (None, None), ["Most accurate: fp32 (40.0 ms", "mAP 50.0 %", "95 % interval 46.0 to 54.0"]),
        ([FP32, INT8], (None, None), ["runner-up: int8 (12.3 ms", "interval overlaps", "Accuracy: sysu; made up."]),
        ([FP32, INT8], (20, 30), ["Most accurate within 20 ms and 30 MB: int8", "no other file", "within the limits"]),
        ([FP32, INT8], (1, None), ["No file stays within 1 ms."]),
        ([FP32, Candidate("raw", 1, 1)], (None, None), ["of unknown accuracy, left out: raw"]),
        ([Candidate("raw", 1.234, 1)], (5, None), ["Fastest within 5 ms: raw (1.23 ms", "accuracy is not known"]),
    ],
)
def test_the_sentence_says_what_was_chosen_and_by_what(candidates, limits, words):
    said = sentence(choose(candidates, *limits), *limits, "; made up")
    for word in words:
        assert word in said
