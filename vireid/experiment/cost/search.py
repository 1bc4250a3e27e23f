"""How long a search takes: one query among random rows of a storage, on one core of this machine, raw samples.

Each measurement has a fresh process, pinned to its core, so that the memory that a gallery takes is seen as well. Ids
hash the machine, as those of latencies do.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Literal, Protocol

import numpy as np

from vireid.core.config import parse
from vireid.core.environment import package_version
from vireid.core.identity import run_id
from vireid.core.records import SearchRecord, now
from vireid.core.types import FloatArray
from vireid.evaluation.faiss_gallery import FaissGallery
from vireid.evaluation.gallery import Gallery, random_blocks, random_gallery, stand_in
from vireid.experiment.context import RunContext
from vireid.experiment.records import common
from vireid.profiling.config import LatencyBudget
from vireid.profiling.device import available_cores, describe_device, device_identity
from vireid.profiling.isolation import run_isolated
from vireid.profiling.memory import PeakMemory
from vireid.profiling.sampling import sample

Library = Literal["numpy", "faiss"]
TASK = "vireid.experiment.cost.search:measure_in_child"
ROWS = (1_000, 10_000, 100_000, 1_000_000)
TOP = 20
QUERIES = 16  # that take turns
PATIENCE = 900.0  # seconds for building a gallery, beside those of the samples
VERSION = "1"
"""Of what is timed; raised where that changes."""


class Searchable(Protocol):
    """A gallery that is ready."""

    def search(self, query: FloatArray, top: int) -> Any:
        """The best rows for a query."""
        ...


def search_step(
    run: RunContext,
    features: int,
    storages: Sequence[str],
    rows: Sequence[int] = ROWS,
    libraries: Sequence[Library] = ("numpy", "faiss"),
    budget: LatencyBudget | None = None,
    *,
    again: bool = False,
) -> list[SearchRecord]:
    """Time searches in random rows of every storage; finished records are reused.

    A measurement that fails leaves a failed record, and the others go on; a library that is not installed is left out.

    Args:
        run: whose store takes the records.
        features: width.
        storages: of ``vireid.evaluation.gallery``.
        rows: of the galleries.
        libraries: to search with.
        budget: of warm-up and measurement.
        again: measure anew where the profiler doubted a measurement on record.
    """
    taken = budget or LatencyBudget()
    installed = [library for library in libraries if library == "numpy" or find_spec("faiss") is not None]
    todo = [(library, name, count) for library in installed for name in storages for count in sorted(rows)]
    records = []
    for done, (library, name, count) in enumerate(todo):
        run.progress("time searches", done, len(todo), f"{library}, {name}, {count} rows")
        specified = {"storage": name, "features": features, "rows": count, "top": TOP, "library": library, "threads": 1}
        decided = {"budget": taken.model_dump(mode="json"), "device": device_identity(describe_device())}
        id_ = run_id({"kind": "search", "version": VERSION, **specified, **decided})
        record = run.store.get(id_)
        if not isinstance(record, SearchRecord) or (again and record.notes):
            started = now()
            asked = {**{k: v for k, v in specified.items() if k != "threads"}, "budget": decided["budget"]}
            answer = run_isolated(TASK, asked, threads=1, timeout_seconds=PATIENCE + taken.max_seconds)
            measured = {**specified, "library_version": _version(library), "affinity": answer.affinity, **answer.result}
            fields = {**measured, **common(run.config, started), "data_kind": "synthetic", "components": {}}
            notes = [*answer.notes, *answer.result.get("notes", [])]
            record = SearchRecord(
                **{**fields, "id": id_, "status": answer.status, "reason": answer.reason, "notes": notes}
            )
            run.store.put(record)
        records.append(record)
    run.progress("time searches", len(todo), len(todo))
    return records


def _version(library: Library) -> str:
    return np.__version__ if library == "numpy" else str(package_version("faiss-cpu") or package_version("faiss"))


def measure_in_child(
    storage: str, features: int, rows: int, top: int, library: Library, budget: dict[str, Any]
) -> dict[str, Any]:
    """The task of the isolated process: fill a gallery with random rows, then search it for one query at a time."""
    queries = np.random.default_rng(1).standard_normal((QUERIES, features), dtype=np.float32)
    build(storage, features, QUERIES, library).search(queries[0], 1)  # brings in libraries, which are no gallery's
    turn = 0
    with PeakMemory() as memory:
        gallery = build(storage, features, rows, library)

        def query() -> object:
            nonlocal turn
            turn += 1
            return gallery.search(queries[turn % QUERIES], min(top, rows))

        taken = parse(LatencyBudget, budget, "budget")
        samples = sample(query, batch=1, budget=taken, cores=available_cores())
    return {
        "warmup": samples.warmup,
        "seconds": samples.seconds,
        "notes": samples.notes,
        "gallery_bytes": gallery.nbytes if isinstance(gallery, Gallery) else None,
        "memory_bytes": memory.working_bytes,
    }


def build(storage: str, features: int, rows: int, library: Library) -> Searchable:
    """A gallery of random rows, made block by block, for one thread."""
    codec = stand_in(storage, features)
    if library == "numpy":
        return random_gallery(codec, rows)
    gallery = FaissGallery(codec, threads=1)
    for block in random_blocks(rows, features):
        gallery.add(block)
    return gallery
