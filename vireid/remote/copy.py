"""Stores behind a URL, such as ``s3://bucket/runs``: on any file system that fsspec knows.

Commands work on a copy in the user's cache folder, which is a store like any other. It is brought up to date when it is
opened and whenever a lease is taken; what has appeared in it is sent when a lease is given back and when the command
ends, records after the files that belong to them. What could not be sent stays in the copy, and the next command sends
it. Weights are fetched when they are asked for. Images, checkpoints and what begins with a dot are not sent.

A finished record is never overwritten: whoever was first has made it, and other copies take it over.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from vireid.core.errors import UserError, did_you_mean
from vireid.core.identity import is_run_id
from vireid.store import unwritable, write_atomically

MARK = ".remote.json"  # in a copy: its URL, and of what both sides have, the stamps on either
_TOGETHER = 64  # files of one request
_ASKED_FOR = ("model.safetensors",)  # large, and of no use to a report
_STAYS = (".pkl", "checkpoint.pt")  # by their ends: pickles run code where they are read
_STAYING_FOLDERS = ("data", "cache", "leases")
_STAMPS = ("ETag", "etag", "md5Hash", "checksum", "mtime", "LastModified", "last_modified", "updated", "created")
logger = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]


def silent(phase: str, done: int, total: int) -> None:
    """Show nothing."""


def is_url(store: str | Path) -> bool:
    """Whether a store is named by a URL; otherwise by its folder."""
    return "://" in str(store)


def store_folder(store: str | Path) -> Path:
    """The folder of a store: where it is named by a URL, that of its copy, up to date.

    Raises:
        UserError: as ``open_copy``.
    """
    return open_copy(str(store), silent).root if is_url(store) else Path(store)


def open_copy(url: str, progress: Progress) -> RemoteCopy:
    """The store behind a URL, its copy up to date.

    Raises:
        UserError: a URL of no known kind or with a password in it, a package that is missing, nobody there, no right to
            read, or a copy that cannot be written.
    """
    copy = RemoteCopy(url)
    copy.begin()
    copy.push(progress)
    copy.pull(progress)
    return copy


def copy_at(root: Path) -> RemoteCopy | None:
    """The store that a folder is a copy of, if it is one."""
    try:
        mark = json.loads((root / MARK).read_bytes())
    except FileNotFoundError:
        return None
    return RemoteCopy(mark["url"], root)


class RemoteCopy:
    """A store behind a URL and its copy, by default the one in the user's cache folder."""

    def __init__(self, url: str, root: Path | None = None) -> None:
        if urlsplit(url).password is not None:
            raise UserError(
                "--store: the URL holds a password, which would be kept in files; leave it out and give it where "
                f"fsspec's file system for {url.partition('://')[0]} looks for it (environment, configuration)"
            )
        self.url = url.rstrip("/")
        cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
        self.root = root or cache / "vireid" / "stores" / sha256(self.url.encode()).hexdigest()[:16]

    def pull(self, progress: Progress) -> int:
        """Fetch what is new or has changed there; returns the number of files.

        Raises:
            UserError: it cannot be read, or the copy cannot be written.
        """
        with self._alone():
            there, known = self._there(), self._alike()
            others = self._others(there, known)
            wanted = [place for place, stamp in there.items() if self._is_wanted(place, stamp, known, others)]
            for start in range(0, len(wanted), _TOGETHER):
                part = wanted[start : start + _TOGETHER]
                for place in self._fetch(part):
                    known[place] = [_stamp(self.root / place), there[place]]
                self._remember(known)
                progress(f"fetching from {self.url}", start + len(part), len(wanted))
        return len(wanted)

    def push(self, progress: Progress) -> int:
        """Send what is new or has changed here; returns the number of files.

        Raises:
            UserError: it cannot be written there.
        """
        with self._alone():
            known = self._alike()
            stamps = {place: _stamp(self.root / place) for place in self._here()}
            new = [place for place, stamp in stamps.items() if known.get(place, [None])[0] != stamp]
            others = self._others(self._there(), known) if new else set()
            new = sorted((place for place in new if _run(place) not in others), key=_is_record)
            taken: set[str] = set()  # by others, who were first
            for start in range(0, len(new), _TOGETHER):
                part = new[start : start + _TOGETHER]
                taken |= self._send(part)
                progress(f"sending to {self.url}", start + len(part), len(new))
            if new:
                there = self._there()
                known |= {
                    place: [stamps[place], there[place]] for place in new if place in there and place not in taken
                }
                self._remember(known)
        return len(new)

    def fetch(self, file: Path) -> None:
        """Fetch one file of the copy, if it is there.

        Raises:
            UserError: it cannot be read.
        """
        place = file.relative_to(self.root).as_posix()
        with self._alone():
            if not file.exists() and place in (there := self._there(place)):
                self._fetch([place])
                self._remember(self._alike() | {place: [_stamp(file), there[place]]})

    def begin(self) -> None:
        """Make the folder known as a copy of this store.

        Raises:
            UserError: it cannot be written.
        """
        with self._alone():
            self._remember(self._alike())

    def _alike(self) -> dict[str, list[str]]:
        """Of what was alike on both sides, the stamps here and there."""
        try:
            files: dict[str, list[str]] = json.loads((self.root / MARK).read_bytes())["files"]
        except FileNotFoundError:
            return {}
        return files

    def _remember(self, files: dict[str, list[str]]) -> None:
        write_atomically(self.root / MARK, json.dumps({"url": self.url, "files": files}))

    def _others(self, there: Mapping[str, str], known: Mapping[str, Sequence[str]]) -> set[str]:
        """Runs that this copy has made, too, but whose records others sent first: all that is theirs is the others'."""
        records = [place for place in there if _is_record(place) and place not in known]
        return {_run(place) for place in records if (self.root / place).exists()}

    def _is_wanted(self, place: str, stamp: str, known: Mapping[str, Sequence[str]], others: Collection[str]) -> bool:
        file, alike = self.root / place, known.get(place)
        if not _travels(place):
            return False
        if not file.exists():
            return file.name not in _ASKED_FOR
        if alike is not None and alike[1] == stamp:
            return False
        unchanged_here = alike is not None and alike[0] == _stamp(file)  # what has changed is sent
        return unchanged_here or _is_record(place) or _run(place) in others

    def _here(self) -> Iterator[str]:
        for folder, folders, files in os.walk(self.root):
            within = Path(folder).relative_to(self.root)
            folders[:] = sorted(name for name in folders if _travels((within / name / "x").as_posix()))
            for name in sorted(files):
                if _travels(place := (within / name).as_posix()):
                    yield place

    def _there(self, place: str = "") -> dict[str, str]:
        """Stamps of the files there, or of one, by place."""
        with self.speaking("reading"):
            self.files.invalidate_cache()
            try:
                found = self.files.find(f"{self.base}/{place}" if place else self.base, detail=True)
            except FileNotFoundError:
                return {}
        start = len(self.base) + 1
        return {
            name[start:]: " ".join([str(info.get("size")), *(str(info[key]) for key in _STAMPS if key in info)])
            for name, info in found.items()
        }

    def _fetch(self, places: Sequence[str]) -> list[str]:
        """Bring files into the copy, each whole or not at all; those that came."""
        incoming = self.root / f".incoming-{os.getpid()}"
        came = []
        try:
            for place in places:
                (incoming / place).parent.mkdir(parents=True, exist_ok=True)
            with self.speaking("reading"):
                self.files.get(
                    [f"{self.base}/{place}" for place in places], [str(incoming / place) for place in places]
                )
            for place in places:
                if _is_record(place) and not _is_json(incoming / place):
                    logger.warning("%s/%s is not whole yet and is left out", self.url, place)
                    continue
                (self.root / place).parent.mkdir(parents=True, exist_ok=True)
                (incoming / place).replace(self.root / place)
                came.append(place)
        except OSError as error:
            raise unwritable(self.root, error) from error
        finally:
            shutil.rmtree(incoming, ignore_errors=True)
        return came

    def _send(self, places: Sequence[str]) -> set[str]:
        """Send files; the records among them that were there already."""
        taken = set()
        with self.speaking("writing"):
            plain = [place for place in places if not _is_record(place)]
            if plain:
                self._make_folders(plain)
                self.files.put([str(self.root / p) for p in plain], [f"{self.base}/{p}" for p in plain])
            for place in places:
                if _is_record(place) and not self.create(place, (self.root / place).read_bytes()):
                    taken.add(place)
        return taken

    def _make_folders(self, places: Sequence[str]) -> None:
        """For places, on file systems that have folders."""
        for folder in {f"{self.base}/{place}".rpartition("/")[0] for place in places}:
            self.files.makedirs(folder, exist_ok=True)

    def create(self, place: str, content: bytes) -> bool:
        """Write a file that is not there yet; False where it is."""
        try:
            self._make_folders([place])
            self.files.pipe_file(f"{self.base}/{place}", content, mode="create")
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno == errno.EEXIST:
                return False
            raise
        return True

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        import fsspec  # which torch brings

        with self.speaking("opening"):
            try:
                files, base = fsspec.core.url_to_fs(self.url)
            except ImportError as error:
                raise UserError(f"--store {self.url}: a package is missing: {error}") from error
            except ValueError as error:
                protocol, known = self.url.partition("://")[0], fsspec.available_protocols()
                if protocol in known:
                    raise
                near = did_you_mean(protocol, known)
                raise UserError(f"--store {self.url}: unknown kind of URL '{protocol}'{near}") from error
        return files, base.rstrip("/")

    @property
    def files(self) -> Any:
        """The file system there."""
        return self._opened[0]

    @property
    def base(self) -> str:
        """The store's folder on it."""
        return self._opened[1]

    @contextlib.contextmanager
    def speaking(self, doing: str) -> Iterator[None]:
        """Every file system has errors of its own.

        Raises:
            UserError: in the place of any of them.
        """
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise unwritable(self.root, error) from error
            said = next(iter(str(error).splitlines()), "")
            raise UserError(
                f"--store {self.url}: {doing} failed ({type(error).__name__}: {said}); check address, network and "
                f"credentials and run the same command again: what is finished is kept in {self.root}"
            ) from error

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One process, and one thread of it, compares the two sides at a time."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            guard = (self.root / ".remote.lock").open("w")
        except OSError as error:
            raise unwritable(self.root, error) from error
        with guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            yield


def _travels(place: str) -> bool:
    parts = place.split("/")
    return not (parts[0] in _STAYING_FOLDERS or place.endswith(_STAYS) or any(part.startswith(".") for part in parts))


def _is_record(place: str) -> bool:
    """Whether it is a finished record; failed attempts are files like others."""
    folder, _, name = place.rpartition("/")
    return folder == "runs" and name.endswith(".json") and is_run_id(name.removesuffix(".json"))


def _run(place: str) -> str:
    """The run that a record or an artefact is of; empty for other files."""
    folder, _, rest = place.partition("/")
    return rest.partition("/")[0].partition(".")[0] if folder == "runs" else ""


def _is_json(file: Path) -> bool:
    try:
        json.loads(file.read_bytes())
    except ValueError:
        return False
    return True


def _stamp(file: Path) -> str:
    status = file.stat()
    return f"{status.st_size} {status.st_mtime_ns}"
