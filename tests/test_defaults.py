"""Defaults are frozen: an identity leaves them out, so a changed default would give an old id to another run.

``tests/golden/defaults.json`` holds every default that a run identity leaves out, by class and component version. A new
key is added to it by ``VIREID_UPDATE_DEFAULTS=1 pytest tests/test_defaults.py``; a changed value needs a new version of
its component (or, in a recipe or protocol, a new key).
"""

import json
import os
import typing
from pathlib import Path

import pytest
from pydantic import BaseModel

from vireid.core.config import Component
from vireid.data.captions import CaptionConfig
from vireid.evaluation.protocols import ProtocolConfig
from vireid.evaluation.test_time import ModelProtocol
from vireid.experiment.identity import REGISTRIES
from vireid.profiling import RUNTIMES
from vireid.profiling.config import LatencyBudget
from vireid.training.config import RecipeConfig

GOLDEN = Path(__file__).parent / "golden" / "defaults.json"


def _nested(schema: type[BaseModel]) -> list[type[BaseModel]]:
    """The schema and every configuration class that its fields' types name."""
    found: list[type[BaseModel]] = [schema]

    def visit(annotation: object) -> None:
        configured = isinstance(annotation, type) and issubclass(annotation, BaseModel)
        if configured and annotation not in found and annotation is not Component:
            found.append(annotation)
            visit_fields(annotation)
        for argument in typing.get_args(annotation):
            visit(argument)

    def visit_fields(parent: type[BaseModel]) -> None:
        for field in parent.model_fields.values():
            visit(field.annotation)

    visit_fields(schema)
    return found


def _defaults(schema: type[BaseModel]) -> dict[str, object]:
    found = {}
    for key, field in schema.model_fields.items():
        if field.is_required() or key == "name":
            continue
        default = field.get_default(call_default_factory=True)
        found[key] = default.model_dump(mode="json") if isinstance(default, BaseModel) else default
    return json.loads(json.dumps(found, default=str))


def _current() -> dict[str, dict[str, object]]:
    current = {}
    for kind, registry in {**REGISTRIES, "runtime": RUNTIMES}.items():
        for name in registry.names():
            implementation = registry.load(name)
            for schema in _nested(implementation.Config):
                current[f"{kind} {name}, version {implementation.version}: {schema.__name__}"] = _defaults(schema)
    for root in (RecipeConfig, ProtocolConfig, ModelProtocol, CaptionConfig, LatencyBudget):
        current |= {schema.__name__: _defaults(schema) for schema in _nested(root)}
    return current


def test_no_default_has_changed_under_the_same_version():
    frozen = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.is_file() else {}
    current = _current()
    changed = [
        f"{owner}: {key} was {value!r}, is {current[owner].get(key)!r}"
        for owner, defaults in frozen.items()
        if owner in current
        for key, value in defaults.items()
        if key not in current[owner] or current[owner][key] != value
    ]
    assert not changed, "raise the component's version: " + "; ".join(changed)
    if os.environ.get("VIREID_UPDATE_DEFAULTS"):
        GOLDEN.write_text(json.dumps(frozen | current, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        return
    missing = [owner for owner in current if current[owner] != frozen.get(owner)]
    assert not missing, f"freeze the defaults of {missing} (see the head of this file)"


@pytest.mark.parametrize("owner", ["RecipeConfig", "ProtocolConfig", "AdamConfig", "CosineSchedule", "StageConfig"])
def test_the_frozen_defaults_hold_what_identities_leave_out(owner):
    assert owner in json.loads(GOLDEN.read_text(encoding="utf-8"))
