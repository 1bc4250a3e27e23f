"""Strict configuration names what is wrong, where, and the nearest valid name."""

import importlib
from typing import Literal

import pytest

from vireid.core.config import Component, Strict, canonical_json, component, parse
from vireid.core.errors import UserError
from vireid.core.registry import Registry


class Inner(Strict):
    margin: float = 0.3
    kind: Literal["batch-hard", "weighted"] = "batch-hard"


class Outer(Strict):
    inner: Inner = Inner()


class Plain(Component):
    size: int = 1


class Thing:
    Config = Plain
    version = "1"


class NoVersion:
    Config = Plain


REGISTRY = Registry(
    "thing", {"thing": f"{__name__}:Thing", "lost": f"{__name__}:Thong", "bare": f"{__name__}:NoVersion"}
)


class Holder(Strict):
    thing: component(REGISTRY)  # type: ignore[valid-type]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"inner": {"margn": 1}}, "file.yaml: inner.margn: unknown key 'margn'; did you mean 'margin'?"),
        ({"iner": {}}, "file.yaml: iner: unknown key 'iner'; did you mean 'inner'?"),
        ({"inner": {"kind": "batchhard"}}, "did you mean 'batch-hard'?"),
        ({"inner": {"margin": "wide"}}, "file.yaml: inner.margin = 'wide': Input should be a valid number"),
        ({"inner": {"margin": float("nan")}}, "inner.margin"),
    ],
)
def test_parse_names_the_fault(data, message):
    with pytest.raises(UserError) as error:
        parse(Outer, data, "file.yaml")
    assert message in str(error.value)


def test_every_fault_gets_a_line():
    with pytest.raises(UserError) as error:
        parse(Outer, {"inner": {"margin": "x", "kind": "y"}}, "file.yaml")
    assert len(str(error.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"name": "thng"}, "unknown thing 'thng'; did you mean 'thing'?"),
        ({"name": "thing", "sise": 2}, "did you mean 'size'?"),
        ({"size": 2}, "a thing needs a 'name'"),
        ({"name": "lost"}, "has no 'Thong'; did you mean 'Thing'?"),
        ({"name": "bare"}, "lacks the attribute 'version'"),
        ({"name": "nowhere:Thing"}, "module 'nowhere' not found"),
    ],
)
def test_components_are_validated_by_their_own_config(data, message):
    with pytest.raises(UserError) as error:
        parse(Holder, {"thing": data}, "file.yaml")
    assert message in str(error.value)


def test_component_keeps_its_own_fields_through_json():
    holder = parse(Holder, {"thing": {"name": "thing", "size": 3}}, "test")
    assert holder.model_dump(mode="json") == {"thing": {"name": "thing", "size": 3}}
    assert parse(Holder, holder.model_dump(mode="json"), "test") == holder


def test_a_plug_in_is_found_by_module_and_class():
    assert REGISTRY.load(f"{__name__}:Thing") is Thing


def test_canonical_json_is_one_text_for_equal_values():
    assert (
        canonical_json({"b": 1, "a": [1.0, "é"]})
        == canonical_json({"a": [1.0, "é"], "b": 1})
        == '{"a":[1.0,"é"],"b":1}'
    )
    with pytest.raises(ValueError, match="Out of range"):
        canonical_json(float("nan"))


def test_source_digest_follows_what_the_module_and_its_imports_do_and_nothing_else(tmp_path, monkeypatch):
    from vireid.core import registry

    package = tmp_path / "grown"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))

    def digest(whole, files, source="grown.whole") -> str:
        for name, text in {**files, "whole": whole}.items():
            (package / f"{name}.py").write_text(text)
        registry._sources.cache_clear()
        registry._essence.cache_clear()
        importlib.invalidate_caches()
        return registry.source_digest(source)

    whole = "from grown.part import X\nclass Whole:\n    def value(self): return X\n"
    said = (
        '"""Module."""\nfrom grown.part import X  # why\n\n\n'
        'class Whole:\n    """Class."""\n    def value(self):\n        """What."""\n        return X\n'
    )
    before = digest(whole, {"part": "X = 1\n"})
    assert digest(said, {"part": "X = 1  # one\n"}) == before
    assert digest(whole.replace("grown.part", ".part"), {}) == before, "relative imports are followed, too"
    assert digest(whole.replace("grown.part", "grown.moved"), {"moved": "X = 1\n"}) == before
    assert digest("X = 1\nclass Whole:\n    def value(self): return X\n", {}) == before, "two files made one"
    described = "class Whole:\n    size: int = 1\n{}    def value(self): return X\n"
    assert digest(described.format('    """In pixels."""\n'), {}) == digest(described.format(""), {})
    renamed = whole.replace("import X", "import {} as X")
    assert digest(renamed.format("Y"), {"part": "X = Y = 1\n"}) != digest(renamed.format("Z"), {})
    assert digest(whole, {"part": "X = 2\n"}) != before
    assert digest(whole.replace("return X", "return -X"), {"part": "X = 1\n"}) != before
    one = digest("def a(): return 1\ndef b(): return 2\n", {}, "grown.whole:a")
    assert digest("def a(): return 1\ndef b(): return 3\n", {}, "grown.whole:a") == one
    assert digest("def a(): return 4\ndef b(): return 3\n", {}, "grown.whole:a") != one
    table = "from vireid.core.registry import Registry\nTABLE = Registry('thing', {})\nX = 1\n"
    assert digest(whole, {"part": table.replace("{}", "{'a': 'b:C'}")}) == digest(whole, {"part": table}), "a table"
    assert Registry("thing", {"whole": "grown.whole:Whole"}).source_digest("whole") == registry.source_digest(
        "grown.whole"
    )
