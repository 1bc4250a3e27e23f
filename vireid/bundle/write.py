"""A bundle: files and manifest in a folder or ZIP file, whole and the same bytes each time; records that come back."""

import hashlib
import io
import json
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

import vireid
from vireid.bundle.device.record import FORMAT, SPECIFIED, VERSION, canonical_json, digest_of
from vireid.core.config import Strict, parse
from vireid.core.errors import UserError
from vireid.core.identity import run_id
from vireid.core.processor import IntegerKernels
from vireid.core.records import DataKind, LatencyRecord
from vireid.store import Store, unwritable, write_atomically

MANIFEST = "bundle.json"


class KnownAccuracy(Strict):
    """An evaluation of a model's file, or of the trained model that a float32 file has the features of. Fractions."""

    evaluation: str
    """Id of the record."""
    key: str
    """Equal where protocol and evaluated images are: such figures may be compared."""
    protocol: str
    mAP: float  # noqa: N815 - as the field writes it
    low: float | None
    high: float | None
    level: float | None
    """Of the interval."""
    over: str | None
    """What was resampled."""
    note: str
    """What the images were, and what the figure may not be compared with."""
    kernels: IntegerKernels | None = None
    """What summed the products of an int8 file; None of other precisions and where it was not recorded."""
    runtime_version: str | None = None


class DeviceCheck(Strict):
    """What a device's own int8 kernels must reach before a file is measured there, against the stored features."""

    images: int = Field(default=200, ge=4, multiple_of=2, description="reference images of an int8 file")
    cosine: float = Field(default=0.99, ge=-1, le=1, description="lowest of any image")
    overlap10: float = Field(default=0.95, ge=0, le=1, description="lowest mean share of the ten nearest that stay")


class ComputedWith(Strict):
    """What computed features: int8 instructions, and version of ONNX Runtime."""

    kernels: IntegerKernels
    runtime_version: str


class References(Strict):
    """Images (N×H×W, or N×H×W×3, uint8) and the features that the file gave for them where the bundle was made.

    Images 2n and 2n + 1 show one person twice: first shots are searched for among second ones.
    """

    images: str
    features: str
    """N×D, float32."""


class BundledModel(Strict):
    """One model of a bundle. Files are named from the bundle's top."""

    name: str
    file: str
    bytes: int
    model: str
    modality: str
    run: str | None
    """The fit whose weights it has; None: initial weights, of no use for finding people."""
    dataset: str
    data_kind: DataKind
    graph: str
    """Digest of the deployed graph, as latency records name it."""
    runtime: dict[str, Any]
    """As latency records hold it."""
    precision: str
    resolution: tuple[int, int]
    """Height, width in pixels."""
    feature_size: int
    mean: tuple[float, float, float]
    """Of pixels in 0…1."""
    std: tuple[float, float, float]
    references: References
    computed_with: ComputedWith
    """Of the references."""
    check: DeviceCheck
    accuracy: list[KnownAccuracy] = []


def manifest(models: list[BundledModel], files: Mapping[str, bytes]) -> dict[str, Any]:
    """Content of ``bundle.json``: the models, size and SHA-256 of every file, and the digest of all that."""
    content: dict[str, Any] = {
        "format": "vireid bundle",
        "version": 1,
        "vireid": vireid.__version__,
        "models": [model.model_dump(mode="json") for model in models],
        "files": {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in sorted(files.items())
        },
    }
    return {**content, "digest": hashlib.sha256(canonical_json(content).encode()).hexdigest()}


PACKAGE = "measuring"  # the suite's place in a bundle; below it, paths are those of the suite
DEVICE_CODE = ("bundle/device", "profiling/sensors")  # folders that are copied as they are
DEVICE_FILES = ("core/child.py", "core/processor.py", "evaluation/gallery.py", "profiling/sampling.py")
ENTRY = "bundle/device/measure.py"  # which stands at the bundle's top
RUN = "run"  # there too; brings what Python lacks, and starts the entry
README = """Needs Python 3.9 or newer and 64 bits. In this folder:
    ./run --by "your name or handle" --record out.json
Elsewhere than on Linux and macOS, or without a shell:
    python3 -m venv env
    env/bin/pip install numpy onnxruntime           (Windows: env\\Scripts\\pip)
    env/bin/python measure.py --record out.json
Then take out.json back to where the suite is: vireid results add out.json
"""


def device_code() -> dict[str, bytes]:
    """Everything of the suite that runs on the device, by its place in a bundle."""
    suite = Path(vireid.__file__).parent
    sources = [suite / name for name in DEVICE_FILES]
    for folder in DEVICE_CODE:
        sources += sorted((suite / folder).glob("*.py"))
    files = {f"{PACKAGE}/{source.relative_to(suite).as_posix()}": source.read_bytes() for source in sources}
    packages = {parent for name in files for parent in Path(name).parents if parent != Path()}
    for package in packages:
        files.setdefault(f"{package.as_posix()}/__init__.py", b"")
    files["measure.py"] = files.pop(f"{PACKAGE}/{ENTRY}")
    files[RUN] = (suite / "bundle/device/run.sh").read_bytes()
    return files


def write_bundle(target: Path, models: list[BundledModel], files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Write models with the code that measures them; what was written, by name.

    Args:
        target: a folder, or a ZIP file where the name ends in ``.zip`` (with one folder of that name inside). A bundle
            that is there is replaced; a folder that holds anything else is refused.
        models: what the bundle says of them.
        files: they and their references, by the names that ``models`` have.

    Raises:
        UserError: the target cannot be written, or holds something else.
    """
    content = {**files, **device_code(), "README.txt": README.encode()}
    content[MANIFEST] = (json.dumps(manifest(models, content), indent=1, ensure_ascii=False) + "\n").encode()
    if target.suffix == ".zip":
        write_atomically(target, _zip(target.stem, content))
    else:
        _folder(target, content)
    return content


def _zip(top: str, content: Mapping[str, bytes]) -> bytes:
    """Stored, not compressed: weights do not shrink, and no two versions of a compressor agree."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(content.items()):
            entry = zipfile.ZipInfo(f"{top}/{name}", date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3  # Unix, wherever it is written
            entry.external_attr = (0o755 if name == RUN else 0o644) << 16
            archive.writestr(entry, data)
    return buffer.getvalue()


def _folder(target: Path, content: Mapping[str, bytes]) -> None:
    if target.exists() and not (target / MANIFEST).is_file() and (target.is_file() or any(target.iterdir())):
        raise UserError(f"{target}: is there and is not a bundle; name a new folder, or a .zip file, with --to")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as name:
            folder = Path(name)
            for relative, data in content.items():
                file = folder / "new" / relative
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data)
            (folder / "new" / RUN).chmod(0o755)
            if target.exists():
                target.rename(folder / "old")
            (folder / "new").rename(target)
    except OSError as error:
        raise unwritable(target, error) from error


@dataclass
class Added:
    """What became of the records of some files, by id."""

    new: list[LatencyRecord] = field(default_factory=list)
    known: list[LatencyRecord] = field(default_factory=list)
    refused: list[LatencyRecord] = field(default_factory=list)  # another record of that id is in the store and stays
    without_cost: list[LatencyRecord] = field(default_factory=list)  # of the new ones: no cost record names the graph


def read_records(path: Path) -> list[LatencyRecord]:
    """Read and check a record file.

    Raises:
        UserError: it cannot be read, is of another format or version, holds what is no latency record, or a record
            that was changed after it was made.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}); copy the file from the device again") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT or not isinstance(content.get("records"), list):
        raise UserError(f"{path}: not a record file of a bundle (`measure.py` writes them)")
    if content.get("version") not in (1, VERSION):
        raise UserError(
            f"{path}: version {content.get('version')} of record files, and this vireid reads 1 to {VERSION}; update it"
        )
    return [checked_entry(entry, f"{path}: record {number}") for number, entry in enumerate(content["records"], 1)]


def checked_entry(entry: Any, where: str) -> LatencyRecord:
    """An entry of a record file as the record that it was when it was made.

    Raises:
        UserError: it is none, or was changed.
    """
    expected = {"specification": dict, "digest": str, "record": dict}
    if not isinstance(entry, dict) or any(not isinstance(entry.get(key), kind) for key, kind in expected.items()):
        raise UserError(f"{where}: has no {', '.join(expected)}; copy the file from the device again")
    plain, specified = entry["record"], entry["specification"]
    if plain.get("kind") != "latency":
        raise UserError(f"{where}: of kind '{plain.get('kind')}'; devices make latency records alone")
    record = parse(LatencyRecord, plain, where)
    try:
        expected_id, found_digest = run_id(specified), digest_of(plain)
    except ValueError as error:  # infinite, or none
        raise UserError(f"{where}: holds numbers that no measurement gives ({error}): edited") from error
    if expected_id != record.id:
        raise UserError(f"{where}: its id {record.id} does not match its specification ({expected_id}): edited")
    claimed = {**{key: plain.get(key) for key in SPECIFIED}, "device": record.environment.machine}
    for key, value in claimed.items():
        if specified.get(key) != value:
            raise UserError(f"{where}: its {key} is not the one that its id {record.id} is of: edited")
    if found_digest != entry["digest"]:
        raise UserError(f"{where}: record {record.id} was changed after it was made")
    return record


def add_records(store: Store, records: Sequence[LatencyRecord]) -> Added:
    """Merge records into a store, each written whole; one that is there is never replaced."""
    added = Added()
    with store.lock("records"):
        failures = [failed.model_dump() for failed in store.failures()]
        graphs = {row.graph for row in store.rows() if row.kind == "cost"}
        for record in records:
            if record.status == "failed":
                there, same = None, record.model_dump() in failures
            else:
                there = store.get(record.id)
                same = there is not None and there.model_dump() == record.model_dump()
            if same:
                added.known.append(record)
            elif there is not None:
                added.refused.append(record)
            else:
                store.put(record)
                failures += [record.model_dump()] if record.status == "failed" else []
                added.new.append(record)
                if record.artefact not in graphs:
                    added.without_cost.append(record)
    return added
