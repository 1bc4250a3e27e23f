"""Loss terms against values measured with the public reference implementation of IDKL."""

import json
from pathlib import Path

import numpy as np
import pytest

from vireid.core.errors import UserError
from vireid.losses.terms import evaluate_terms

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize("case", ["a", "b"])
def test_every_term_equals_the_reference(case: str) -> None:
    expected = json.loads((GOLDEN / f"loss_{case}.json").read_text())
    measured = evaluate_terms(np.load(GOLDEN / f"loss_{case}.npz"))
    assert measured.keys() == expected.keys()
    for name, value in expected.items():
        assert measured[name] == pytest.approx(value, rel=1e-5), name


def test_row_order_of_the_modalities_within_an_identity_is_free() -> None:
    arrays = dict(np.load(GOLDEN / "loss_a.npz"))
    expected = evaluate_terms(arrays)
    # visible rows of each identity first, then its infrared rows: as another sampler would give them
    order = np.lexsort((arrays["infrared"], np.arange(16) // 4))
    measured = evaluate_terms({name: array[order] for name, array in arrays.items()})
    assert measured == pytest.approx(expected, rel=1e-5)


def test_missing_array_is_named() -> None:
    arrays = dict(np.load(GOLDEN / "loss_a.npz"))
    arrays["logits_share"] = arrays.pop("logits_shared")
    with pytest.raises(UserError, match="'logits_shared'; did you mean 'logits_share'"):
        evaluate_terms(arrays)
