"""The deployed graph in every runtime beside the released code's evaluation forward: ResNet-50, 384×144, one image.

Every contestant has a process of its own, pinned to the same cores, and they take turns. The released code
(github.com/1KK077/IDKL) is not part of this project; say where a checkout lies, or its row is left out:

    python benchmarks/bench_deployment.py --released PATH --threads 2 --json out.json --write

With a checkout all contestants have the released model's weights, and their features are compared with its own.
`--artefact FILE` (repeatable) lets an exported file take part too. Needs 8 GB of memory and about ten minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import torch
from deployment.contestants import RUNTIMES_OF_OURS, Task
from training.document import command, write_table
from training.released import find_checkout

from vireid.profiling.device import available_cores, describe_device
from vireid.profiling.export.formats import TOLERANCE, difference

VARIABLE = "VIREID_RELEASED_IDKL"
DOCUMENT = Path(__file__).parents[1] / "docs" / "export.md"
CLASSES = 395
PAUSE = 0.2  # seconds before a turn, in which the threads of the last one go to sleep
GOALS = {"fp32": 2.5, "int8": 9.0}  # times faster than the released forward, the best of each precision


@dataclass(frozen=True)
class Comparison:
    """Raw seconds by contestant and round; why others are missing; how far features are from the reference's."""

    rounds: dict[str, list[list[float]]]
    skipped: dict[str, str]
    differences: dict[str, float | None]  # None: weights of its own
    reference: str
    settings: dict[str, Any]
    machine: dict[str, Any]

    def milliseconds(self, name: str) -> float:
        """Median over rounds of the median within a round."""
        return 1e3 * statistics.median(statistics.median(turn) for turn in self.rounds[name])

    def ratios(self, name: str) -> list[float]:
        """Reference time ÷ time of every round, medians both: they take their turns in the same round."""
        pairs = zip(self.rounds[self.reference], self.rounds[name], strict=True)
        return [statistics.median(slow) / statistics.median(fast) for slow, fast in pairs]


class Worker:
    """A contestant's process."""

    def __init__(self, task: Task) -> None:
        count = str(task.threads)
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "deployment.worker"],
            cwd=Path(__file__).parent,
            env=os.environ | {"OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self.skipped: str | None = self.ask(json.dumps(asdict(task)))["skipped"]

    def ask(self, line: str) -> Any:
        """Its answer to one line."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"a contestant ended with status {self._process.wait()}; its error stands above")
        return json.loads(answer)

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def compare(
    checkout: Path | None,
    *,
    rounds: int,
    calls: int,
    threads: int,
    height: int = 384,
    width: int = 144,
    only: Sequence[str] = (),
    artefacts: Sequence[Path] = (),
    say: Callable[[str], None] = print,
) -> Comparison:
    """Let all contestants take their turns, one after the other within a round.

    Args:
        checkout: of the released code; eager mode is the reference without.
        rounds: turns of each.
        calls: timed forwards of a turn.
        threads: of each, and cores that it is pinned to.
        height: pixels.
        width: pixels.
        only: names of ``RUNTIMES_OF_OURS`` to let take part; all when empty.
        artefacts: exported files that take part too.
        say: told of progress.
    """
    reference = "released" if checkout else "eager fp32"
    ours = [name for name in RUNTIMES_OF_OURS if not only or name in only or name == reference]
    names = [*(["released"] if checkout else []), *ours, *(str(file) for file in artefacts)]
    workers: dict[str, Worker] = {}
    skipped: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="vireid-benchmark-") as folder:
        try:
            for name in names:
                file = name if name not in (*RUNTIMES_OF_OURS, "released") else None
                weights, released = str(Path(folder) / "released.pth"), checkout and str(checkout)
                worker = Worker(Task(name, height, width, threads, CLASSES, released, weights, file))
                if worker.skipped is not None:
                    skipped[name] = worker.skipped
                    worker.close()
                    say(f"{name}: {worker.skipped}")
                    continue
                workers[name] = worker
                say(f"{name}: ready")
            expected = torch.tensor(workers[reference].ask("features"))
            differences = {
                name: None if Path(name).suffix else difference(torch.tensor(worker.ask("features")), expected)
                for name, worker in workers.items()
            }
            turns: dict[str, list[list[float]]] = {name: [] for name in workers}
            for number in range(rounds):
                for name, worker in workers.items():
                    time.sleep(PAUSE)
                    turns[name].append(worker.ask(str(calls)))
                words = ", ".join(f"{name} {1e3 * statistics.median(turns[name][-1]):.1f}" for name in workers)
                say(f"round {number + 1} of {rounds}, ms: {words}")
        finally:
            for worker in workers.values():
                worker.close()
    settings = {"height": height, "width": width, "threads": threads, "rounds": rounds, "calls": calls, "batch": 1}
    shown = {name: Path(name).name if Path(name).suffix else name for name in names}
    return Comparison(
        {shown[name]: found for name, found in turns.items()},
        skipped,
        {shown[name]: found for name, found in differences.items()},
        reference,
        settings,
        describe_device(),
    )


def table(result: Comparison) -> str:
    """Markdown: a row per contestant, who is missing, then the machine."""
    settings, machine, reference = result.settings, result.machine, result.reference
    lines = [
        f"| forward | ms | {reference} ÷ this | lowest to highest round | features differ by |",
        "|---|---|---|---|---|",
    ]
    for name in result.rounds:
        ratios, gap = result.ratios(name), result.differences[name]
        far = "–" if gap is None or name == reference else f"{gap:.0e}"
        spread = "–" if name == reference else f"{min(ratios):.2f} to {max(ratios):.2f}"
        lines.append(
            f"| {name} | {result.milliseconds(name):.1f} | {statistics.median(ratios):.2f} | {spread} | {far} |"
        )
    lines += [f"\n{name} is left out: {reason}" for name, reason in result.skipped.items()]
    lines.append("")
    lines.append(
        f"ResNet-50, {settings['height']}×{settings['width']}, one image, {settings['threads']} threads pinned to as "
        f"many cores; median of {settings['rounds']} interleaved rounds of {settings['calls']} forwards; ratios are "
        f"medians over rounds. Features: largest error of any value relative to the feature's root mean square; "
        "weights are drawn and int8 is calibrated on noise, so what int8 costs in accuracy is told by trained fits "
        "alone (`vireid quantise`). "
        f"{machine['cpu']} (family, model, stepping {'/'.join(map(str, machine['cpu_family_model_stepping']))}; "
        f"{' '.join(machine['isa'])}), {machine['physical_cores']} cores; torch {machine['torch']}."
    )
    return "\n".join(lines)


def _checkout(given: str | None) -> tuple[Path | None, str]:
    """Folder of the released code, and why there is none."""
    if not given:
        return None, f"no checkout of the released code: give --released PATH or {VARIABLE}=PATH"
    found = find_checkout(Path(given).resolve())
    return found, "" if found else f"{given} holds no models/baseline.py: give a checkout of 1KK077/IDKL"


def _faults(result: Comparison) -> list[str]:
    """What of the comparison is not as it must be."""
    fp32 = [name for name in result.rounds if name.endswith(" fp32")]
    faults = [
        f"features of {name} differ by {gap:.1e}, more than {TOLERANCE:.0e}"
        for name in fp32
        if (gap := result.differences[name]) is not None and not gap <= TOLERANCE
    ]
    if result.reference == "released":
        for precision, goal in GOALS.items():
            ratios = [statistics.median(result.ratios(name)) for name in result.rounds if name.endswith(precision)]
            if not ratios or max(ratios) < goal:
                best = f"{max(ratios):.2f} times as fast as the released forward" if ratios else "missing"
                faults.append(f"the best in {precision} is {best}, not {goal:g}")
    return faults


def test_forward_beside_the_released_one(benchmark: Any, capsys: Any) -> None:
    import pytest

    checkout, reason = _checkout(os.environ.get(VARIABLE))
    if checkout is None:
        pytest.skip(reason)
    results: list[Comparison] = []

    def measure() -> None:
        with capsys.disabled():
            results.append(compare(checkout, rounds=5, calls=15, threads=min(2, available_cores())))

    benchmark.pedantic(measure, rounds=1)
    (result,) = results
    with capsys.disabled():
        print(f"\n{table(result)}")
    benchmark.extra_info["rounds"] = result.rounds
    assert _faults(result) == []


def main() -> None:
    """Run from the command line; exit status 1 where a figure is not as it must be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--released", default=os.environ.get(VARIABLE), help=f"checkout of 1KK077/IDKL (or {VARIABLE})")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=15, help="timed forwards of a turn")
    parser.add_argument("--threads", type=int, default=min(2, available_cores()))
    parser.add_argument("--height", type=int, default=384)
    parser.add_argument("--width", type=int, default=144)
    parser.add_argument("--only", action="append", default=[], choices=list(RUNTIMES_OF_OURS), help="repeatable")
    parser.add_argument("--artefact", action="append", default=[], type=Path, help="an .onnx or .xml; repeatable")
    parser.add_argument("--json", type=Path, help="write raw seconds and the machine here")
    parser.add_argument("--write", action="store_true", help=f"put the table into docs/{DOCUMENT.name}")
    options = parser.parse_args()
    for file in options.artefact:
        if file.suffix not in (".onnx", ".xml") or not file.is_file():
            parser.error(f"--artefact {file}: give an .onnx or .xml file of `vireid export`")
    checkout, reason = _checkout(options.released)
    if checkout is None:
        print(f"without the released forward ({reason})")
    result = compare(
        checkout,
        rounds=options.rounds,
        calls=options.calls,
        threads=options.threads,
        height=options.height,
        width=options.width,
        only=options.only,
        artefacts=[file.resolve() for file in options.artefact],
    )
    print(f"\n{table(result)}")
    if options.write:
        made_by = command(hidden=options.released)
        for file in options.artefact:  # no path of the user's own machine
            made_by = made_by.replace(str(file), file.name)
        write_table("deployment table", f"{table(result)}\n\nMade by `{made_by}`.", DOCUMENT)
    if options.json:
        options.json.write_text(json.dumps(asdict(result)), encoding="utf-8")
    if faults := _faults(result):
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    main()
