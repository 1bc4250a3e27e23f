"""Records that come back from a device: checked one by one, then merged into a store."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vireid.bundle.device.record import FORMAT, SPECIFIED, VERSION, digest_of
from vireid.core.config import parse
from vireid.core.environment import MACHINE_IDENTITY
from vireid.core.errors import UserError
from vireid.core.identity import run_id
from vireid.core.records import CostRecord, LatencyRecord
from vireid.store import Store


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
    if content.get("version") != VERSION:
        raise UserError(
            f"{path}: version {content.get('version')} of record files, and this vireid reads {VERSION}; update vireid"
        )
    return [_checked(entry, f"{path}: record {number}") for number, entry in enumerate(content["records"], 1)]


def _checked(entry: Any, where: str) -> LatencyRecord:
    expected = {"specification": dict, "digest": str, "record": dict}
    if not isinstance(entry, dict) or any(not isinstance(entry.get(key), kind) for key, kind in expected.items()):
        raise UserError(f"{where}: has no {', '.join(expected)}; copy the file from the device again")
    plain, specified = entry["record"], entry["specification"]
    if plain.get("kind") != "latency":
        raise UserError(f"{where}: of kind '{plain.get('kind')}'; devices make latency records alone")
    record = parse(LatencyRecord, plain, where)
    if run_id(specified) != record.id:
        raise UserError(f"{where}: its id {record.id} does not match its specification ({run_id(specified)}): edited")
    machine = {key: record.environment.device.get(key) for key in MACHINE_IDENTITY}
    claimed = {**{key: plain.get(key) for key in SPECIFIED}, "device": machine}
    for key, value in claimed.items():
        if specified.get(key) != value:
            raise UserError(f"{where}: its {key} is not the one that its id {record.id} is of: edited")
    if digest_of(plain) != entry["digest"]:
        raise UserError(f"{where}: record {record.id} was changed after it was made")
    return record


def add_records(store: Store, records: Sequence[LatencyRecord]) -> Added:
    """Merge records into a store, each written whole; one that is there is never replaced."""
    added = Added()
    with store.lock("records"):
        failures = [failed.model_dump() for failed in store.failures()]
        graphs = {record.artefact for record in store.records() if isinstance(record, CostRecord)}
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
