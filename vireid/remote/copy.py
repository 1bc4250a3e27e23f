"""Stores behind a URL, such as ``s3://bucket/runs``: on any file system that fsspec knows.

Commands work on a copy in the user's cache folder, which is a store like any other. It is brought up to date when it is
opened and whenever a lease is taken; what has appeared in it is sent when a lease is given back and when the command
ends, records after the files that belong to them. What could not be sent stays in the copy, and the next command sends
it. Weights are fetched when they are asked for.

What is finished is never overwritten, there or here: a run is of whoever was first to send its weights, tables of
queries or record, and other copies that have made it too take over all of it. Of other files (pages, plans, logs) the
last one sent stays.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from vireid.core.errors import UserError
from vireid.core.identity import is_run_id
from vireid.remote.files import RemoteFiles
from vireid.store import unwritable, write_atomically

MARK = ".remote.json"  # in a copy: its URL, the stamps of what both sides have, and what was not fetched
_TOGETHER = 64  # files of one request
_FOLDERS = ("runs", "studies", "devices", "audits", "datasets")  # that travel; images, caches and leases do not
_ASKED_FOR = "model.safetensors"  # large, and of no use to a report
# By their ends: pickles run code where they are read; a checkpoint changes every epoch; roots are paths of one machine.
_STAYS = (".pkl", "/checkpoint.pt", "/root.txt")
logger = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
Stamps = dict[str, tuple[str, str]]  # place -> stamp here and there, of when both were alike


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
    files = RemoteFiles(url)
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    except RuntimeError as error:
        raise UserError(
            f"--store {url}: there is no home folder for its copy: set XDG_CACHE_HOME to a folder"
        ) from error
    copy = RemoteCopy(files, cache / "vireid" / "stores" / sha256(files.url.encode()).hexdigest()[:16])
    copy.begin()
    copy.push(progress)
    copy.pull(progress)
    return copy


def copy_at(root: Path) -> RemoteCopy | None:
    """The store that a folder is a copy of, if it is one.

    Raises:
        UserError: it does not say of which.
    """
    if not (root / MARK).is_file():
        return None
    url = _mark(root).get("url")
    if not isinstance(url, str):
        raise UserError(f"{root / MARK}: is damaged; any command with --store and the URL writes it anew")
    return RemoteCopy(RemoteFiles(url), root)


class RemoteCopy:
    """A store behind a URL and its copy here."""

    def __init__(self, files: RemoteFiles, root: Path) -> None:
        self.files, self.root = files, root

    def begin(self) -> None:
        """Make the folder known as a copy of this store.

        Raises:
            UserError: it cannot be written.
        """
        with self._alone():
            self._remember(self._alike())

    def pull(self, progress: Progress) -> int:
        """Fetch what is new or has changed there; returns the number of files.

        Raises:
            UserError: it cannot be read, or the copy cannot be written.
        """
        with self._alone():
            there = {place: stamp for place, stamp in self.files.stamps().items() if _travels(place)}
            alike = self._alike()
            others = self._others(there, alike, {_run(place) for place in there})
            here = {place: stamp for place in there if (stamp := self._stamp(place)) is not None}
            wanted = [place for place in there if self._is_wanted(place, here.get(place), there[place], alike, others)]
            later = [place for place in there if place not in here and place.endswith(f"/{_ASKED_FOR}")]
            for start in range(0, len(wanted), _TOGETHER):
                part = wanted[start : start + _TOGETHER]
                for place in self._fetch({place: here.get(place) for place in part}):
                    alike[place] = self._stamp(place) or "", there[place]
                self._remember(alike, later)
                progress(f"fetching from {self.files.url}", start + len(part), len(wanted))
            self._remember(alike, later)
        return len(wanted)

    def push(self, progress: Progress) -> int:
        """Send what is new or has changed here; returns the number of files.

        Raises:
            UserError: it cannot be written there.
        """
        with self._alone():
            alike = self._alike()
            if not (unsent := self._unsent(alike)):
                return 0
            there = self.files.stamps()
            for place in [place for place in unsent if _is_failure(place) and place in there and place not in alike]:
                self._renumber(place, there)
            here = self._unsent(alike)
            refused = self._others(there, alike, {_run(place) for place in here})
            new = sorted(here, key=_turn)
            done: list[str] = []
            try:
                for start in range(0, len(new), _TOGETHER):
                    part = new[start : start + _TOGETHER]
                    done += self._send(part, there.keys() - alike.keys(), refused)
                    progress(f"sending to {self.files.url}", start + len(part), len(new))
            finally:  # whatever else has changed there since is of another size, or seen by the next pull
                with contextlib.suppress(UserError):
                    now = self.files.stamps()
                    sent = [place for place in done if now.get(place, "").split(" ")[0] == here[place].split(" ")[0]]
                    self._remember(alike | {place: (here[place], now[place]) for place in sent})
        return len(done)

    def fetch(self, file: Path) -> None:
        """Fetch one file of the copy, if it is there.

        Raises:
            UserError: it cannot be read.
        """
        place = file.relative_to(self.root).as_posix()
        with self._alone():
            if not file.exists() and (stamp := self.files.stamps(place).get(place)) is not None:
                self._fetch({place: None})
                self._remember(self._alike() | {place: (self._stamp(place) or "", stamp)})

    def lies_there(self, file: Path) -> bool:
        """Whether a file that is not here was there when the copy was last brought up to date."""
        return file.relative_to(self.root).as_posix() in _mark(self.root).get("later", [])

    def _send(self, places: Collection[str], unknown: Collection[str], refused: set[str]) -> list[str]:
        """Send files, those of refused runs excepted; which of them are the same on both sides now.

        Args:
            places: in the order in which they may appear there.
            unknown: files that are there, too, nobody knows since when.
            refused: runs of others; those are added whose weights, tables or record turn out to be there already.
        """
        done = []
        for turn in range(_RECORDS + 1):
            ours = [place for place in places if _turn(place) == turn and _run(place) not in refused]
            if turn == _CHANGING:
                same = [place for place in ours if place in unknown and self._is_equal(place)]
                put = [place for place in ours if place not in unknown]  # what differs there is brought by a pull
                if put:
                    self.files.put({place: self.root / place for place in put})
                done += same + put
                continue
            for place in ours:
                if _run(place) in refused:
                    continue
                if self.files.create(place, (self.root / place).read_bytes()) or self._is_equal(place):
                    done.append(place)
                else:
                    refused.add(_run(place))
        return done

    def _others(
        self, there: Mapping[str, str], alike: Mapping[str, tuple[str, str]], runs: Collection[str]
    ) -> set[str]:
        """Those of the runs whose record is another there than here: somebody else was first."""
        records = [place for place in there if _is_record(place) and _run(place) in runs]
        return {
            _run(place)
            for place in records
            if (stamp := self._stamp(place)) is not None
            and alike.get(place) != (stamp, there[place])
            and not self._is_equal(place)
        }

    def _is_equal(self, place: str) -> bool:
        try:
            return self.files.read(place) == (self.root / place).read_bytes()
        except FileNotFoundError:
            return False

    @staticmethod
    def _is_wanted(
        place: str, here: str | None, there: str, alike: Mapping[str, tuple[str, str]], others: Collection[str]
    ) -> bool:
        if here is None:
            return not place.endswith(f"/{_ASKED_FOR}")
        known = alike.get(place)
        if known == (here, there):
            return False
        finished = _turn(place) != _CHANGING
        return known is None or finished or _run(place) in others or known[0] == here  # else what is new here is sent

    def _renumber(self, place: str, there: Collection[str]) -> None:
        """Give a failed attempt the next free number where another machine's has its own."""
        if self._is_equal(place):
            return
        stem, _, number = place.removesuffix(".json").rpartition("-")
        free = int(number) + 1
        while f"{stem}-{free}.json" in there or (self.root / f"{stem}-{free}.json").exists():
            free += 1
        (self.root / place).rename(self.root / f"{stem}-{free}.json")

    def _fetch(self, places: Mapping[str, str | None]) -> list[str]:
        """Bring files into the copy, each whole or not at all; those that came.

        ``places`` have the stamps of the files that they replace: one that has changed meanwhile stays.
        """
        came = []
        try:
            for old in self.root.glob(".incoming-*"):  # of processes that were killed
                shutil.rmtree(old, ignore_errors=True)
            incoming = self.root / f".incoming-{os.getpid()}"
            targets = {place: incoming / place for place in places}
            for path in targets.values():
                path.parent.mkdir(parents=True, exist_ok=True)
            self.files.get(targets)
            for place, path in targets.items():
                if _is_record(place) and not _is_json(path):
                    logger.warning(
                        "%s/%s is not whole and is left out; if nobody is sending it now, delete it there",
                        self.files.url,
                        place,
                    )
                elif self._stamp(place) == places[place]:
                    (self.root / place).parent.mkdir(parents=True, exist_ok=True)
                    path.replace(self.root / place)
                    came.append(place)
            shutil.rmtree(incoming, ignore_errors=True)
        except OSError as error:
            raise unwritable(self.root, error) from error
        return came

    def _here(self) -> dict[str, str]:
        """Stamps of the files here that travel."""
        stamps = {}
        for top in _FOLDERS:
            for folder, folders, names in os.walk(self.root / top):
                within = Path(folder).relative_to(self.root).as_posix()
                folders[:] = sorted(name for name in folders if not name.startswith("."))
                for place in (f"{within}/{name}" for name in sorted(names)):
                    if _travels(place) and (stamp := self._stamp(place)) is not None:
                        stamps[place] = stamp
        return stamps

    def _unsent(self, alike: Stamps) -> dict[str, str]:
        """Stamps of the files here that are new or have changed."""
        here = self._here()
        return {place: stamp for place, stamp in here.items() if place not in alike or alike[place][0] != stamp}

    def _stamp(self, place: str) -> str | None:
        try:
            status = (self.root / place).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return f"{status.st_size} {status.st_mtime_ns}"

    def _alike(self) -> Stamps:
        """Of what was alike on both sides, the stamps here and there."""
        return {place: (here, there) for place, (here, there) in _mark(self.root).get("files", {}).items()}

    def _remember(self, alike: Stamps, later: Collection[str] | None = None) -> None:
        kept = _mark(self.root).get("later", []) if later is None else list(later)
        write_atomically(self.root / MARK, json.dumps({"url": self.files.url, "files": alike, "later": kept}))

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One process, and one thread of it, compares the two sides at a time."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            guard = (self.root / ".remote.lock").open("w")
        except OSError as error:
            raise UserError(
                f"--store {self.files.url}: its copy, {self.root}, cannot be written ({error.strerror}); set "
                "XDG_CACHE_HOME to a folder that can"
            ) from error
        with guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            yield


def _mark(root: Path) -> dict[str, Any]:
    """What the mark of a copy says; nothing where it is damaged: then contents are compared."""
    try:
        mark = json.loads((root / MARK).read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return mark if isinstance(mark, dict) and isinstance(mark.get("files"), dict) else {}


def _travels(place: str) -> bool:
    """Whether a file is sent and fetched: of a store's folders, and nowhere outside the copy."""
    folders = place.split("/")
    plain = all(folder and not folder.startswith(".") for folder in folders)
    return plain and len(folders) > 1 and folders[0] in _FOLDERS and not place.endswith(_STAYS)


_FINISHED, _CHANGING, _RECORDS = range(3)  # turns in which files are sent


def _turn(place: str) -> int:
    """When a file is sent: weights and tables of queries first, records last. Both never change."""
    if _is_record(place):
        return _RECORDS
    finished = _run(place) and place.endswith((f"/{_ASKED_FOR}", ".parquet"))
    return _FINISHED if finished else _CHANGING


def _is_record(place: str) -> bool:
    """Whether it is a finished record."""
    folder, _, name = place.rpartition("/")
    return folder == "runs" and name.endswith(".json") and is_run_id(name.removesuffix(".json"))


def _is_failure(place: str) -> bool:
    folder, _, name = place.rpartition("/")
    return folder == "runs" and ".failed-" in name


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
