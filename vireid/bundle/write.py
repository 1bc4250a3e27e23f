"""A bundle's files, and how they come into a folder or a ZIP file: whole or not at all, the same bytes every time."""

import io
import json
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import vireid
from vireid.bundle.manifest import MANIFEST, BundledModel, manifest
from vireid.core.errors import UserError
from vireid.store import unwritable, write_atomically

PACKAGE = "measuring"  # the suite's place in a bundle; below it, paths are those of the suite
DEVICE_CODE = ("bundle/device", "profiling/sensors")  # folders that are copied as they are
DEVICE_FILES = ("core/child.py", "core/processor.py", "profiling/sampling.py")
ENTRY = "bundle/device/measure.py"  # which stands at the bundle's top
README = """Needs Python 3.9 or newer and 64 bits. In this folder:
    python3 -m venv env && env/bin/pip install numpy onnxruntime
    env/bin/python measure.py
Then take the file record-*.json that it writes back to where the suite is: vireid results add record-*.json
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
    said = manifest(models, content)
    content[MANIFEST] = (json.dumps(said, indent=1, ensure_ascii=False) + "\n").encode()
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
            entry.external_attr = 0o644 << 16
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
            if target.exists():
                target.rename(folder / "old")
            (folder / "new").rename(target)
    except OSError as error:
        raise unwritable(target, error) from error
