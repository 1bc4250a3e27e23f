"""Chance level: the scores that a ranking drawn at random would have on the same queries and gallery."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from vireid.core.records import EvaluationRecord

FloatArray = npt.NDArray[np.float64]
EXACT = "from each query's own share of matches in its filtered gallery"
EVEN = "1 ÷ number of identities, as if the gallery were spread evenly over them"


@dataclass(frozen=True)
class Chance:
    """Expected R1 and mAP of a random ranking, as fractions; ``basis`` says what they were computed from."""

    r1: float
    mean_ap: float | None  # None where the size of the gallery that a query sees is not known
    basis: str


def chance_level(table: pd.DataFrame, evaluation: EvaluationRecord) -> Chance:
    """Chance level of an evaluation.

    Exact where its per-query table has the columns ``candidates`` (gallery images left after the protocol's filter)
    and ``matches`` (those of the query's identity among them). Otherwise the identities among the scored queries stand
    in for R1, and for mAP, which depends on how long the ranking is, the size of the gallery on the protocol card, but
    only under a protocol that leaves no image out of it.
    """
    valid = table[table.valid.to_numpy(dtype=bool)]
    if {"candidates", "matches"} <= set(valid.columns):
        candidates, matches = (valid[name].to_numpy(dtype=float) for name in ("candidates", "matches"))
        expected = expected_average_precision(candidates, matches)
        return Chance(float((matches / candidates).mean()), float(expected.mean()), EXACT)
    identities = valid.identity.nunique()
    gallery, mean_ap = evaluation.card.gallery, None
    if isinstance(gallery, int) and evaluation.card.camera_rule == "none":
        mean_ap = float(expected_average_precision(np.array([gallery]), np.array([gallery / identities]))[0])
    return Chance(1 / identities, mean_ap, EVEN)


def expected_average_precision(candidates: FloatArray, matches: FloatArray) -> FloatArray:
    """Expected AP of a random order of ``candidates`` images of which ``matches`` are right, elementwise.

    An image at rank i is a match with probability m/n, and then expects (i−1)(m−1)/(n−1) matches before it; summed over
    ranks and divided by m: (H_n + (n − H_n)(m − 1)/(n − 1)) / n, with H_n the n-th harmonic number.
    """
    n, m = np.asarray(candidates, dtype=float), np.asarray(matches, dtype=float)
    harmonic = np.cumsum(1 / np.arange(1, int(n.max()) + 1))[n.astype(int) - 1]
    return np.asarray((harmonic + (n - harmonic) * (m - 1) / np.maximum(n - 1, 1)) / n)
