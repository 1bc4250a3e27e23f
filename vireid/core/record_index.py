"""An index of a large store's records, so that lists and joins read what has changed since, and no more.

It is a copy that can be thrown away at any time: in the user's cache folder, since a store may be read-only, committed
or on a disk of several machines, where SQLite's locks cannot be relied upon. A row of it stands for a record as long as
size, times of change and inode of the record's file are those of when it was read. A file that was touched in the last
two seconds is not entered, as a second change within one tick of the clock would show in none of these.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import time
import zlib
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path

import pydantic_core

import vireid.core
from vireid.core.collector import collector_paused
from vireid.core.errors import UserError
from vireid.core.identity import is_run_id
from vireid.core.record_row import Layout, RecordRow
from vireid.core.records import read_record

WORTHWHILE = 200  # records of a store from which on it has an index: fewer are read at once
SETTLED_SECONDS = 2.0  # since a file's last change: coarser clocks are of file systems that nobody keeps records on
_KEPT_SECONDS = 60 * 24 * 3600.0  # an index that nobody asked for so long is of a store that has gone, or of older code
_UNUSABLE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)  # not: busy, full, read-only
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS layouts (digest TEXT PRIMARY KEY, paths TEXT)",
    "CREATE TABLE IF NOT EXISTS records "
    "(name TEXT PRIMARY KEY, stamp TEXT, layout TEXT, content BLOB, checksum INTEGER)",
)

Stamp = str  # of a file: size, times of modification and change in nanoseconds, inode


class RecordIndex:
    """Rows of the finished records in one folder.

    Args:
        runs: the folder.
    """

    def __init__(self, runs: Path) -> None:
        self._runs = runs
        self._known: dict[str, tuple[Stamp, RecordRow]] = {}  # by name of the file
        self._loaded = False

    def rows(self) -> Iterator[RecordRow | UserError]:
        """The row of each record in order of id, or why it cannot be read."""
        there = _stamps(self._runs)
        if not self._loaded and len(there) >= WORTHWHILE:
            self._known, self._loaded = self._load(), True
        fresh: dict[str, tuple[Stamp, RecordRow]] = {}
        outcome: list[RecordRow | UserError] = []
        for name, stamp in sorted(there.items()):
            known = self._known.get(name)
            if known is not None and known[0] == stamp:
                outcome.append(known[1])
                continue
            try:
                row, settled = self._read(name)
            except (UserError, OSError) as error:
                outcome.append(error if isinstance(error, UserError) else UserError(str(error)))
                continue
            outcome.append(row)
            if settled is not None:
                fresh[name] = settled, row
        gone = self._known.keys() - there.keys()
        self._known = {name: known for name, known in self._known.items() if name not in gone} | fresh
        if (fresh or gone) and len(there) >= WORTHWHILE:
            self._save(fresh, gone)
        yield from outcome

    def _read(self, name: str) -> tuple[RecordRow, Stamp | None]:
        """A record's row, and the stamp of its file where that can be relied upon."""
        path = self._runs / name
        with path.open("rb") as file:
            before = os.fstat(file.fileno())
            content = file.read()
            after = os.fstat(file.fileno())
        settled = time.time_ns() - max(after.st_mtime_ns, after.st_ctime_ns) > SETTLED_SECONDS * 1e9
        unchanged = _stamp(before) == _stamp(after)
        return RecordRow.of(read_record(content, str(path))), _stamp(after) if settled and unchanged else None

    @property
    def file(self) -> Path:
        """Where it is kept; each version of the code that makes rows has its own."""
        root = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
        store = hashlib.sha256(os.fsencode(self._runs.resolve())).hexdigest()[:16]
        return root.expanduser() / "vireid" / "records" / f"{store}-{_version()}.sqlite"

    def _load(self) -> dict[str, tuple[Stamp, RecordRow]]:
        """What is indexed; nothing where there is no index, or none that can be read."""
        try:
            with contextlib.closing(self._connect(create=False)) as database:
                pairs = database.execute("SELECT digest, paths FROM layouts").fetchall()
                entries = database.execute("SELECT name, stamp, layout, content, checksum FROM records").fetchall()
        except (OSError, RuntimeError):  # RuntimeError: a user without a home folder
            return {}
        except sqlite3.Error as error:
            self._discard(error)
            return {}
        layouts = {digest: layout for digest, text in pairs if (layout := _layout(digest, text)) is not None}
        known: dict[str, tuple[Stamp, RecordRow]] = {}
        with collector_paused():
            for name, stamp, digest, content, checksum in entries:
                whole = isinstance(content, bytes) and checksum == _checksum(name, stamp, digest, content)
                if whole and digest in layouts:
                    known[name] = stamp, RecordRow(layouts[digest], pydantic_core.from_json(content))
        return known

    def _save(self, fresh: Mapping[str, tuple[Stamp, RecordRow]], gone: Collection[str]) -> None:
        """Enter rows, all or none; without an index everything works, so that what forbids one is not told."""
        layouts = {row.layout.digest: row.layout.text for _, row in fresh.values()}
        entries = [_entry(name, stamp, row) for name, (stamp, row) in fresh.items()]
        try:
            with contextlib.closing(self._connect(create=True)) as database, database:
                database.execute("BEGIN IMMEDIATE")
                database.executemany("INSERT OR REPLACE INTO layouts VALUES (?, ?)", layouts.items())
                database.executemany("INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?)", entries)
                database.executemany("DELETE FROM records WHERE name = ?", [(name,) for name in gone])
        except (OSError, RuntimeError):
            return
        except sqlite3.Error as error:
            self._discard(error)

    def _connect(self, *, create: bool) -> sqlite3.Connection:
        file = self.file
        if create and not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            _drop_forgotten(file.parent)
        elif not file.exists():
            raise FileNotFoundError(file)
        with contextlib.suppress(OSError):
            os.utime(file)  # that somebody asked for it
        database = sqlite3.connect(file, timeout=5.0)
        try:
            if create:
                for statement in _SCHEMA:
                    database.execute(statement)
        except BaseException:
            database.close()
            raise
        return database

    def _discard(self, error: sqlite3.Error) -> None:
        """Remove an index that is damaged; whoever comes next makes a new one."""
        if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF in _UNUSABLE:
            for suffix in ("", "-journal"):
                with contextlib.suppress(OSError):
                    self.file.with_name(self.file.name + suffix).unlink()


def _stamps(runs: Path) -> dict[str, Stamp]:
    """Of the records in a folder, by name."""
    stamps: dict[str, Stamp] = {}
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(runs) as entries:
        for entry in entries:
            stem, _, ending = entry.name.partition(".")
            if ending == "json" and is_run_id(stem):
                with contextlib.suppress(FileNotFoundError):  # another process has just taken it away
                    stamps[entry.name] = _stamp(entry.stat())
    return stamps


def _stamp(status: os.stat_result) -> Stamp:
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def _entry(name: str, stamp: Stamp, row: RecordRow) -> tuple[str, Stamp, str, bytes, int]:
    content = json.dumps(row.values, ensure_ascii=False, separators=(",", ":")).encode()
    digest = row.layout.digest
    return name, stamp, digest, content, _checksum(name, stamp, digest, content)


def _checksum(name: str, stamp: Stamp, layout: str, content: bytes) -> int:
    """SQLite notices a damaged page only where its structure suffers."""
    return zlib.crc32(content, zlib.crc32(f"{name} {stamp} {layout}".encode()))


def _layout(digest: str, text: str) -> Layout | None:
    try:
        layout = Layout.parse(text)
    except (TypeError, ValueError):
        return None
    return layout if layout.digest == digest else None


@cache
def _version() -> str:
    """Digest of the code that says what records are: rows of other code may lack a field or hold another default."""
    sources = sorted(Path(vireid.core.__file__).parent.glob("*.py"))
    content = b"".join(source.read_bytes() for source in sources)
    return hashlib.sha256(content + pydantic_core.__version__.encode()).hexdigest()[:16]


def _drop_forgotten(folder: Path) -> None:
    for file in folder.glob("*.sqlite"):
        with contextlib.suppress(OSError):
            if time.time() - file.stat().st_mtime > _KEPT_SECONDS:
                file.unlink()
