"""What a machine with a CUDA device shows about this suite, in one run of at most so many seconds.

    make accelerator                                      # in the project's own environment
    python3 benchmarks/accelerator.py --released PATH     # in any environment that has what vireid imports

Parts, each in a process of its own and with its share of the time: the device tests; a training step of IDKL
(ResNet-50, 384×144, 120 images) in every precision, beside the released code's (github.com/1KK077/IDKL) where a
checkout is named; the deployed model eager and compiled; the ranking of 50,000 features beside the CPU's; and, in all
the time that is left, a fit of full size with its evaluation on dev. What time does not allow is skipped with a line
that says so; what fails is recorded with its reason, the rest goes on, and the exit status is 1 in the end.

Written to ``--to``: accelerator.json (raw samples and the machine), accelerator.md, log.txt, and the records of the fit
as the suite's store has them. ``--device cpu --dry`` runs every part at toy size in under a minute.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]  # the checkout itself, installed or not

TESTS = "tests/training/test_accelerator.py"
PARTS = {  # title and share of the budget; what a part leaves goes to those after it, and the last has all that is left
    "tests": ("Device tests", 0.25),
    "steps": ("Training step of IDKL", 0.2),
    "deployed": ("Deployed model", 0.25),
    "ranking": ("Ranking of features", 0.1),
    "full_fit": ("Fit of full size", 1.0),
}
LEAST = 3.0  # seconds in which no part does anything: its process has not begun by then
GRACE = 20.0  # seconds after its deadline in which a part may end by itself
LOG_BYTES = 4_000_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    options = _parser().parse_args(arguments)
    if options.part is not None:
        _child(options.part, json.loads(options.task))
        return 0

    import torch

    if options.device != "cpu" and not torch.cuda.is_available():
        print(f"PyTorch {torch.__version__} finds no CUDA device; --device cpu --dry tries the script", file=sys.stderr)
        return 2
    if options.device == "cpu" and not options.dry:
        print("--device cpu goes with --dry: full sizes take hours on a processor", file=sys.stderr)
        return 2
    options.to.mkdir(parents=True, exist_ok=True)
    log = options.to / "log.txt"
    log.write_text("", encoding="utf-8")
    started = time.time()
    record = _header(options)
    names = [name for name in PARTS if not options.only or name in options.only]
    for name in names:
        record["parts"].append(_part(name, options, started + options.budget, last=name == names[-1], log=log))
        _write(record, options.to)
        print(f"{PARTS[name][0]}: {record['parts'][-1]['status']}, {record['parts'][-1]['seconds']:.0f} s", flush=True)
    print("\n" + (options.to / "accelerator.md").read_text(encoding="utf-8"))
    return 1 if any(part["status"] == "failed" for part in record["parts"]) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N; cpu only with --dry")
    parser.add_argument("--dry", action="store_true", help="toy sizes: does the script run?")
    parser.add_argument("--budget", type=float, default=float(os.environ.get("BUDGET") or 480), help="seconds in all")
    parser.add_argument("--to", type=Path, default=ROOT / "results" / "local" / "accelerator")
    parser.add_argument("--released", default=os.environ.get("RELEASED") or None, help="checkout of 1KK077/IDKL")
    parser.add_argument("--commit", help="of the code, where the checkout has no .git")
    parser.add_argument("--only", action="append", choices=list(PARTS), help="repeatable")
    parser.add_argument(
        "--fit", action="append", default=[], metavar="KEY=VALUE", help="override of the fit; repeatable"
    )
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--task", help=argparse.SUPPRESS)
    return parser


def _header(options: argparse.Namespace) -> dict[str, Any]:
    """Provenance: the machine, the software, the code, the command."""
    import torch

    from vireid.core.environment import snapshot
    from vireid.core.records import now
    from vireid.profiling.device import describe_device

    gpu = options.device != "cpu"
    name = torch.cuda.get_device_name(options.device) if gpu else "cpu"
    card = snapshot(accelerator=name, threads=torch.get_num_threads(), device=describe_device())
    words = [*sys.argv] if options.released is None else ["PATH" if w == options.released else w for w in sys.argv]
    return {
        "schema_version": 1,
        "kind": "accelerator",
        "command": shlex.join(["python", *words]),
        "commit": card.git_commit or options.commit,
        "started": now(),
        "ended": None,
        "budget_seconds": options.budget,
        "dry": options.dry,
        "device": options.device,
        "environment": card.model_dump(mode="json"),
        "gpu": {
            "cuda": torch.version.cuda if gpu else None,
            "cudnn": torch.backends.cudnn.version() if gpu else None,  # type: ignore[no-untyped-call]
            **(_driver() if gpu else {}),
        },
        "parts": [],
    }


def _driver() -> dict[str, Any]:
    """What ``nvidia-smi`` says, where it is there."""
    fields = ("name", "driver_version", "memory.total", "power.limit", "clocks.max.sm", "clocks.max.memory")
    try:
        asked = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader"]
        text = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return {"driver": None, "nvidia_smi": f"{type(error).__name__}: {error}"}
    values = [value.strip() for value in text.splitlines()[0].split(",")]
    return {"driver": values[1] if len(values) > 1 else None, "nvidia_smi": dict(zip(fields, values, strict=False))}


def _part(name: str, options: argparse.Namespace, end: float, *, last: bool, log: Path) -> dict[str, Any]:
    """One part in a process of its own; whatever happens to it, this returns."""
    title, share = PARTS[name]
    began = time.time()
    deadline = end if last else min(end, began + share * options.budget)
    if deadline - began < LEAST:
        rows: list[dict[str, Any]] = []
        status, reason = "skipped", f"the {options.budget:.0f} s of the budget are spent"
    else:
        try:
            rows, fault = _tests(deadline, log) if name == "tests" else _measured(name, options, deadline, log)
            broken = [row["name"] for row in rows if row["status"] == "failed"]
            fault = fault or (f"failed: {', '.join(broken)}" if broken else "")
            status, reason = "failed" if fault else "ok", fault
            if not fault and all(row["status"] == "skipped" for row in rows):
                status = "skipped"
        except Exception as error:  # the other parts can do without it
            rows, status, reason = [], "failed", f"{type(error).__name__}: {error}"
    return {
        "name": name,
        "title": title,
        "status": status,
        "reason": reason,
        "seconds": time.time() - began,
        "rows": rows,
    }


def _measured(name: str, options: argparse.Namespace, deadline: float, log: Path) -> tuple[list[dict[str, Any]], str]:
    """Rows of a part, also those before its end where it fails, and what is wrong with it."""
    task = {
        "device": options.device,
        "dry": options.dry,
        "deadline": deadline,
        "to": str(options.to.resolve()),
        "released": options.released and str(Path(options.released).resolve()),
        "overrides": options.fit,
    }
    words = [sys.executable, "-W", "ignore", __file__, "--part", name, "--task", json.dumps(task)]
    status, output = _run(name, words, deadline, log)
    rows = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return rows, status


def _tests(deadline: float, log: Path) -> tuple[list[dict[str, Any]], str]:
    """The device tests by pytest; a row for all, and one for each that failed."""
    with tempfile.TemporaryDirectory(prefix="vireid-accelerator-") as folder:
        found = Path(folder) / "tests.xml"
        words = [sys.executable, "-m", "pytest", TESTS, f"--junitxml={found}", "-W", "ignore"]
        fault, _ = _run("tests", words, deadline, log)
        if not found.is_file():
            return [], fault or "pytest wrote no results"
        cases = list(ET.parse(found).iter("testcase"))
    rows: list[dict[str, Any]] = []
    counts = {"passed": 0, "skipped": 0, "failed": 0}
    for case in cases:
        broken = [child for child in case if child.tag in ("failure", "error")]
        skip = [child for child in case if child.tag == "skipped"]
        counts["failed" if broken else "skipped" if skip else "passed"] += 1
        if broken:
            reason = broken[0].get("message") or "no message"
            rows.append({"name": case.get("name"), "status": "failed", "reason": reason[:2000]})
    summary = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    all_skipped = counts["skipped"] == len(cases)
    if all_skipped and cases:
        why = next(child.get("message") for case in cases for child in case if child.tag == "skipped")
        rows.insert(0, {"name": "all", "status": "skipped", "reason": f"{summary}: {why}"})
    else:
        names = {str(case.get("name")): float(case.get("time") or 0) for case in cases}
        rows.insert(0, {"name": "all", "status": "ok", "tests": summary, "test_seconds": names})
    return rows, "" if counts["failed"] else fault


def _run(name: str, words: list[str], deadline: float, log: Path) -> tuple[str, str]:
    """What is wrong with how a process ended, empty where nothing is, and its output; what else it says is logged."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "CUBLAS_WORKSPACE_CONFIG": os.environ.get("CUBLAS_WORKSPACE_CONFIG", ":4096:8"),
        "ACCELERATE_LOG_LEVEL": "ERROR",
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),  # no core is held while the device works
    }
    with tempfile.TemporaryFile("w+b") as output, tempfile.TemporaryFile("w+b") as errors:
        child = subprocess.Popen(words, cwd=ROOT, env=environment, stdout=output, stderr=errors, start_new_session=True)
        try:
            code: int | None = child.wait(max(1.0, deadline + GRACE - time.time()))
        except subprocess.TimeoutExpired:
            code = None
        except BaseException:
            _kill(child)
            raise
        if code is None:
            _kill(child)
        output.seek(0)
        errors.seek(0)
        said, complaints = (file.read().decode("utf-8", "replace") for file in (output, errors))
    with log.open("a", encoding="utf-8") as file:
        file.write(f"== {name}, exit status {code}\n{said[-LOG_BYTES // 10 :]}\n{complaints[-LOG_BYTES // 10 :]}\n")
    if code is None:
        return f"had not ended {GRACE:.0f} s after its time was up, and was ended", said
    last = complaints.strip().splitlines()[-1:] or ["no message"]
    return "" if code == 0 else f"ended with status {code}: {last[0][:500]}", said


def _kill(child: subprocess.Popen[bytes]) -> None:
    """End a process with those that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _child(name: str, task: dict[str, Any]) -> None:
    """Measure, and print a line of JSON for each row; whatever else is printed goes to standard error."""
    reply = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    from device.task import Task

    part = importlib.import_module(f"device.{name}")
    for row in part.measure(Task(**{**task, "overrides": tuple(task["overrides"])})):
        print(json.dumps(row), file=reply)


def _write(record: dict[str, Any], to: Path) -> None:
    """Both files anew after every part, so that a machine that is taken away leaves what it had measured."""
    from device.report import markdown

    from vireid.core.records import now
    from vireid.store import write_atomically

    record["ended"] = now()
    write_atomically(to / "accelerator.json", json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    write_atomically(to / "accelerator.md", markdown(record))


if __name__ == "__main__":
    sys.exit(main())
