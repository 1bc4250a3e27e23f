"""Files that decide a result: known by their content, wherever they lie and whatever they are called.

A record names such a file as ``model_best.pth@sha256:<64 hex digits>``. A configuration may do the same: the digest
then identifies the file, which need not be there to tell which run it is, and is checked when the file is read.
"""

import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from vireid.core.errors import UserError

M = TypeVar("M", bound=BaseModel)
_PINNED = re.compile(r"(?P<file>.*)@sha256:(?P<digest>[0-9a-f]{64})", re.DOTALL)
_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_WEIGHTS = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")
_SETTLED_NS = 2_000_000_000  # a file that changed less than this ago may change again within one tick of its clock
_known: dict[tuple[Any, ...], str] = {}


class OrHub:
    """Mark of a path field (``Annotated[Path | None, OrHub()]``) that may name a hub's ``owner/name`` too."""


def ordered_header(safetensors: bytes) -> bytes:
    """The content of a ``.safetensors`` file with the entries of its metadata in order of their names.

    safetensors writes them in an order of its own, which differs from one process to the next, so that equal weights
    would have unlike digests, and what begins with them unlike identities.
    """
    size = int.from_bytes(safetensors[:8], "little")
    header = json.loads(safetensors[8 : 8 + size])
    if "__metadata__" in header:
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of eight bytes
    return len(text).to_bytes(8, "little") + text + safetensors[8 + size :]


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal; of a folder, of its files' names and contents.

    A file is read once per process and not again until its size or one of its times changes.

    Raises:
        OSError: it is missing or unreadable.
    """
    if path.is_dir():
        inside = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
        return hashlib.sha256("\n".join(f"{name} {file_digest(path / name)}" for name in inside).encode()).hexdigest()
    status = path.stat()
    key = (path.resolve(), status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if key not in _known:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) < _SETTLED_NS:
            return digest
        _known[key] = digest
    return _known[key]


def by_content(config: M, where: str, *, names: bool = False) -> M:
    """The configuration with every path in it replaced by the digest of what lies there.

    Args:
        config: any configuration; nested ones, lists and mappings are followed.
        where: its key, for messages.
        names: keep the file's name before the digest, as records do; an identity does without.

    Raises:
        UserError: a file is missing or unreadable.
    """

    def give(key: str, path: Path, hub: bool) -> Path:
        if hub and is_hub_name(path):
            return path
        pinned = _PINNED.fullmatch(str(path))
        file, digest = (Path(pinned["file"]), pinned["digest"]) if pinned else (path, _digest(key, path))
        return Path(f"{file.name if names else ''}@sha256:{digest}")

    return map_paths(config, where, give)


def to_read(config: M, where: str) -> M:
    """The configuration with plain paths, each checked against the digest that it came with.

    Raises:
        UserError: a file with a digest is missing or holds something else.
    """

    def give(key: str, path: Path, _: bool) -> Path:
        if (pinned := _PINNED.fullmatch(str(path))) is None:
            return path
        file, wanted = Path(pinned["file"]), pinned["digest"]
        if (digest := _digest(key, file)) != wanted:
            raise UserError(
                f"{key} = {file}: its digest is {digest}, expected {wanted}: restore the file that was meant"
            )
        return file

    return map_paths(config, where, give)


def without_digest(config: BaseModel, where: str) -> list[str]:
    """Keys of the paths in ``config`` that come without a digest."""
    bare: list[str] = []

    def note(key: str, path: Path, hub: bool) -> Path:
        if _PINNED.fullmatch(str(path)) is None and not (hub and is_hub_name(path)):
            bare.append(f"{key} = {path}")
        return path

    map_paths(config, where, note)
    return bare


def is_hub_name(path: Path) -> bool:
    """Whether a path that is not there reads as a repository, ``owner/name``; known by its name alone."""
    text = path.as_posix()
    return _HUB.fullmatch(text) is not None and path.suffix not in _WEIGHTS and not path.exists()


def map_paths(config: M, where: str, give: Callable[[str, Path, bool], Path]) -> M:
    """The configuration with ``give(key, path, may name a hub repository)`` in the place of every path."""
    changed = {}
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        hub = any(isinstance(mark, OrHub) for mark in field.metadata)
        if (new := _mapped(value, f"{where}.{name}", give, hub)) is not value:
            changed[name] = new
    return config.model_copy(update=changed) if changed else config


def _mapped(value: Any, key: str, give: Callable[[str, Path, bool], Path], hub: bool) -> Any:
    if isinstance(value, Path):
        return give(key, value, hub)
    if isinstance(value, BaseModel):
        return map_paths(value, key, give)
    if isinstance(value, Mapping):
        return {name: _mapped(part, f"{key}.{name}", give, hub) for name, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return type(value)(_mapped(part, f"{key}.{position}", give, hub) for position, part in enumerate(value))
    return value


def _digest(key: str, path: Path) -> str:
    try:
        return file_digest(path)
    except OSError as error:
        raise UserError(
            f"{key} = {path}: {(error.strerror or 'unreadable').lower()}; its content is part of the run's identity: "
            "give an existing file, or null to do without"
        ) from error
