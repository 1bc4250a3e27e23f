"""What a job takes to a machine that does not see the driver's store, and what it brings back.

Along go its configuration, the files that this names, the modules of plug-ins, and of the store what its steps read:
finished records of the run, its weights or checkpoint, those of its teacher and of the fit that it starts from. Images
do not: rendered ones are rendered again, identical, and real ones must lie where ``data.root`` says. Back come records
and artefacts.
"""

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vireid.ablation.engines.modules import plugin_files
from vireid.config import ExperimentConfig
from vireid.core.config import parse
from vireid.core.errors import UserError
from vireid.core.files import file_digest, is_hub_name, map_paths
from vireid.core.identity import is_run_id
from vireid.core.records import CostRecord, read_record
from vireid.experiment.context import RunContext
from vireid.experiment.identity import MODEL_CARD
from vireid.store import Store, unwritable, write_atomically
from vireid.training import WEIGHTS
from vireid.training.checkpoint import CHECKPOINT

_ROOT = "@root/"  # in the place of the folder that takes the parcel, which the sender does not know
_PINNED = "@sha256:"
_MODULES = "modules"
_SHARED = ("data", "cache")  # rendered and decoded once for all jobs of a machine
_READS_WEIGHTS = {"evaluate", "deployed", "explain"}


@dataclass(frozen=True, slots=True)
class Parcel:
    """A job without the content of its files."""

    fit: str
    name: str
    steps: tuple[str, ...]
    config: dict[str, Any]
    files: tuple[str, ...]
    """Where its files belong, relative to the folder that takes the parcel."""


def pack(run: RunContext, steps: Sequence[str], name: str) -> tuple[Parcel, list[Path]]:
    """The parcel of a job, and where its files lie here, in the parcel's order.

    Raises:
        UserError: a file that the job needs cannot be read.
    """
    files: dict[str, Path] = {}

    def take(key: str, path: Path, hub: bool) -> Path:
        plain, pinned, digest = str(path).partition(_PINNED)
        source = Path(plain)
        if not source.exists() or (hub and is_hub_name(path)):
            return path
        if key.startswith("config.data.") and source.is_dir():
            return Path(f"{source.absolute()}{pinned}{digest}")  # images
        members = _members(source)
        folder = f"files/{_digest(members)}"
        files.update({f"{folder}/{member.relative_to(source.parent).as_posix()}": member for member in members})
        return Path(f"{_ROOT}{folder}/{source.name}{pinned}{digest}")

    config = map_paths(run.config, "config", take).model_dump(mode="json")
    files.update({f"{_MODULES}/{place}": path for place, path in plugin_files(json.dumps(config)).items()})
    files.update({path.relative_to(run.store.root).as_posix(): path for path in _of_the_store(run, steps)})
    return Parcel(run.ids.fit, name, tuple(steps), config, tuple(files)), list(files.values())


def unpack(parcel: Parcel, contents: Sequence[bytes], root: Path, shared: Path) -> RunContext:
    """Lay a parcel out in ``root``, which becomes the job's store; what a broken attempt left there is taken up.

    Args:
        parcel: as packed.
        contents: of its files, in its order.
        root: of this job alone.
        shared: folder of rendered and decoded images, for all jobs of the machine.

    Raises:
        UserError: a folder cannot be written, or the configuration is not understood here.
    """
    for name, content in zip(parcel.files, contents, strict=True):
        if not (root / name).is_file():
            write_atomically(root / name, content)
    try:
        root.mkdir(parents=True, exist_ok=True)
        for folder in _SHARED:
            (shared / folder).mkdir(parents=True, exist_ok=True)
            if not (root / folder).is_symlink():
                (root / folder).symlink_to((shared / folder).absolute(), target_is_directory=True)
    except OSError as error:
        raise unwritable(root, error) from error
    if (root / _MODULES).is_dir() and str(root / _MODULES) not in sys.path:
        sys.path.append(str(root / _MODULES))
    return RunContext(parse(ExperimentConfig, _at(parcel.config, root), f"run {parcel.fit}"), Store(root))


def results(parcel: Parcel, root: Path) -> dict[str, bytes]:
    """What a job has made, by its place under ``runs/``; records last, so that none is there before its files."""
    runs = root / "runs"
    known = {root / name for name in parcel.files}
    known |= {runs / parcel.fit / name for name in (CHECKPOINT, f"{parcel.name}.json")}
    made = [file for file in sorted(runs.rglob("*")) if file.is_file() and file not in known]
    made.sort(key=lambda file: file.parent == runs)
    return {file.relative_to(runs).as_posix(): file.read_bytes() for file in made if not file.name.startswith(".")}


def accept(run: RunContext, name: str, made: Mapping[str, bytes]) -> None:
    """Put what a job has made elsewhere into the run's store. What is finished there already stays as it is.

    Raises:
        UserError: the store cannot be written, or a record cannot be read.
    """
    for place, content in made.items():
        target = run.store.runs / place
        record, _, attempt = Path(place).stem.partition(".failed-")
        if target == run.directory / f"{name}.log":
            _append(target, content)
        elif attempt and is_run_id(record):
            run.store.put(read_record(content, place))  # under the next free number
        elif not (target.is_file() and (is_run_id(target.stem) or target.name == WEIGHTS)):
            write_atomically(target, content)


def _append(log: Path, content: bytes) -> None:
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            file.write(content)
    except OSError as error:
        raise unwritable(log, error) from error


def _members(source: Path) -> list[Path]:
    """A file, with card and weights of the model that it is part of; or all files of a folder."""
    if source.is_dir():
        return sorted(file for file in source.rglob("*") if file.is_file())
    if not (source.parent / MODEL_CARD).is_file():
        return [source]
    beside = [source.parent / MODEL_CARD, source.parent / WEIGHTS]
    return [source, *(file for file in beside if file.is_file() and file != source)]


def _digest(members: Sequence[Path]) -> str:
    try:
        return hashlib.sha256(" ".join(map(file_digest, members)).encode()).hexdigest()[:12]
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror}), and a job needs it elsewhere") from error


def _of_the_store(run: RunContext, steps: Sequence[str]) -> Iterator[Path]:
    """Records and weights that the steps read or need not make again."""
    runs, ids = run.store.runs, run.ids
    earlier = [id_ for id_ in (ids.teacher, run.config.start_from) if id_ is not None]
    evaluations = [ids.evaluation(protocol) for protocol in run.config.evaluation.protocols]
    wanted = [runs / f"{id_}.json" for id_ in (ids.fit, ids.cost, *earlier, *evaluations)]
    if "deployed" in steps:
        wanted += _naming(runs, f'"fit": "{ids.fit}"')
    if "latency" in steps:
        wanted += _latencies(run)
    if _READS_WEIGHTS & set(steps):
        wanted += [run.store.artefact(ids.fit, WEIGHTS), run.directory / CHECKPOINT]
    if "fit" in steps:
        wanted += [run.store.artefact(id_, WEIGHTS) for id_ in earlier]
    yield from (path for path in dict.fromkeys(wanted) if path.is_file())


def _latencies(run: RunContext) -> list[Path]:
    """Records of the deployed graph, of whatever machine: that which measures knows its own."""
    cost = run.store.get(run.ids.cost)
    graph = cost.artefact if isinstance(cost, CostRecord) else None
    return [] if graph is None else _naming(run.store.runs, f'"artefact": "{graph}"')


def _naming(runs: Path, text: str) -> list[Path]:
    return [path for path in runs.glob("*.json") if is_run_id(path.stem) and text.encode() in path.read_bytes()]


def _at(value: Any, root: Path) -> Any:
    """A configuration with the folder that took the parcel in its paths."""
    if isinstance(value, str) and value.startswith(_ROOT):
        return str(root / value.removeprefix(_ROOT))
    if isinstance(value, dict):
        return {key: _at(part, root) for key, part in value.items()}
    if isinstance(value, list):
        return [_at(part, root) for part in value]
    return value
