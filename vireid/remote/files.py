"""The file system behind a URL, by places relative to it, with one kind of error.

fsspec knows dozens of kinds; torch brings it. What it does not promise is made here: in a folder, too, one of several
at once creates a file, and what failed half-way is not left behind.
"""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from vireid.core.errors import UserError, did_you_mean
from vireid.store import unwritable

# What file systems call the properties that tell whether a file has changed.
_STAMPS = (
    *("ETag", "etag", "md5Hash", "checksum", "sha", "mtime", "modify", "modificationTime"),
    *("LastModified", "last_modified", "updated", "created"),
)


class RemoteFiles:
    """Files under a URL.

    Raises:
        UserError: from every method, naming the URL and what failed; here, of a URL without a place or with a password.
    """

    def __init__(self, url: str) -> None:
        protocol, _, rest = url.partition("://")
        if not protocol or not rest.strip("/"):
            raise UserError(f"--store {url}: names no place; write it as s3://bucket/folder or file:///folder")
        try:
            password = urlsplit(url).password
        except ValueError as error:
            raise UserError(f"--store {url}: is no URL ({error})") from error
        if password is not None:
            raise UserError(
                "--store: the URL holds a password, which would be kept in files; leave it out and give it where "
                f"fsspec's file system for {protocol} looks for it (environment, configuration)"
            )
        self.url = url.rstrip("/")

    def stamps(self, place: str = "") -> dict[str, str]:
        """Of all files, or of those at one place: size and whatever tells that one has changed."""
        with self._speaking("reading"):
            self._files.invalidate_cache()
            try:
                found = self._files.find(self._path(place) if place else self._base, detail=True)
            except FileNotFoundError:
                return {}
        start = len(self._base) + 1
        return {
            name[start:]: " ".join([str(info.get("size")), *(str(info[key]) for key in _STAMPS if key in info)])
            for name, info in found.items()
        }

    def read(self, place: str) -> bytes | None:
        """A file's content; None where it is not there."""
        with self._speaking("reading"):
            try:
                content: bytes = self._files.cat_file(self._path(place))
            except FileNotFoundError:
                return None
        return content

    def get(self, targets: Mapping[str, Path]) -> None:
        """Fetch files; the folders of their targets are there."""
        with self._speaking("reading"):
            self._files.get([self._path(place) for place in targets], [str(path) for path in targets.values()])

    def put(self, sources: Mapping[str, Path]) -> None:
        """Send files, in the place of those that are there."""
        with self._speaking("writing"):
            self._make_folders(sources)
            self._files.put([str(path) for path in sources.values()], [self._path(place) for place in sources])

    def write(self, place: str, content: bytes) -> None:
        """Write a file, in the place of one that is there."""
        with self._speaking("writing"):
            self._files.pipe_file(self._path(place), content)

    def remove(self, place: str) -> None:
        """Remove a file, if it is there."""
        with self._speaking("writing"), contextlib.suppress(FileNotFoundError):
            self._files.rm_file(self._path(place))

    def create(self, place: str, content: bytes) -> bool:
        """Write a file that is not there; False where it is."""
        from fsspec.implementations.local import LocalFileSystem

        with self._speaking("writing"):
            self._make_folders([place])
            if isinstance(self._files, LocalFileSystem):
                return _create_in_folder(Path(self._path(place)), content)
            try:
                self._files.pipe_file(self._path(place), content, mode="create")
            except OSError as error:
                if isinstance(error, FileExistsError) or error.errno == errno.EEXIST:
                    return False
                self._remove_part(place, content)
                raise
            except Exception:
                self._remove_part(place, content)
                raise
        return True

    def _remove_part(self, place: str, content: bytes) -> None:
        """Remove what has come of a file that could not be created: nobody would ever replace it."""
        with contextlib.suppress(Exception):
            part = self._files.cat_file(self._path(place))
            if len(part) < len(content) and content.startswith(part):
                self._files.rm_file(self._path(place))

    def _make_folders(self, places: Collection[str]) -> None:
        """For places, on file systems that have folders."""
        for folder in {self._path(place).rpartition("/")[0] for place in places}:
            self._files.makedirs(folder, exist_ok=True)

    def _path(self, place: str) -> str:
        return f"{self._base}/{place}"

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        import fsspec

        with self._speaking("opening"):
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
    def _files(self) -> Any:
        return self._opened[0]

    @property
    def _base(self) -> str:
        return self._opened[1]

    @contextlib.contextmanager
    def _speaking(self, doing: str) -> Iterator[None]:
        """Every file system has errors of its own."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise unwritable(Path(error.filename or self.url), error) from error
            said = next(iter(str(error).splitlines()), "")
            raise UserError(
                f"--store {self.url}: {doing} failed ({type(error).__name__}: {said}); check address, network and "
                "credentials and run the same command again, which goes on with what is finished"
            ) from error


def _create_in_folder(path: Path, content: bytes) -> bool:
    """Of several at once one creates it, whole: fsspec's own looks first and writes then."""
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        partial.write_bytes(content)
        os.link(partial, path)
    except FileExistsError:
        return False
    finally:
        partial.unlink(missing_ok=True)
    return True
