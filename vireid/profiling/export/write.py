"""Deployed graphs into a folder: every format is written aside, read back, checked, and only then put in its place."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import nn

from vireid.core.errors import UserError
from vireid.profiling.export.formats import check_equal, onnx_bytes, write_ir, write_weights
from vireid.profiling.runtimes.onnxruntime import OrtSession
from vireid.profiling.runtimes.openvino import OpenVinoSession

Format = Literal["onnx", "openvino", "safetensors"]
FORMATS: tuple[Format, ...] = get_args(Format)
_REMEDY = (
    "nothing was written. Leave this format out with --format, or try other versions of torch, onnx and its runtime"
)


@dataclass(frozen=True, slots=True)
class Exported:
    """One file (with OpenVINO's weights beside it) and how far its features are from eager's."""

    path: Path
    format: Format
    size_bytes: int
    difference: float  # largest, relative (``vireid.profiling.export.formats.difference``); 0 for weights


@dataclass(frozen=True)
class Graph:
    """A deployed module (B×3×H×W → B×D) with what its files say of it."""

    module: nn.Module
    height: int
    width: int
    metadata: Mapping[str, str]

    @cached_property
    def onnx(self) -> bytes:
        """Content of its ONNX file."""
        return onnx_bytes(self.module, self.height, self.width, self.metadata)


def export(
    graphs: Mapping[str, Graph],
    folder: Path,
    formats: Sequence[Format] = FORMATS,
    report: Callable[[str], None] = lambda _: None,
    accept: Callable[[Sequence[Exported]], None] | None = None,
) -> list[Exported]:
    """Write every graph in every format as ``<name>.onnx``, ``<name>.xml`` with ``.bin``, ``<name>.safetensors``.

    Files of the same names are replaced. Nothing is, unless all are equal to eager within ``formats.TOLERANCE``.

    Args:
        graphs: by name of their files.
        folder: made where it does not exist.
        formats: which.
        report: called with the name of each file before it is made.
        accept: called with all files before they are put in their places; raises where they are not to be.

    Raises:
        UserError: a missing package, features that differ, or a folder that cannot be written.
    """
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as name:
            aside = Path(name)
            exported = []
            for stem, graph in graphs.items():
                for format in formats:
                    report(f"{stem}, {format}")
                    exported.append(_WRITERS[format](graph, aside, stem))
            if accept is not None:
                accept(exported)
            for file in sorted(aside.iterdir()):
                _move_whole(file, folder / file.name)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror or error}); choose another with --to") from error
    finally:
        if made:
            with contextlib.suppress(OSError):  # not empty: it holds the files
                folder.rmdir()
    return [Exported(folder / e.path.name, e.format, e.size_bytes, e.difference) for e in exported]


def _write_onnx(graph: Graph, folder: Path, stem: str) -> Exported:
    path = folder / f"{stem}.onnx"
    path.write_bytes(graph.onnx)
    session = OrtSession(path, torch.get_num_threads())
    worst = check_equal(session, graph.module, graph.height, graph.width, path.name, remedy=_REMEDY)
    return Exported(path, "onnx", path.stat().st_size, worst)


def _write_openvino(graph: Graph, folder: Path, stem: str) -> Exported:
    path = folder / f"{stem}.xml"
    write_ir(graph.onnx, path, graph.metadata)
    session = OpenVinoSession(str(path), torch.get_num_threads())
    worst = check_equal(session, graph.module, graph.height, graph.width, path.name, remedy=_REMEDY)
    size = path.stat().st_size + path.with_suffix(".bin").stat().st_size
    return Exported(path, "openvino", size, worst)


def _write_safetensors(graph: Graph, folder: Path, stem: str) -> Exported:
    path = folder / f"{stem}.safetensors"
    write_weights(graph.module, path, graph.metadata)
    return Exported(path, "safetensors", path.stat().st_size, 0.0)


_WRITERS: dict[Format, Callable[[Graph, Path, str], Exported]] = {
    "onnx": _write_onnx,
    "openvino": _write_openvino,
    "safetensors": _write_safetensors,
}


def _move_whole(file: Path, target: Path) -> None:
    """Flush to disk and rename: a reader sees the old file or the new one."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
    file.chmod(0o644)
    file.replace(target)
