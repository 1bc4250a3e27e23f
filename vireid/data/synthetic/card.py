"""``synthetic.json`` in the root of a rendered dataset: what it is, and that it is not real."""

import json
from pathlib import Path
from typing import Any

from vireid.core.errors import UserError

CARD = "synthetic.json"


def read_card(root: Path) -> dict[str, Any] | None:
    """Return the content of ``synthetic.json``, or None where ``root`` is not a synthetic dataset.

    Raises:
        UserError: the file is there but is not valid JSON.
    """
    path = root / CARD
    if not path.is_file():
        return None
    try:
        card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not valid JSON ({error}); remove the folder and render it again") from error
    return card
