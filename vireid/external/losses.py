"""Loss terms of an architecture on arrays from a file: the check of an implementation without any network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vireid.core.errors import UserError, did_you_mean
from vireid.external.npz import Array, read_arrays
from vireid.losses.terms import ARRAYS, evaluate_terms
from vireid.models.importers import IMPORTERS

_PER_ROW = ("labels", "infrared")  # one entry per image; all others are matrices
_ALIKE = (
    ("shared", "specific"),
    ("logits_shared", "logits_specific"),
    ("raw_logits", "purified_logits"),
    ("normed", "normed_purified"),
)


def loss_terms_of_file(path: Path, arch: str) -> dict[str, float]:
    """Loss terms on the arrays of an ``.npz`` file, named as ``vireid.losses.terms.evaluate_terms`` lists them.

    The margin of the triplet terms is the architecture's.

    Raises:
        UserError: an array is missing, of another shape or kind or not finite, or the rows do not pair up.
    """
    margin: float = IMPORTERS.load(arch)().config().margin
    arrays = read_arrays(path)
    for name in ARRAYS:
        if name not in arrays:
            raise UserError(f"{path}: has no array '{name}'{did_you_mean(name, arrays)}")
        _check(path, name, arrays)
    for first, second in _ALIKE:
        if arrays[first].shape != arrays[second].shape:
            raise UserError(
                f"{path}: arrays '{first}' {arrays[first].shape} and '{second}' {arrays[second].shape} differ in shape"
            )
    return evaluate_terms({**arrays, "infrared": arrays["infrared"].astype(bool)}, margin)


def _check(path: Path, name: str, arrays: Mapping[str, Array]) -> None:
    array, rows = arrays[name], arrays["labels"].shape[:1]
    if array.ndim != (1 if name in _PER_ROW else 2) or array.shape[:1] != rows or 0 in array.shape:
        expected = "B" if name in _PER_ROW else "B×C" if "logits" in name else "B×D"
        raise UserError(f"{path}: array '{name}' has shape {array.shape}; expected {expected}, B rows as in 'labels'")
    if name == "labels":
        valid, needs = array.dtype.kind in "iu", "identity numbers"
    elif name == "infrared":
        valid, needs = array.dtype.kind in "iub" and bool(np.isin(array, (0, 1)).all()), "True for infrared rows"
    else:
        valid, needs = array.dtype.kind == "f" and bool(np.isfinite(array).all()), "finite floats"
    if not valid:
        held = "NaN or infinity" if array.dtype.kind == "f" and needs == "finite floats" else str(array.dtype)
        raise UserError(f"{path}: array '{name}' must hold {needs}, not {held}")
