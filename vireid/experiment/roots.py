"""Where a fit's images were last found: kept beside its record, outside its identity."""

from __future__ import annotations

from pathlib import Path

from vireid.config import ExperimentConfig
from vireid.store import Store, write_atomically

_FILE = "root.txt"


def remember_root(config: ExperimentConfig, store: Store, run: str) -> None:
    """Keep the root of a fit's images for commands that name the run alone; rendered ones have a place of their own."""
    root, file = config.data.root, store.directory(run) / _FILE
    if root is not None and config.data.synthetic is None and root != last_root(store, run):
        write_atomically(file, f"{root.absolute()}\n")


def last_root(store: Store, run: str) -> Path | None:
    """That root, if it is still there."""
    file = store.directory(run) / _FILE
    root = Path(file.read_text(encoding="utf-8").rstrip("\n")) if file.is_file() else None
    return root if root is not None and root.is_dir() else None
