"""A record as a row of values, without the samples of training, which are most of what a store holds.

Lists, joins and tables ask thousands of records for a few fields each. A row gives them as the record has them, by
path; records of one shape share a ``Layout``, so that a row is little more than its values.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vireid.core.records import Record

SAMPLES = ("curves", "step_seconds")  # of a fit: a row has their number in their place

Path = tuple[str | None, ...]  # of a field: the keys that lead to it


class Layout:
    """Which field each value of a row is, by its path in the record: plain fields first, as tables have them.

    A mapping that is empty ends in None, so that the record's parts can be put together again.
    """

    def __init__(self, paths: tuple[Path, ...]) -> None:
        self.paths = paths
        self.positions = {path: position for position, path in enumerate(paths)}
        self._parts: dict[str, list[tuple[Path, int]]] = {}

    @classmethod
    def of(cls, paths: tuple[Path, ...]) -> Layout:
        """The one layout of these paths in this process."""
        if paths not in _layouts:
            _layouts[paths] = cls(paths)
        return _layouts[paths]

    @cached_property
    def digest(self) -> str:
        """Names it."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    @cached_property
    def text(self) -> str:
        """Its paths as JSON."""
        return json.dumps(self.paths, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def parse(cls, text: str) -> Layout:
        """The layout that ``text`` describes."""
        return cls.of(tuple(tuple(path) for path in json.loads(text)))

    @cached_property
    def columns(self) -> list[tuple[str, int]]:
        """Names of its fields in a table, and their positions; an empty mapping has no field."""
        return [(".".join(map(str, p)), position) for p, position in self.positions.items() if p[-1] is not None]

    def part(self, name: str) -> list[tuple[Path, int]]:
        """Paths below a field, without its name, and their positions."""
        if name not in self._parts:
            below = ((path, position) for path, position in self.positions.items() if path[0] == name)
            self._parts[name] = [(path[1:], position) for path, position in below if len(path) > 1]
        return self._parts[name]


_layouts: dict[tuple[Path, ...], Layout] = {}


@dataclass(frozen=True, slots=True)
class RecordRow:
    """The fields of one record."""

    layout: Layout
    values: list[Any]

    @classmethod
    def of(cls, record: Record) -> RecordRow:
        """The row of a record."""
        written = record.model_dump(mode="json")
        for name in SAMPLES:
            if name in written:
                written[name] = len(written[name])
        fields = list(_fields(written))
        return cls(Layout.of(tuple(path for path, _ in fields)), [value for _, value in fields])

    def get(self, *path: str) -> Any:
        """A field's value as in the record's JSON; None where the record has no such field."""
        position = self.layout.positions.get(path)
        return None if position is None else self.values[position]

    def part(self, name: str) -> dict[str, Any]:
        """A field that is a mapping, such as a protocol card."""
        return self._together(self.layout.part(name))

    @property
    def has_samples(self) -> bool:
        """Whether the record has samples of training, which the row lacks."""
        return (SAMPLES[0],) in self.layout.positions

    def record(self) -> Record:
        """The record, a fit's without its samples."""
        from vireid.core.records import RECORD

        fields = ((path, position) for path, position in self.layout.positions.items() if path[0] not in SAMPLES)
        return RECORD.validate_python(self._together(fields))

    def _together(self, fields: Iterable[tuple[Path, int]]) -> dict[str, Any]:
        whole: dict[str, Any] = {}
        for path, position in fields:
            part = whole
            for key in path[:-1]:
                part = part.setdefault(str(key), {})
            if path[-1] is not None:
                part[path[-1]] = self.values[position]
        return whole

    @property
    def id(self) -> str:
        """Of the record."""
        return str(self.get("id"))

    @property
    def kind(self) -> str:
        """Fit, evaluation, cost, latency, gallery or search."""
        return str(self.get("kind"))

    @property
    def status(self) -> str:
        """Ok, failed or skipped."""
        return str(self.get("status"))

    @property
    def fit(self) -> str | None:
        """Id of the fit that an evaluation or a gallery is of."""
        return self.get("fit")  # type: ignore[no-any-return]

    @property
    def graph(self) -> str | None:
        """Digest of the deployed graph that a record is of; of an evaluation or a gallery, where it is of a file."""
        below = self.get("artefact", "graph")
        return self.get("artefact") if below is None else below  # type: ignore[no-any-return]

    @property
    def is_published(self) -> bool:
        """Whether its numbers are from print."""
        return bool(self.get("source", "kind") == "published")

    @property
    def is_result(self) -> bool:
        """Whether it holds numbers that were measured, by the suite or by another program."""
        return self.status == "ok" and self.get("source", "kind") == "measured"

    @property
    def method(self) -> str | None:
        """Whose features were scored; None of what the suite computed."""
        return self.get("source", "method")  # type: ignore[no-any-return]


def _fields(written: Mapping[str, Any]) -> Iterator[tuple[Path, Any]]:
    """Paths and values in the order of ``pandas.json_normalize``: what is no mapping, then mappings in depth."""
    for name, value in written.items():
        if not isinstance(value, Mapping):
            yield (name,), value
    for name, value in written.items():
        if isinstance(value, Mapping):
            yield from _below((name,), value)


def _below(path: Path, part: Mapping[str, Any]) -> Iterator[tuple[Path, Any]]:
    if not part:
        yield (*path, None), None
    for name, value in part.items():
        if isinstance(value, Mapping):
            yield from _below((*path, name), value)
        else:
            yield (*path, name), value
