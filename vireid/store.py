"""The record store: atomic writes, lookup by id, query to a DataFrame.

Layout under the store's root (``results/local`` unless told otherwise)::

    runs/<id>.json               one record, status ok or skipped
    runs/<id>.failed-<n>.json    a failed attempt; never read as a result, retried next time
    runs/<id>/                   its artefacts: log, checkpoint, weights, per-query Parquet
    studies/<name>/plan.json     cells (factors, seed) -> ids
    studies/<name>/report/       rendered report
    leases/<name>.lease          which process is at a fit, see ``vireid.core.lease``
    devices/<device>/<digest>.json   what others measured on boards of theirs, see ``vireid.core.contribution``;
                                 of the store ``local`` beside it, where files are committed
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from vireid.core.collector import collector_paused
from vireid.core.errors import UserError
from vireid.core.files import file_digest
from vireid.core.identity import is_run_id
from vireid.core.record_index import RecordIndex
from vireid.core.record_row import RecordRow
from vireid.core.record_table import record_table
from vireid.core.records import Record, read_record, read_samples

if TYPE_CHECKING:  # imported where they are asked for: listings and plans do without
    import pandas as pd

    from vireid.core.contribution import Contribution
    from vireid.core.lease import Lease
    from vireid.remote.lease import RemoteLease

DIGEST_LENGTH = 16  # hex digits of a contributed file's digest that name it
_AGREE_SECONDS = 3.0  # while the first of several processes may still be writing
logger = logging.getLogger(__name__)  # a warning goes to standard error, one line, unless a program says otherwise


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file whole or not at all: a temporary sibling, flushed to disk, then renamed.

    Raises:
        UserError: the place is not writable or the disk is full.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> UserError:
    """Turn an operating-system error about ``path`` into a message with a remedy."""
    if error.errno == errno.ENOSPC:
        return UserError(f"{path}: the disk is full; free some space and run the same command again")
    return UserError(
        f"{path}: cannot write ({error.strerror}); choose another directory with --store or fix its permissions"
    )


class Store:
    """A directory of records."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.runs = root / "runs"
        self._index = RecordIndex(self.runs)
        self._told: set[str] = set()  # of what could not be read, so that a command says it once

    def prepare(self) -> None:
        """Create the store and make sure that it can be written.

        Raises:
            UserError: it cannot.
        """
        write_atomically(self.runs / ".writable", "")
        (self.runs / ".writable").unlink(missing_ok=True)

    def directory(self, run: str) -> Path:
        """Folder of a run's artefacts."""
        return self.runs / run

    def study(self, name: str) -> Path:
        """Folder of a study's plan and report."""
        return self.root / "studies" / name

    @property
    def devices(self) -> Path:
        """Folder of contributed files: they are committed, so that those of ``results/local`` are in ``results``."""
        return (self.root.parent if self.root.name == "local" else self.root) / "devices"

    def contributions(self) -> Iterator[tuple[str, Contribution]]:
        """Contributed files with their digests, in order of place; those of no schema are left out with one word.

        Whether their numbers can be true was asked when they were added, and is in continuous integration.
        """
        from vireid.core.contribution import parse_contribution
        from vireid.core.untrusted import read_bytes, read_plain

        for path in sorted(self.devices.glob("*/*.json")):
            try:
                yield path.stem, parse_contribution(read_plain(read_bytes(path), str(path)), str(path))
            except UserError as error:
                if str(error) not in self._told:
                    self._told.add(str(error))
                    logger.warning("1 contributed file is left out: %s", str(error).splitlines()[0])

    def artefact(self, run: str, name: str) -> Path:
        """Where a file of a run lies; where the store is a copy of one behind a URL, it is fetched from there first."""
        from vireid.remote.copy import copy_at

        file = self.directory(run) / name
        if not file.exists() and (remote := copy_at(self.root)) is not None:
            remote.fetch(file)
        return file

    def has_artefact(self, run: str, name: str) -> bool:
        """Whether ``artefact`` would find the file, without fetching it."""
        from vireid.remote.copy import copy_at

        file = self.directory(run) / name
        return file.is_file() or ((remote := copy_at(self.root)) is not None and remote.lies_there(file))

    def lease(self, name: str) -> Lease | RemoteLease:
        """What one process at a time may do in this store, under that name."""
        from vireid.core.lease import Lease
        from vireid.remote.copy import copy_at
        from vireid.remote.lease import RemoteLease

        if (remote := copy_at(self.root)) is not None:
            return RemoteLease(remote, name)
        return Lease(self.root / "leases" / f"{name}.lease")

    def put(self, record: Record) -> Path:
        """Write a record; a failed one gets a name of its own and never hides a result."""
        path = self.runs / f"{record.id}.json"
        if record.status == "failed":
            attempt = len(list(self.runs.glob(f"{record.id}.failed-*.json"))) + 1
            path = self.runs / f"{record.id}.failed-{attempt}.json"
        write_atomically(path, json.dumps(record.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n")
        return path

    def get(self, run: str) -> Record | None:
        """The finished record of that id, or None."""
        path = self.runs / f"{run}.json"
        return read_record(path.read_bytes(), str(path)) if path.is_file() else None

    def find(self, prefix: str) -> Record:
        """The finished record whose id starts with ``prefix``.

        Raises:
            UserError: none, or several.
        """
        matches = sorted(p.stem for p in self.runs.glob(f"{prefix}*.json") if is_run_id(p.stem))
        if len(matches) != 1:
            matched = f"{len(matches)} records match" if matches else "no record matches"
            raise UserError(f"run '{prefix}': {matched} in {self.runs}; `vireid results list` shows what is there")
        record = self.get(matches[0])
        assert record is not None
        return record

    def rows(self) -> Iterator[RecordRow]:
        """Fields of all finished records, in order of id; those that cannot be read are left out with one word for all.

        Of a large store only files that have changed since somebody asked are read (``vireid.core.record_index``).
        """
        refused: list[str] = []
        for row in self._index.rows():
            if isinstance(row, UserError):
                refused.append(str(row))
            else:
                yield row
        self._tell(refused)

    def records(self, where: Callable[[RecordRow], bool] | None = None) -> Iterator[Record]:
        """Finished records, in order of id; those that cannot be read are left out with one word for all.

        Args:
            where: which ones, by their fields; all by default. The others are not read.
        """
        if where is None:
            return self._readable(path for path in sorted(self.runs.glob("*.json")) if is_run_id(path.stem))
        return self._readable(self.runs / f"{row.id}.json" for row in self.rows() if where(row))

    def records_of(self, ids: Iterable[str]) -> Iterator[Record]:
        """Finished records of these ids, in their order; those that cannot be read are left out likewise."""
        return self._readable(self.runs / f"{id_}.json" for id_ in ids)

    def failures(self) -> Iterator[Record]:
        """All failed attempts; those that cannot be read are left out likewise."""
        return self._readable(sorted(self.runs.glob("*.failed-*.json")))

    def _readable(self, paths: Iterable[Path]) -> Iterator[Record]:
        refused: list[str] = []
        for path in paths:
            try:
                record = read_record(path.read_bytes(), str(path))
            except (UserError, OSError) as error:
                refused.append(str(error))
                continue
            yield record
        self._tell(refused)

    def _tell(self, refused: list[str]) -> None:
        if refused and refused[0] not in self._told:
            self._told.add(refused[0])
            plural = "1 record is" if len(refused) == 1 else f"{len(refused)} records are"
            logger.warning("%s left out; the first: %s", plural, refused[0])

    def query(self, kind: str | None = None, **equal: Any) -> pd.DataFrame:
        """Finished records as a table, nested fields as dotted columns.

        ``equal`` keeps rows whose column has that value; dots are written as double underscores
        (``protocol__name="sysu/official"``).
        """
        with collector_paused():
            table = record_table([row for row in self.rows() if kind in (None, row.kind)], self._samples)
        for name, value in equal.items():
            column = name.replace("__", ".")
            if column not in table.columns:
                return table.iloc[0:0]
            table = table[table[column] == value]
        return table.reset_index(drop=True)

    def _samples(self, row: RecordRow) -> dict[str, list[Any]]:
        path = self.runs / f"{row.id}.json"
        return read_samples(path.read_bytes(), str(path))

    def per_query(self, record: Record) -> pd.DataFrame | None:
        """The per-query table of an evaluation, checked against its digest.

        Raises:
            UserError: the file is missing or is not the one the record speaks of.
        """
        name = getattr(record, "per_query_file", None)
        if name is None:
            return None
        path = self.runs / name
        if not path.is_file():
            raise UserError(f"{path}: the per-query table of run {record.id} is missing; evaluate the run again")
        if file_digest(path) != getattr(record, "per_query_digest", None):
            raise UserError(f"{path}: differs from the digest in record {record.id}; evaluate the run again")
        import pandas as pd

        return pd.read_parquet(path)

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold a lock of that name; a second process gets a message instead of a race. Freed when a process dies.

        Raises:
            UserError: another process holds it, or the store cannot be written.
        """
        import fcntl

        with self._lock_file(name) as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(
                    f"{handle.name}: another vireid process is working on '{name}'; wait for it to end"
                ) from error
            yield

    @contextlib.contextmanager
    def agreed(self, name: str, path: Path, content: str) -> Iterator[None]:
        """Several processes at once, as long as they agree on a file; whoever comes first writes it.

        Args:
            name: of their lock.
            path: of the file.
            content: what it is to say.

        Raises:
            UserError: others are at work who agreed on something else, or the store cannot be written.
        """
        with self._lock_file(name) as handle:
            begin = time.monotonic()
            while not self._agrees(handle, path, content):
                if time.monotonic() - begin > _AGREE_SECONDS:
                    raise UserError(
                        f"{handle.name}: another vireid process is working on '{name}' with another {path.name}; wait "
                        "for it to end, or start both with the same command"
                    )
                time.sleep(0.05)
            yield

    @staticmethod
    def _agrees(handle: IO[str], path: Path, content: str) -> bool:
        import fcntl

        with contextlib.suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            write_atomically(path, content)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return path.is_file() and path.read_text(encoding="utf-8") == content
        return False

    @contextlib.contextmanager
    def _lock_file(self, name: str) -> Iterator[IO[str]]:
        path = self.root / f".{name}.lock"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = path.open("w")
        except OSError as error:
            raise unwritable(path, error) from error
        with handle:
            yield handle
