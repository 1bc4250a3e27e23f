"""Writes a synthetic dataset in the on-disk layout of SYSU-MM01, RegDB or LLCM, whole or not at all.

Beside the files of the layout the root holds ``synthetic.json`` (what it is), ``attributes.parquet`` (one row per
image: path, identity, modality, camera, split, box, file size, attributes) and ``silhouettes.parquet`` (one PNG mask
per image); a loader of the real dataset ignores them.
"""

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

import pandas as pd

from vireid.core.config import canonical_json
from vireid.core.errors import UserError
from vireid.data.synthetic.captions import WITNESS, caption_files, witness_files
from vireid.data.synthetic.config import CARD, SyntheticConfig, read_card
from vireid.data.synthetic.render import draw_person
from vireid.data.synthetic.rendering_worker import Written, unwritable, write_all
from vireid.data.synthetic.shots import Plan, Shot, plan_llcm, plan_regdb, plan_sysu

ATTRIBUTES = "attributes.parquet"
SILHOUETTES = "silhouettes.parquet"

_PLANS: dict[str, Callable[[SyntheticConfig], Plan]] = {"sysu": plan_sysu, "regdb": plan_regdb, "llcm": plan_llcm}


def plan_dataset(config: SyntheticConfig) -> Plan:
    """List every image and index file of a configuration; renders nothing."""
    return _PLANS[config.layout](config)


def write_dataset(
    root: Path,
    config: SyntheticConfig,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Render the dataset into ``root`` and return ``root``; a finished one of the same specification is left as it is.

    Files are written into a hidden sibling folder that becomes ``root`` at the end, so that a killed writing leaves
    nothing that could be read as a dataset. The bytes depend on the configuration alone, not on ``workers``.

    Args:
        root: folder to make; may exist if empty.
        config: what to render.
        workers: number of processes.
        progress: called with (images written, images in all) after each identity.

    Raises:
        UserError: ``root`` holds something else, or cannot be written.
    """
    root = Path(root).absolute()
    if _is_finished(root, config):
        _add_witness(root, config)
        return root
    plan = plan_dataset(config)
    groups = [list(group) for _, group in groupby(plan.shots, key=lambda shot: shot.identity)]
    written: dict[str, Written] = {}
    with _partial_folder(root) as folder:
        for results in write_all(folder, config, groups, workers):
            written.update({result.path: result for result in results})
            if progress is not None:
                progress(len(written), len(plan.shots))
        try:
            _write_sidecars(folder, config, plan, written)
            _publish(folder, root, config)
        except OSError as error:
            raise unwritable(root, error) from error
    return root


def _add_witness(root: Path, config: SyntheticConfig) -> None:
    """Add a witness's captions to a finished dataset of before there were any; nothing else of it changes."""
    folder = root / "Text" / f"{WITNESS}_IR"
    if folder.is_dir():
        return
    try:
        with _locked(root):
            if folder.is_dir():
                return
            partial = Path(tempfile.mkdtemp(prefix=".Text.", suffix=".partial", dir=root))
            partial.chmod(0o755)
            for path, text in witness_files(config, plan_dataset(config).shots).items():
                (partial / Path(path).name).write_text(text, encoding="utf-8")
            partial.rename(folder)
    except OSError as error:
        raise unwritable(root, error) from error


def _write_sidecars(folder: Path, config: SyntheticConfig, plan: Plan, written: dict[str, Written]) -> None:
    """Write index files, captions, tables and, last, the card."""
    texts = {**plan.text_files, **caption_files(config, plan.shots)}
    contents = {path: text.encode() for path, text in texts.items()} | dict(plan.binary_files)
    for path, content in contents.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    attribute_table(config, plan.shots, written).to_parquet(folder / ATTRIBUTES, index=False)
    masks = [written[shot.path].silhouette for shot in plan.shots]
    frame = pd.DataFrame({"path": [shot.path for shot in plan.shots], "silhouette": masks})
    frame.to_parquet(folder / SILHOUETTES, index=False)
    card = {
        "data_kind": "synthetic",
        "note": "rendered people; results are not comparable with published ones",
        "specification": config.specification(),
        "images": len(plan.shots),
        "identities": config.num_ids,
    }
    (folder / CARD).write_text(json.dumps(card, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def attribute_table(config: SyntheticConfig, shots: Sequence[Shot], written: dict[str, Written]) -> pd.DataFrame:
    """One row per image, in the order of ``shots``: where, who, what is known of the file, and the attributes.

    ``modality`` is 0 for visible, 1 for infrared; the box is left, top, right, bottom in pixels; the attribute columns
    ``shared``, ``visible_only`` and ``infrared_only`` hold lists of names.
    """
    people = {identity: draw_person(config.seed, identity) for identity in sorted({s.identity for s in shots})}
    rows = []
    for shot in shots:
        person, known = people[shot.identity], written[shot.path]
        left, top, right, bottom = known.box
        rows.append(
            {
                "path": shot.path,
                "identity": shot.identity,
                "modality": int(shot.modality),
                "spectrum": shot.spectrum,
                "camera": shot.camera,
                "number": shot.number,
                "split": shot.split,
                "file_size": known.file_size,
                "box_left": left,
                "box_top": top,
                "box_right": right,
                "box_bottom": bottom,
                "shared": list(person.shared_attributes()),
                "visible_only": list(person.visible_attributes()),
                "infrared_only": list(person.infrared_attributes()),
            }
        )
    return pd.DataFrame(rows)


def _is_finished(root: Path, config: SyntheticConfig) -> bool:
    """True for a finished dataset of this specification, False for an empty or missing place.

    Raises:
        UserError: the place holds something else.
    """
    if not root.exists():
        return False
    if not root.is_dir():
        raise UserError(f"{root}: is a file; a dataset needs a folder of its own")
    card = read_card(root)
    if card is None:
        if any(root.iterdir()):
            raise UserError(f"{root}: is not empty and holds no synthetic dataset; choose another place")
        return False
    stored, wanted = card.get("specification", {}), config.specification()
    if canonical_json(stored) == canonical_json(wanted):
        return True
    differing = [key for key in sorted({*stored, *wanted}) if stored.get(key) != wanted.get(key)]
    changes = ", ".join(f"{key} {stored.get(key)!r} (wanted {wanted.get(key)!r})" for key in differing)
    raise UserError(f"{root}: holds another synthetic dataset: {changes}; choose another place or remove it")


@contextlib.contextmanager
def _partial_folder(root: Path) -> Iterator[Path]:
    """A hidden sibling folder to write into, removed unless it was published; leftovers of killed writings go first.

    A writing holds a lock on a file in its folder, which the system releases when the process dies.
    """
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with _locked(root.parent):
            for leftover in root.parent.glob(f".{root.name}.*.partial"):
                _remove_unless_in_use(leftover)
            folder = Path(tempfile.mkdtemp(prefix=f".{root.name}.", suffix=".partial", dir=root.parent))
            folder.chmod(0o755)
            lock = (folder / ".lock").open("w")
            fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError as error:
        raise unwritable(root, error) from error
    with lock:
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a lock on an existing folder, so that nobody clears away what another process is just setting up."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_unless_in_use(folder: Path) -> None:
    try:
        with (folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        return  # in use by another process, or not ours to remove


def _publish(folder: Path, root: Path, config: SyntheticConfig) -> None:
    """Rename the finished folder to ``root``; if another process was first with the same dataset, keep that one."""
    (folder / ".lock").unlink()
    try:
        folder.rename(root)
    except OSError:
        if not _is_finished(root, config):
            raise
