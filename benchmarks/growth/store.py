"""A large store, made of the committed records: whole rounds of them, each with ids, networks and studies of its own.

Round 0 is as committed. In a further one every id is another, every plan is of a study of another name, and inputs are
higher by 8 pixels, so that its networks have graphs and costs of their own: a store grows by studies, and no
measurement of one round pools with those of another. A smaller store has the first records of round 0, those of the
studies that are rendered before all others.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

COMMITTED = Path(__file__).parents[2] / "results"
LONG_AGO = 10**18  # nanoseconds: an index does not rely on files that were written just now
_NAME = re.compile(r"\b[0-9a-f]{12}\b|\b[0-9a-f]{16}\b|\b[0-9a-f]{64}\b")


def make_store(root: Path, size: int, studies: Sequence[str]) -> Path:
    """A store of ``size`` records with the plans of what it holds.

    Args:
        root: folder that takes it.
        size: number of records; at least those of the first of ``studies``.
        studies: committed ones, whose records come first.
    """
    files = sorted(file for file in (COMMITTED / "runs").glob("*.json") if len(file.stem) == 12)
    plans = {path.parent.name: json.loads(path.read_bytes()) for path in COMMITTED.glob("studies/*/plan.json")}
    contents = [json.loads(file.read_bytes()) for file in files]
    first = [position for study in studies for position in _of_study(plans[study], contents)]
    contents = [contents[position] for position in dict.fromkeys((*first, *range(len(contents))))]
    graphs = {graph for content in contents if (graph := _graph(content)) is not None}
    known = {file.stem for file in files} | graphs | {name for plan in plans.values() for name in named(plan)}
    (root / "runs").mkdir(parents=True)
    left = size
    for number in itertools.count():
        if not left:
            return root
        for content in contents[:left]:
            copy = content if not number else _other(content, number, known)
            path = root / "runs" / f"{copy['id']}.json"
            path.write_text(json.dumps(copy, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            os.utime(path, ns=(LONG_AGO, LONG_AGO))
        left -= len(contents[:left])
        present = {file.stem for file in (root / "runs").iterdir()}
        for name, plan in plans.items():
            copy = plan if not number else _other(plan, number, known) | {"name": f"{name}_{number}"}
            if present.issuperset(run["fit"] for run in copy["runs"]):
                folder = root / "studies" / copy["name"]
                folder.mkdir(parents=True)
                (folder / "plan.json").write_text(json.dumps(copy), encoding="utf-8")
    raise AssertionError("never: rounds have no end")


def _of_study(plan: dict[str, Any], contents: Sequence[dict[str, Any]]) -> Iterator[int]:
    """Positions of what a plan names, then of the latencies of its networks."""
    wanted = set(named(plan))
    yield from (position for position, content in enumerate(contents) if content["id"] in wanted)
    graphs = {_graph(c) for c in contents if c["id"] in wanted and c["kind"] == "cost"}
    for position, content in enumerate(contents):
        if content["kind"] == "latency" and _graph(content) in graphs:
            yield position


def named(plan: dict[str, Any]) -> Iterator[str]:
    """Ids of the records that a plan names."""
    for run in plan["runs"]:
        yield from (run["fit"], run["cost"], *run["evaluations"], *run.get("deployed", ()))


def _graph(content: dict[str, Any]) -> str | None:
    """Digest of the deployed graph that a record is of."""
    artefact = content.get("artefact")
    return artefact["graph"] if isinstance(artefact, dict) else artefact


def _other(content: dict[str, Any], number: int, known: set[str]) -> dict[str, Any]:
    """A record or a plan of a further round."""

    def renamed(match: re.Match[str]) -> str:
        name = match[0]
        return hashlib.sha256(f"{number} {name}".encode()).hexdigest()[: len(name)] if name in known else name

    copy: dict[str, Any] = json.loads(_NAME.sub(renamed, json.dumps(content)))
    higher = 8 * number
    for sized in (copy, copy["artefact"] if isinstance(copy.get("artefact"), dict) else {}):
        if "resolution" in sized:
            sized["resolution"][0] += higher
    data = copy.get("config", {}).get("data", {}) if copy.get("kind") == "fit" else {}
    if isinstance(data.get("height"), int):
        data["height"] += higher
    return copy
