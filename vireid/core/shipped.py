"""Files that come with the suite: studies, notebooks, published records, trunks.

In a checkout they lie beside the package, where people edit them; a wheel carries a copy inside it. The checkout's come
first.
"""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def shipped(folder: str) -> Path:
    """Where a folder such as ``ablations`` or ``results/trunks`` lies; a broken installation may lack it."""
    beside = _PACKAGE.parent / folder
    return beside if (_PACKAGE.parent / "pyproject.toml").is_file() else _PACKAGE / "shipped" / folder
