"""``python -m tests.mutations COUNT``: what the suite does with that many damaged inputs of every kind."""

import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path

from tests.mutations.corpus import outcome, subjects


def main(count: int) -> int:
    """Try ``count`` inputs of every kind; print a line per kind and every fault; returns the number of faults."""
    faults = 0
    with tempfile.TemporaryDirectory(prefix="vireid-mutations-") as name:
        for subject in subjects():
            ends: Counter[str] = Counter()
            seen: set[str] = set()
            for number in range(count):
                try:
                    ends["read" if outcome(subject, number, Path(name)) == "read" else "refused"] += 1
                except Exception as error:
                    ends["faults"] += 1
                    where = traceback.extract_tb(error.__traceback__)[-1]
                    text = f"{type(error).__name__} at {where.filename.rpartition('/')[2]}:{where.lineno}"
                    if text not in seen:
                        seen.add(text)
                        print(f"  {subject.name} {number}: {text}: {str(error)[:200]!r}")
            faults += ends["faults"]
            print(
                f"{subject.name}: {ends['read']} read, {ends['refused']} refused, {ends['faults']} faults", flush=True
            )
    return faults


if __name__ == "__main__":
    sys.exit(bool(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)))
