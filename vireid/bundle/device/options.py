"""The options of ``measure.py``; every fault is one message and exit code 2."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# As ``evaluation/gallery.py`` has them, which needs NumPy and is imported by measuring processes alone.
STORAGES = ("fp32", "fp16", "int8", "pca256", "pca128", "pca64", "binary")
NAME_LENGTH = 60  # characters of who measured
EPILOG = "Exit code: 0 fine, 1 features that differ or a measurement that failed, 2 bad options or a changed bundle."


def parse(arguments: Sequence[str], names: Sequence[str], protocols: Sequence[str], cores: int) -> argparse.Namespace:
    """Read the command line.

    Args:
        arguments: of the command.
        names: of the bundle's models.
        protocols: under which accuracies are known.
        cores: that this process may use, the default number of threads and the most that can be asked for.
    """
    parser = argparse.ArgumentParser(
        "measure.py", description="Measure the models of this bundle on this machine.", epilog=EPILOG
    )
    add = parser.add_argument
    add("--threads", type=_whole, nargs="+", default=[cores], metavar="N", help="CPU threads; by default all cores")
    add("--batch", type=_whole, nargs="+", default=[1], metavar="N", help="images per forward; by default 1")
    add("--seconds", type=_positive, default=3.0, metavar="S", help="of each measurement; by default 3")
    add("--sustained", type=_positive, metavar="S", help="measure for so long without a pause: does it throttle?")
    add(
        "--drop",
        type=_share,
        default=0.05,
        metavar="PERCENT",
        help="loss of rate that is called throttling; by default 5",
    )
    add("--power", action="store_true", help="energy of a query, with and without the power of rest")
    add("--idle", type=_positive, default=10.0, metavar="S", help="of rest before, with --power; by default 10")
    add("--gallery", type=int, default=1000, metavar="ROWS", help="also time a search in it; by default 1000, 0: none")
    add("--storage", nargs="+", choices=STORAGES, default=["fp32"], help="how its rows are stored; by default fp32")
    add("--top", type=_whole, default=20, metavar="N", help="length of the ranked list; by default 20")
    add("--only", action="append", metavar="NAME", help="this model alone; repeatable")
    by_default = "the record file; by default record-MACHINE-DATE.json, here"
    add("--record", "--out", dest="out", type=Path, metavar="FILE", help=by_default)
    add("--by", type=_name, metavar="NAME", help="who measured, a name or handle, for the record file; or nobody")
    add("--max-ms", type=_positive, metavar="MS", help="the chosen file's forward takes at most so long")
    add("--max-mb", type=_positive, metavar="MB", help="the chosen file is at most so large")
    add("--protocol", metavar="WORDS", help="choose by accuracy under the protocol that has these words in its name")
    add("--emulated", action="store_true", help="check features alone: emulated times are not latency")
    add("--list", action="store_true", help="name the models and leave")
    options = parser.parse_args(arguments)
    if max(options.threads) > cores:
        parser.error(f"--threads {max(options.threads)}: this process may use {cores} cores only")
    if options.gallery < 0:
        parser.error(f"--gallery {options.gallery}: give a number of rows, or 0 for no search")
    for name in options.only or []:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
            parser.error(
                f"--only {name}: no such model; " + (f"did you mean '{near[0]}'?" if near else f"valid: {names}")
            )
    if options.protocol is not None and not any(options.protocol in known for known in protocols):
        parser.error(f"--protocol {options.protocol}: accuracies are known under: {'; '.join(protocols) or 'none'}")
    options.threads, options.batch = _once(options.threads), _once(options.batch)
    options.storage = [name for name in STORAGES if name in options.storage]
    return options


def budget(seconds: float) -> dict[str, float]:
    """How long to warm up and to measure: the suite's shape, which it has with 1 second."""
    return {
        "warmup_seconds": seconds,
        "min_seconds": seconds,
        "min_repeats": 10,
        "max_seconds": 3 * seconds,
        "max_repeats": 1000,
    }


def _whole(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1 on")
    return value


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value < 100:
        raise argparse.ArgumentTypeError(f"{text} is not a share in percent, above 0 and below 100")
    return value / 100


def _name(text: str) -> str:
    name = " ".join(text.split())
    if not name or len(name) > NAME_LENGTH or not name.isprintable():
        raise argparse.ArgumentTypeError(f"give a name of 1 to {NAME_LENGTH} characters that can be printed")
    return name


def _once(values: Sequence[Any]) -> list[Any]:
    return sorted(set(values))
