"""All combinations of model, threads and batch, one process each; records are written as they come."""

from __future__ import annotations

import statistics
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import machine, options
from .heat import heat_note, power_note
from .isolation import run_isolated
from .record import canonical_json, latency_record, now, specification, write_records

PATIENCE = 600.0  # seconds beside those of the measurement, after which a process is killed

Model = Mapping[str, Any]


class Measurements:
    """What was measured so far. ``forwards`` pairs names of models with records of forward passes.

    Models with the same graph and runtime are measured once, as the suite's records share latencies, and appear in
    ``forwards`` each.
    """

    def __init__(
        self,
        root: Path,
        given: Namespace,
        description: dict[str, Any],
        heading: Callable[[], Mapping[str, Any]],
        out: Path,
    ) -> None:
        self._root, self._given, self._description, self._out = root, given, description, out
        self._heading = heading  # asked whenever the file is written: temperatures go on
        bundle = heading()
        self._made_by = (
            f"measured on the device by bundle {bundle['bundle'][:12]} of vireid {bundle['vireid']}, whose process "
            "holds no PyTorch"
        )
        self.records: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self.forwards: list[tuple[str, dict[str, Any]]] = []
        self.remarks: list[str] = []
        self.failed = False

    def run(self, models: Sequence[Model], faults: Mapping[str, str | None]) -> None:
        """Measure the models without a fault; the others get failed records with theirs.

        Raises:
            OSError: the record file cannot be written.
        """
        usable = [model for model in models if faults[model["name"]] is None]
        groups: dict[str, list[Model]] = {}
        for model in usable:
            groups.setdefault(canonical_json([model["graph"], model["runtime"]]), []).append(model)
        todo = [(group, *mode) for group in groups.values() for mode in self._modes()]
        for model in models:
            for threads, batch, search in self._modes() if faults[model["name"]] is not None else ():
                specified = self._specification(model, threads, batch, search)
                self._keep(model, specified, _failed(str(faults[model["name"]])), now())
        if todo:
            length = self._given.sustained or self._given.seconds
            print(f"\n{len(todo)} measurement{'s' if len(todo) > 1 else ''} of about {length:g} s, in fresh processes")
        for number, (group, threads, batch, search) in enumerate(todo, 1):
            self._measure(f"  [{number}/{len(todo)}] ", group, threads, batch, search)

    def _modes(self) -> Iterator[tuple[int, int, dict[str, Any] | None]]:
        """Threads, batch, and the search that follows the network, where one does."""
        for threads in self._given.threads:
            for batch in self._given.batch:
                yield threads, batch, None
            for storage in self._given.storage if self._given.gallery else ():
                searched = {"gallery": self._given.gallery, "top": self._given.top}
                yield threads, 1, searched if storage == "fp32" else {**searched, "storage": storage}

    def _specification(self, model: Model, threads: int, batch: int, search: dict[str, Any] | None) -> dict[str, Any]:
        return specification(
            model,
            threads=threads,
            batch=batch,
            budget=options.budget(self._given.seconds),
            sustained_seconds=self._given.sustained,
            device=machine.identity(self._description),
            search=search,
        )

    def _measure(
        self, head: str, group: Sequence[Model], threads: int, batch: int, search: dict[str, Any] | None
    ) -> None:
        model, started = group[0], now()
        what = f"batch {batch}" if search is None else _searched(search)
        what = f"{', '.join(m['name'] for m in group)}, {threads} thread{'s' if threads > 1 else ''}, {what}: "
        head += what
        print(head, end="", flush=True)
        specified = self._specification(model, threads, batch, search)
        idle = self._given.idle if self._given.power else None
        answer = run_isolated(
            "measure",
            {
                **{name: model[name] for name in ("runtime", "resolution")},
                **{name: specified[name] for name in ("batch", "budget")},
                "model": str(self._root / model["file"]),
                "sustained_seconds": self._given.sustained,
                "idle_seconds": idle,
                "drop": self._given.drop,
                **(search or {}),
            },
            threads=threads,
            timeout_seconds=PATIENCE + (self._given.sustained or 0.0) + 6 * self._given.seconds + (idle or 0.0),
            waiting=_counting(head),
        )
        record = self._keep(model, specified, answer, started)
        if record["status"] != "ok":
            print(f"FAILED: {record['reason']}")
            self.failed = True
            return
        print(f"{1e3 * statistics.median(record['seconds']):.2f} ms" + _stage_times(record))
        for name, phrase in (("sustained", heat_note), ("power", power_note)):
            if name in record["sensors"]:
                print(f"    {phrase(record['sensors'][name])}")
        self.remarks += [what + note for note in record["notes"][1:]]
        if search is None:
            self.forwards += [(member["name"], {**record, "size_bytes": member["bytes"]}) for member in group]

    def _keep(self, model: Model, specified: dict[str, Any], answer: Mapping[str, Any], started: str) -> dict[str, Any]:
        environment = machine.environment(self._description, specified["threads"])
        record = latency_record(model, specified, answer, environment, started=started, made_by=self._made_by)
        self.records.append((specified, record))
        write_records(self._out, self._heading(), self.records)
        return record


def _searched(search: Mapping[str, Any]) -> str:
    storage = search.get("storage", "fp32")
    return f"network and search in {search['gallery']} rows" + ("" if storage == "fp32" else f" as {storage}")


def _failed(reason: str) -> dict[str, Any]:
    return {"status": "failed", "reason": reason, "affinity": None, "notes": [], "result": {}}


def _stage_times(record: Mapping[str, Any]) -> str:
    stages = {name: 1e3 * statistics.median(seconds) for name, seconds in record.get("stages", {}).items()}
    return f" ({', '.join(f'{name} {ms:.2f}' for name, ms in stages.items())})" if stages else ""


def _counting(head: str) -> Callable[[float], None]:
    """On a terminal, the seconds that have passed, written over each other."""
    if not sys.stdout.isatty():
        return lambda _: None

    def show(seconds: float) -> None:
        print(f"\r{head}{seconds:.0f} s", end=f"\r{head}", flush=True)

    return show
