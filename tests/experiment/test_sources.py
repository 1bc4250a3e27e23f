"""Stale marks: which code they cover, and what is declared to give the same results."""

import importlib
from pathlib import Path

import pytest

from vireid.core import registry
from vireid.core.records import ComponentStamp, read_record
from vireid.experiment import sources
from vireid.experiment.sources import equivalents, part_stamp, same_results, stale_parts

ROOT = Path(__file__).parents[2]
OLD = ROOT / "tests" / "historic_records"


@pytest.fixture(autouse=True)
def _fresh():
    yield
    sources._as_good_as.cache_clear()


def _covered(part):
    modules = [source for source in sources._PARTS[part] if ":" not in source]
    return {Path(file).relative_to(ROOT).as_posix() for module in modules for file in registry._sources(module)}


def test_what_decides_a_result_is_covered():
    both = {"core/seeding.py", "data/cache.py", "data/loader.py", "data/images.py", "data/augmentation.py"}
    training = {
        *both,
        *(f"training/{name}.py" for name in ("run", "loop", "optimisers", "schedules")),
    }
    names = ("metrics", "ranks", "trials", "extraction", "reranking", "evaluate")
    evaluating = {*both, *(f"evaluation/{name}.py" for name in names)}
    for part, needed in (("trainer", training), ("evaluator", evaluating)):
        assert {f"vireid/{name}" for name in needed} <= _covered(part)


def test_every_function_that_is_named_is_there():
    for source in (source for part in sources._PARTS.values() for source in part if ":" in source):
        module, _, function = source.partition(":")
        assert callable(getattr(importlib.import_module(module), function)), source


def _record(kind, **parts):
    record = read_record((OLD / f"v1-{kind}.json").read_bytes(), kind)
    known = {
        name: stamp.model_copy(update={"digest": sources.REGISTRIES[name].source_digest(stamp.name)})
        for name, stamp in record.components.items()
    }
    return record.model_copy(update={"components": {**known, **parts}})


def _stale(record):
    return stale_parts([record]).get(record.id, [])


def test_a_changed_evaluator_marks_evaluations_and_a_changed_trainer_both():
    now = {part: part_stamp(part) for part in ("trainer", "evaluator")}
    other = ComponentStamp(name="evaluator", version="1", digest="tree:000000000000")
    assert _stale(_record("evaluation", **now)) == []
    assert _stale(_record("evaluation", **{**now, "evaluator": other})) == ["evaluator"]
    assert _stale(_record("fit", trainer=now["trainer"])) == []
    assert _stale(_record("fit")) == ["trainer (not recorded)"], "too old to say what trained it"
    assert _stale(_record("cost")) == [], "a cost rests on the model alone"


def test_a_part_that_is_unknown_now_is_stale():
    other = ComponentStamp(name="gone", version="1", digest="tree:000000000000")
    assert "model gone" in _stale(_record("fit", model=other))
    assert "sensor gone" in _stale(_record("fit", sensor=other))


def test_a_declaration_counts_for_the_source_it_was_made_with(monkeypatch):
    now = part_stamp("evaluator").digest
    entry = sources.Equivalent(part="evaluator evaluator", digests=["unrecorded"], same_as=now, shown_by="x")
    lapsed = entry.model_copy(update={"digests": ["other"], "same_as": "tree:000000000000"})
    monkeypatch.setattr(sources, "equivalents", lambda: (entry, lapsed))
    sources._as_good_as.cache_clear()
    assert same_results("evaluator", "evaluator", "unrecorded")
    assert not same_results("evaluator", "evaluator", "other")
    assert not same_results("trainer", "trainer", "unrecorded")


@pytest.mark.parametrize("entry", equivalents(), ids=lambda entry: entry.part)
def test_declarations_name_a_test_that_is_there(entry):
    if entry.shown_by != "the same bytes":
        file, _, name = entry.shown_by.partition("::")
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8")
