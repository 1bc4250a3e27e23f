"""Files of other people's boards: checked, then filed under ``devices/<device>/<digest>.json``, never replaced."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vireid.bundle.device.machine import slug
from vireid.bundle.device.record import VERSION, digest_of
from vireid.bundle.plausibility import Macs, fault, remarks
from vireid.bundle.write import checked_entry
from vireid.core.contribution import Contribution, parse_contribution
from vireid.core.errors import UserError
from vireid.core.records import CostRecord
from vireid.core.untrusted import read_bytes, read_plain
from vireid.store import DIGEST_LENGTH, Store, unwritable, write_atomically

_RESERVED = re.compile(r"con|prn|aux|nul|com\d|lpt\d")


@dataclass(frozen=True)
class Checked:
    """A file that may be filed."""

    plain: dict[str, Any]
    contribution: Contribution
    remarks: list[str]

    @property
    def digest(self) -> str:
        """Of the content, however it is laid out: the file's name."""
        return digest_of(self.plain)[:DIGEST_LENGTH]

    @property
    def place(self) -> Path:
        """Below the folder of devices. A slug has no dot and no slash, and is no name that Windows keeps to itself."""
        device = slug(self.contribution.device.cpu)
        return Path(f"{device}-device" if _RESERVED.fullmatch(device) else device) / f"{self.digest}.json"


def version_of(path: Path) -> int | None:
    """The version that a record file claims; None of what is no record file.

    Raises:
        UserError: it cannot be read, is too large, or is not plain JSON.
    """
    version = read_plain(read_bytes(path), str(path)).get("version")
    return version if isinstance(version, int) else None


def check_file(path: Path, macs: Macs) -> Checked:
    """Read a file of a stranger and hold it to the schema, to its own digests, and to what can be true.

    Args:
        path: of the file.
        macs: as ``known_macs`` gives it.

    Raises:
        UserError: it is refused; why.
    """
    where = str(path)
    plain = read_plain(read_bytes(path), where)
    if plain.get("version") != VERSION:
        raise UserError(f"{where}: not a record file of version {VERSION}; bring a new bundle to the device")
    contribution = parse_contribution(plain, where)
    for number, entry in enumerate(plain["records"], 1):
        checked_entry(entry, f"{where}: record {number}")
    reason = fault(contribution, macs)
    if reason:
        raise UserError(f"{where}: {reason}")
    return Checked(plain, contribution, remarks(contribution, macs))


def known_macs(store: Store) -> Macs:
    """Multiply-accumulates of an image by digest of the graph and resolution, of a store's cost records."""
    every = store.records(lambda row: row.kind == "cost")
    costs = (record for record in every if isinstance(record, CostRecord))
    return {(cost.artefact, cost.resolution): cost.macs for cost in costs if cost.artefact is not None and cost.macs}


def file_contribution(store: Store, checked: Checked) -> tuple[Path, bool]:
    """Write a checked file into its place: the place, and whether it is new.

    Raises:
        UserError: its measurements are filed under another name, the place holds something else or lies outside of the
            folder, or it cannot be written.
    """
    target = store.devices / checked.place
    with store.lock("devices"):
        if not target.resolve().is_relative_to(store.devices.resolve()):
            raise UserError(f"{target}: leads out of {store.devices} by a link; remove the link")
        if target.exists():
            if _same(target, checked):
                return target, False
            raise UserError(f"{target}: is there with other content, which was kept; move it away to file this one")
        if (other := _twin(store, checked)) is not None:
            raise UserError(f"these measurements are filed already, in {other}; nothing was written")
        try:
            write_atomically(target, json.dumps(checked.plain, indent=1, ensure_ascii=False) + "\n")
        except OSError as error:
            raise unwritable(target, error) from error
    return target, True


def check_devices(store: Store) -> tuple[int, list[str]]:
    """Check every file below the folder of devices: how many are right, and what is wrong with the others.

    A file must lie where its content says; nothing else belongs there.
    """
    paths = sorted(path for path in store.devices.rglob("*") if path.is_symlink() or not path.is_dir())
    macs = known_macs(store) if paths else {}
    right, wrong = 0, []
    taken: dict[str, Path] = {}
    for path in paths:
        try:
            if path.is_symlink() or not path.resolve().is_relative_to(store.devices.resolve()):
                raise UserError(f"{path}: a link; give the file itself")
            checked = check_file(path, macs)
            if path.relative_to(store.devices) != checked.place:
                raise UserError(f"{path}: belongs to {store.devices / checked.place}; add it with `vireid results add`")
            for digest in _digests(checked):
                if digest in taken:
                    raise UserError(f"{path}: has measurements that are in {taken[digest]} too")
            taken |= dict.fromkeys(_digests(checked), path)
            right += 1
        except UserError as error:
            wrong.append(str(error))
    return right, wrong


def _same(path: Path, checked: Checked) -> bool:
    try:
        return digest_of(read_plain(read_bytes(path), str(path))) == digest_of(checked.plain)
    except UserError:
        return False


def _digests(checked: Checked) -> set[str]:
    return {entry.digest for entry in checked.contribution.records if entry.record.status == "ok"}


def _twin(store: Store, checked: Checked) -> Path | None:
    """A filed file that holds one of these measurements, under whatever name of who measured."""
    return next((path for path, digests in _filed(store) if digests & _digests(checked)), None)


def _filed(store: Store) -> Iterator[tuple[Path, set[str]]]:
    for path in sorted(store.devices.glob("*/*.json")):
        try:
            entries = read_plain(read_bytes(path), str(path)).get("records")
        except UserError:
            continue  # `check_devices` says so
        if isinstance(entries, list):
            yield path, {str(entry.get("digest")) for entry in entries if isinstance(entry, dict)}
