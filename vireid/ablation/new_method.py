"""The first two files of a user's own method: a module that trains as it stands, and a study of it beside IDKL."""

import keyword
import re
from importlib.util import find_spec
from pathlib import Path

from vireid.core.errors import UserError

_TEMPLATES = Path(__file__).parent / "templates"
_NAME, _CLASS = "my_method", "MyMethod"


def write_method(name: str, folder: Path) -> tuple[Path, Path]:
    """Write ``<name>.py`` and ``<name>.yaml`` and return their paths.

    Args:
        name: of the module, in lower case; its class is called by the same words.
        folder: where they go.

    Raises:
        UserError: a name that is no module's or hides another one's, a file that is there, a folder that takes none.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise UserError(f"'{name}' cannot name a module: use lower-case letters, digits and _, such as {_NAME}")
    files = folder / f"{name}.py", folder / f"{name}.yaml"
    for file in files:
        if file.exists():
            raise UserError(f"{file}: is there already; choose another name or remove it")
    if find_spec(name) is not None:
        raise UserError(f"'{name}' would hide an installed module of that name: choose another")
    class_name = "".join(word.capitalize() for word in name.split("_"))
    for file in files:
        template = (_TEMPLATES / f"{_NAME}{file.suffix}.txt").read_text(encoding="utf-8")
        try:
            file.write_text(template.replace(_NAME, name).replace(_CLASS, class_name), encoding="utf-8")
        except OSError as error:
            raise UserError(f"{file}: cannot write ({error.strerror}); choose another folder with --to") from error
    return files
