"""Cells that begin with, or learn from, the fit of another cell of their study at the same seed.

``start_from={cell: small_96x36}`` and ``model.teacher={cell: small_96x36}`` become the ids of these fits when the study
is planned, so that a study needs no id written by hand and takes any seed.
"""

from collections.abc import Callable, Sequence
from typing import Any

import yaml

from vireid.ablation.study import Study, level_name
from vireid.core.errors import UserError, did_you_mean
from vireid.core.plan import Cell
from vireid.overrides import override_key

_ID_KEY = {"start_from": None, "model.teacher": "run"}  # what takes the id: the key itself, or a key of its mapping


def resolve(overrides: Sequence[str], fit_of: Callable[[str], str]) -> list[str]:
    """Overrides with the cells that they name replaced by ids.

    Args:
        overrides: of a cell.
        fit_of: name of a cell → id of its fit at the cell's seed.
    """
    return [_resolved(override, fit_of) for override in overrides]


def find_cell(name: str, cells: Sequence[Cell], study: Study) -> Cell:
    """The cell of that name, or the one that differs from the baseline in the level of that name alone.

    Raises:
        UserError: no such cell, or several.
    """
    for cell in cells:
        if cell.name == name:
            return cell
    levels = [(factor, name) for factor, known in study.factors.items() if name in known]
    if len(levels) > 1:
        several = " and ".join(f"{factor}={level}" for factor, level in levels)
        raise UserError(f"{{cell: {name}}} is {several}: give the cell's whole name")
    wanted = {**study.baseline, **dict(levels)}
    alone = next((cell for cell in cells if levels and cell.factors == wanted and cell.control is None), None)
    if alone is None:
        known = [*(cell.name for cell in cells), *(level for levels in study.factors.values() for level in levels)]
        raise UserError(f"{{cell: {name}}}: the study plans no such cell{did_you_mean(name, known)}")
    return alone


def _resolved(override: str, fit_of: Callable[[str], str]) -> str:
    key = override_key(override)
    if key not in _ID_KEY:
        return override
    try:
        value: Any = yaml.safe_load(override.partition("=")[2])
    except yaml.YAMLError:
        return override  # composing names the fault
    if not isinstance(value, dict) or "cell" not in value:
        return override
    run = fit_of(level_name(value["cell"]))
    others = {name: other for name, other in value.items() if name != "cell"}
    inner = _ID_KEY[key]
    if inner is None:
        if others:
            raise UserError(f"'{override}': beside 'cell' nothing may be set; found {', '.join(map(str, others))}")
        return f"{key}='{run}'"
    mapping = {inner: run, **others}
    return f"{key}={{{', '.join(f'{name}: {_quoted(item)}' for name, item in mapping.items())}}}"


def _quoted(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else str(value)
