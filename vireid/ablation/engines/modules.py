"""Code that travels with a job: the suite's, and modules of users that a configuration names as ``module:Class``."""

import ast
import importlib.util
import re
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import vireid
from vireid.core.errors import UserError
from vireid.core.shipped import shipped
from vireid.store import unwritable

_PLUGIN = re.compile(r"\b([A-Za-z_][\w.]*):[A-Za-z_]\w*")
_TRUNKS = "results/trunks"  # which a teacher's training may name by the word alone


def plugin_files(text: str) -> dict[str, Path]:
    """Files of the plug-ins that ``text`` (a configuration) names, by their place on a module path.

    With a module go those beside it that it imports, and theirs. What is installed has to be on every machine.
    """
    files: dict[str, Path] = {}
    seen: set[str] = set()
    queue = [match.partition(".")[0] for match in _PLUGIN.findall(text)]
    folders = {Path(folder).absolute() for folder in sys.path}
    while queue:
        name = queue.pop()
        source = None if name in seen else _own_source(name)
        seen.add(name)
        if source is None or source.parent.absolute() not in folders:
            continue
        for member in sorted(source.rglob("*.py")) if source.is_dir() else [source]:
            files[member.relative_to(source.parent).as_posix()] = member
            queue += _imports(member)
    return files


def copy_suite(folder: Path) -> None:
    """Copy the suite, with its trunks, into ``folder``: that very code is to run on every machine.

    Raises:
        UserError: the folder cannot be written.
    """
    source, target = Path(vireid.__file__).parent, folder / "vireid"
    try:
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "shipped"))
        if (trunks := shipped(_TRUNKS)).is_dir():
            shutil.copytree(trunks, target / "shipped" / _TRUNKS)
    except (OSError, shutil.Error) as error:
        if isinstance(error, shutil.Error):
            raise UserError(f"{folder}: the suite could not be copied: {error}") from error
        raise unwritable(folder, error) from error


def _own_source(name: str) -> Path | None:
    """The file, or the folder of a package, of a top-level module that no installation brought."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.origin or not spec.origin.endswith(".py") or name == "vireid":
        return None
    source = Path(spec.origin)
    installed = {Path(sysconfig.get_path(kind)) for kind in ("stdlib", "purelib", "platlib")}
    if any(source.is_relative_to(folder) for folder in installed):
        return None
    return source.parent if source.name == "__init__.py" else source


def _imports(file: Path) -> Iterator[str]:
    """Top-level names of what a file imports."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]
