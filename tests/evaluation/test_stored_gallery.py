"""Stored galleries under protocols: the metrics are the project's own, and faiss' forms find the same rows."""

import numpy as np
import pytest

from vireid.core.errors import UserError
from vireid.core.types import Modality
from vireid.evaluation.evaluate import evaluate
from vireid.evaluation.gallery import Gallery, stand_in, unit
from vireid.evaluation.protocols import ProtocolConfig
from vireid.evaluation.stored_gallery import codec_of, evaluate_stored

WIDTH = 96


@pytest.fixture
def features(index):
    generator = np.random.default_rng(4)
    people = generator.standard_normal((400, WIDTH))[index.identity]
    return (people + 2.0 * generator.standard_normal((len(index), WIDTH))).astype(np.float32)


@pytest.mark.parametrize("name", ["sysu/seeded", "regdb/10split"])
def test_float32_has_the_metrics_of_the_evaluation(name, features, index):
    protocol = ProtocolConfig(name=name)
    expected = evaluate(features, index, protocol)
    stored = evaluate_stored(features, index, protocol, codec_of("fp32", features))
    assert stored.metrics == pytest.approx(expected.metrics, abs=1e-9)
    assert len(stored.per_trial) == len(expected.per_trial)
    assert stored.overlap(stored) == 1.0
    assert (stored.row_bytes, stored.scanned_bytes) == (4 * WIDTH, 4 * WIDTH)


def test_int8_scores_rank_as_naive_codes_do(features, index):
    """The same metrics from features whose gallery side is made of the codes, each value in double precision."""
    protocol = ProtocolConfig(name="regdb/10split")
    decoded = unit(features).astype(np.float64)
    for row in np.flatnonzero(index.modality == int(Modality.INFRARED)):  # the gallery of v2t
        scale = np.float64(np.abs(decoded[row]).max() / 127)
        decoded[row] = [scale * round(value / scale) for value in decoded[row]]
    stored = evaluate_stored(features, index, protocol, codec_of("int8", features))
    raw = evaluate(decoded, index, protocol)
    # evaluate scales rows to length 1, which moves the codes' scores by less than their rounding
    assert stored.metrics["mAP"] == pytest.approx(raw.metrics["mAP"], abs=2e-3)
    assert stored.overlap(evaluate_stored(features, index, protocol, codec_of("fp32", features))) > 0.97


def test_what_cannot_be_searched_so_is_refused(features, index):
    with pytest.raises(UserError, match="llcm/full: stored galleries are searched by cosine"):
        evaluate_stored(features, index, ProtocolConfig(name="llcm/full"), codec_of("fp32", features))
    with pytest.raises(UserError, match="extract one row per image"):
        evaluate_stored(features[:-1], index, ProtocolConfig(name="sysu/seeded"), codec_of("fp32", features))
    with pytest.raises(UserError, match=r"storage pca256: of 96 values there are .*; leave it out with --storage"):
        codec_of("pca256", features)


@pytest.mark.parametrize("name", ["fp32", "fp16", "int8", "pca64", "binary"])
def test_faiss_finds_the_same_rows(name):
    pytest.importorskip("faiss")
    from vireid.evaluation.faiss_gallery import FaissGallery

    codec = stand_in(name, WIDTH)
    rows = np.random.default_rng(1).standard_normal((3000, WIDTH), dtype=np.float32)
    ours, theirs = Gallery(codec, 3000), FaissGallery(codec, 1)
    for start in range(0, 3000, 1000):
        ours.fill(start, rows[start : start + 1000])
        theirs.add(rows[start : start + 1000])
    shared = []
    for query in np.random.default_rng(2).standard_normal((20, WIDTH), dtype=np.float32):
        found = theirs.search(query, 20)
        assert len(found) == 20
        shared.append(np.isin(found, ours.search(query, 20)).mean())
    # other 8-bit codes, and other rows of equal Hamming distance, move a row across the end of the list
    assert np.mean(shared) >= (0.9 if name in ("int8", "binary") else 0.99)
