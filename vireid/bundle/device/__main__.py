"""From a bundle to a record file: check features, measure every combination in a process of its own, print, choose."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from ...profiling import sensors
from ...profiling.sampling import summarise
from . import machine, options, phrases
from .choice import Candidate, choose
from .isolation import run_isolated
from .measurements import Measurements

HERE = Path(__file__).resolve().parents[3]
CHECK_SECONDS = 600.0  # after which a check of features is given up


def main(arguments: Sequence[str], root: Path = HERE) -> int:
    """Carry out the command; its exit code."""
    bundle = json.loads((root / "bundle.json").read_text(encoding="utf-8"))
    models: list[dict[str, Any]] = bundle["models"]
    protocols = sorted({known["protocol"] for model in models for known in model["accuracy"]})
    given = options.parse(arguments, [model["name"] for model in models], protocols, machine.usable_cores())
    if given.list:
        print("\n".join(model["name"] for model in models))
        return 0
    models = [model for model in models if model["name"] in (given.only or [model["name"]])]
    description = machine.describe()
    reason = "--emulated was given" if given.emulated else machine.emulated()
    out = given.out or Path(f"record-{machine.slug(description['cpu'])}-{datetime.now():%Y-%m-%d-%H%M%S}.json")
    if reason is None and not os.access(out.parent, os.W_OK):
        print(f"error: {out.parent}: cannot be written; name another place with --out", file=sys.stderr)
        return 2
    taken = f"{len(models)} of {len(bundle['models'])} models"
    print(f"bundle {bundle['digest'][:12]} of vireid {bundle['vireid']}, its files unchanged: {taken}")
    print(*phrases.machine(description, sensors.describe(), machine.packages()), sep="\n")
    print("\nfeatures against the stored references")
    before = machine.temperature()
    checks = [_check(root, model, max(given.threads)) for model in models]
    failed = not all(check["passed"] for check in checks)
    if reason is not None:
        print(f"\nemulated ({reason}): features were checked, latency is not measured and no record written")
        return int(failed)
    heading = {"bundle": bundle["digest"], "vireid": bundle["vireid"], "by": given.by, "checks": checks}
    measured = Measurements(
        root, given, description, lambda: {**heading, "device": machine.card(description, before)}, out
    )
    try:
        measured.run(models, {check["model"]: check["reason"] for check in checks})
    except KeyboardInterrupt:
        print("\ninterrupted; " + (f"what was measured is in {out}" if measured.records else "nothing was measured"))
        return 130
    except OSError as error:
        print(f"error: {out}: cannot be written ({error.strerror}); name another place with --out", file=sys.stderr)
        return 2
    _conclude(models, measured, given, out)
    return int(failed or measured.failed)


def _check(root: Path, model: Mapping[str, Any], threads: int) -> dict[str, Any]:
    """Compare a model's features with the stored ones and print how near they are; what the record file says of it."""
    from .features import fault

    answer = run_isolated(
        "check",
        {
            **{name: str(root / model["references"][name]) for name in ("images", "features")},
            **{name: model[name] for name in ("runtime", "mean", "std")},
            "model": str(root / model["file"]),
        },
        threads=threads,
        timeout_seconds=CHECK_SECONDS,
    )
    compared = answer["result"]
    if answer["status"] == "ok":
        reason = fault(model["precision"], compared, model["check"])
    else:
        reason = f"the features could not be computed: {answer['reason']}"
    if reason is None:
        print(f"  {model['name']}: fine ({phrases.nearness(model['precision'], compared)})")
    else:
        print(f"  {model['name']}: FAILED: {reason}")
    if model["precision"] == "int8":
        print(f"    int8 on {machine.kernels()} here, the references on {model['computed_with']['kernels']}")
    cosine = compared.get("cosine")
    return {
        **{name: model[name] for name in ("graph", "precision")},
        "model": model["name"],
        "passed": reason is None,
        "reason": reason,
        "images": compared.get("images"),
        "cosine": cosine if cosine is not None and math.isfinite(cosine) else None,
    }


def _conclude(models: Sequence[Mapping[str, Any]], measured: Measurements, given: Any, out: Path) -> None:
    accuracies = _accuracies(models, given.protocol)
    rows = [phrases.row(name, record, accuracies.get(name)) for name, record in measured.forwards]
    if rows:
        print("", *phrases.table(rows), sep="\n")
    foreign = [
        phrases.foreign_accuracy(model["name"], accuracies[model["name"]], machine.kernels())
        for model in models
        if model["precision"] == "int8" and model["name"] in accuracies and rows
    ]
    for note in [*measured.remarks, *filter(None, foreign)]:
        print(f"note: {note}")
    print(f"\nrecord: {out} (add it where the suite is: vireid results add {out.name})")
    candidates = _candidates(measured.forwards, accuracies)
    if candidates:
        note = next((known["note"] for known in accuracies.values()), "")
        print(phrases.sentence(choose(candidates, given.max_ms, given.max_mb), given.max_ms, given.max_mb, note))
        taken = {known["protocol"] for known in accuracies.values()}
        others = sorted({known["protocol"] for model in models for known in model["accuracy"]} - taken)
        if others:
            print(f"Accuracies are also known under: {'; '.join(others)} (choose with --protocol).")


def _accuracies(models: Sequence[Mapping[str, Any]], protocol: str | None) -> dict[str, Mapping[str, Any]]:
    """Each model's accuracy under the protocol and on the images that most of them were evaluated on.

    Where ``protocol`` is given, of those protocols that have it in their name.
    """
    known = [entry for model in models for entry in model["accuracy"] if (protocol or "") in entry["protocol"]]
    keys = [entry["key"] for entry in known]
    common = max(dict.fromkeys(keys), key=keys.count, default=None)
    return {m["name"]: entry for m in models for entry in m["accuracy"] if entry["key"] == common}


def _candidates(
    forwards: Sequence[tuple[str, Mapping[str, Any]]], accuracies: Mapping[str, Mapping[str, Any]]
) -> list[Candidate]:
    """Each model at its fastest number of threads, with the smallest batch that was measured."""
    batch = min((record["batch"] for _, record in forwards), default=1)
    fastest: dict[str, Candidate] = {}
    for name, record in forwards:
        if record["batch"] != batch:
            continue
        accuracy = accuracies.get(name, {})
        candidate = Candidate(
            name=name,
            ms=1e3 * summarise(record["seconds"], batch).p50,
            mb=record["size_bytes"] / 1e6,
            **{key: accuracy.get(key) for key in ("mAP", "low", "high")},
            protocol=accuracy.get("protocol", ""),
        )
        if name not in fastest or candidate.ms < fastest[name].ms:
            fastest[name] = candidate
    return list(fastest.values())


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):
        # A terminal that cannot show a character gets a question mark, and a pipe every line when it is written.
        sys.stdout.reconfigure(errors="replace", line_buffering=True)
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("\ninterrupted; nothing was measured")
        sys.exit(130)
