"""One training step of IDKL beside the released code's, and beside a bare two-branch forward and backward.

ResNet-50, 384×144, 32 images, 395 classes, every contestant in a process of its own, taking turns. The released code
(github.com/1KK077/IDKL) is not part of this project; say where a checkout lies, or its row is left out:

    python benchmarks/bench_training.py --released PATH --json out.json
    VIREID_RELEASED_IDKL=PATH pytest benchmarks/bench_training.py --benchmark-only

With a checkout the first steps of training are compared too (`training/curve.py`). Needs 16 GB of memory and ten
minutes.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from training.contestants import Size
from training.document import command, write_table
from training.released import find_checkout

from vireid.profiling.device import describe_device

VARIABLE = "VIREID_RELEASED_IDKL"
OURS = ("ours fp32", "ours bf16", "bare fp32", "bare bf16")
FULL = Size(identities=8, images=4, height=384, width=144, classes=395)
GOALS = {"ours fp32": 1.6, "ours bf16": 3.5}  # times faster than the released step


@dataclass(frozen=True)
class Comparison:
    """Raw turns by contestant, and the loss curves where there is a checkout."""

    turns: dict[str, list[dict[str, float]]]
    curves: dict[str, list[list[float]]] | None
    machine: dict[str, Any]
    size: Size

    def median_seconds(self, name: str) -> float:
        """Median step time."""
        return statistics.median(turn["seconds"] for turn in self.turns[name])

    def median_ratio(self, name: str, reference: str = "released") -> float:
        """Median over rounds of reference time ÷ time: both take their turns in the same round."""
        pairs = zip(self.turns[reference], self.turns[name], strict=True)
        return statistics.median(slow["seconds"] / fast["seconds"] for slow, fast in pairs)


class Worker:
    """A contestant's process."""

    def __init__(self, name: str, size: Size, checkout: Path | None, threads: int) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "training.worker"],
            cwd=Path(__file__).parent,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        task = {"name": name, "size": asdict(size), "threads": threads, "checkout": checkout and str(checkout)}
        self._ask(json.dumps(task))

    def turn(self) -> dict[str, float]:
        """Let it take a turn; seconds, peak_bytes, loss."""
        answer: dict[str, float] = self._ask("turn")
        return answer

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _ask(self, line: str) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"a contestant ended with status {self._process.wait()}; its error stands above")
        return json.loads(answer)


def compare(
    checkout: Path | None, *, repeats: int, threads: int, size: Size = FULL, say: Callable[[str], None] = print
) -> Comparison:
    """Let all contestants take ``repeats`` turns, one after the other within a round."""
    names = [*(["released"] if checkout else []), *OURS]
    workers = {name: Worker(name, size, checkout, threads) for name in names}
    turns: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    try:
        for number in range(repeats):
            for name, worker in workers.items():
                turns[name].append(worker.turn())
            seconds = ", ".join(f"{name} {turns[name][-1]['seconds']:.2f} s" for name in names)
            say(f"round {number + 1} of {repeats}: {seconds}")
    finally:
        for worker in workers.values():
            worker.close()
    curves = _curves(checkout, threads) if checkout else None
    return Comparison(turns, curves, describe_device(), size)


def table(result: Comparison) -> str:
    """Markdown: a row per contestant, then the machine."""
    size, machine = result.size, result.machine
    has_reference = "released" in result.turns
    lines = ["| step | median s | released ÷ this | peak memory, GB |", "|---|---|---|---|"]
    for name, turns in result.turns.items():
        ratio = f"{result.median_ratio(name):.2f}" if has_reference else "—"
        peak = max(turn["peak_bytes"] for turn in turns) / 1e9
        lines.append(f"| {name} | {result.median_seconds(name):.2f} | {ratio} | {peak:.1f} |")
    count = size.identities * size.images
    lines.append("")
    lines.append(
        f"ResNet-50, {size.height}×{size.width}, {count} images ({size.identities}×{size.images}), {size.classes} "
        f"classes; {len(turns)} interleaved rounds; {machine['cpu']} (family, model, stepping "
        f"{'/'.join(map(str, machine['cpu_family_model_stepping']))}; {' '.join(machine['isa'])}), "
        f"{machine['physical_cores']} cores; torch {machine['torch']}."
    )
    return "\n".join(lines)


def curve_table(curves: dict[str, list[list[float]]]) -> str:
    """Markdown: mean loss by step, and how far contestants lie apart beside how far two seeds of one do."""
    steps = range(len(curves["released fp32"][0]))
    means = {name: [statistics.mean(seed[step] for seed in seeds) for step in steps] for name, seeds in curves.items()}
    lines = ["| loss at step | " + " | ".join(str(step + 1) for step in steps) + " |", "|---" * (len(steps) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(f"{value:.2f}" for value in row) + " |" for name, row in means.items()]
    released = curves["released fp32"]
    noise = statistics.mean(statistics.stdev(seed[step] for seed in released) for step in steps)
    by_chance = noise * math.sqrt(2 / len(released)) * math.sqrt(2 / math.pi)  # E|difference of two means|
    lines.append("")
    for name, reference in (("ours fp32", "released fp32"), ("ours bf16", "ours fp32")):
        gap = statistics.mean(abs(a - b) for a, b in zip(means[name], means[reference], strict=True))
        lines.append(f"{name} and {reference} lie {gap:.3f} apart (|difference of means over seeds|, mean over steps);")
    lines.append(f"dropout alone sets two such means {by_chance:.3f} apart (one seed deviates by {noise:.3f}).")
    return "\n".join(lines)


def _curves(checkout: Path, threads: int) -> dict[str, list[list[float]]]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "training.curve", str(checkout), str(threads)],
        cwd=Path(__file__).parent,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    curves: dict[str, list[list[float]]] = json.loads(done.stdout.splitlines()[-1])
    return curves


def _checkout(given: str | None) -> tuple[Path | None, str]:
    """Folder of the released code, and why there is none."""
    if not given:
        return None, f"no checkout of the released code: give --released PATH or {VARIABLE}=PATH"
    found = find_checkout(Path(given).resolve())
    return found, "" if found else f"{given} holds no models/baseline.py: give a checkout of 1KK077/IDKL"


def test_step_beside_the_released_one(benchmark: Any, capsys: Any) -> None:
    import pytest

    checkout, reason = _checkout(os.environ.get(VARIABLE))
    if checkout is None:
        pytest.skip(reason)
    results: list[Comparison] = []

    def measure() -> None:
        with capsys.disabled():
            results.append(compare(checkout, repeats=5, threads=os.cpu_count() or 1))

    benchmark.pedantic(measure, rounds=1)
    (result,) = results
    with capsys.disabled():
        print(f"\n{table(result)}\n\n{curve_table(result.curves or {})}")
    benchmark.extra_info["turns"] = result.turns
    benchmark.extra_info["curves"] = result.curves
    for name, goal in GOALS.items():
        if name == "ours fp32" or "avx512_bf16" in result.machine["isa"]:
            assert result.median_ratio(name) >= goal, name


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--released", default=os.environ.get(VARIABLE), help=f"checkout of 1KK077/IDKL (or {VARIABLE})")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--height", type=int, default=FULL.height)
    parser.add_argument("--width", type=int, default=FULL.width)
    parser.add_argument("--identities", type=int, default=FULL.identities)
    parser.add_argument("--images", type=int, default=FULL.images, help="K, per identity")
    parser.add_argument("--json", type=Path, help="write raw turns, curves and the machine here")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/training.md")
    options = parser.parse_args()
    checkout, reason = _checkout(options.released)
    if checkout is None:
        print(f"without the released step ({reason})")
    size = Size(options.identities, options.images, options.height, options.width, FULL.classes)
    result = compare(checkout, repeats=options.repeats, threads=options.threads, size=size)
    text = "\n\n".join([table(result), *([curve_table(result.curves)] if result.curves else [])])
    print(f"\n{text}")
    if options.write:
        write_table("speed table", f"{text}\n\nMade by `{command(hidden=options.released)}`.")
    if options.json:
        options.json.write_text(json.dumps(asdict(result)), encoding="utf-8")


if __name__ == "__main__":
    main()
