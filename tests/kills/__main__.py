"""``python -m tests.kills COUNT [SEED]``: a study from rendering to report under that many kills."""

import random
import sys
import tempfile
import time
from pathlib import Path

from tests.ablation.spread import Studies
from tests.kills.kills import Tally, disturb


def main(kills: int, seed: int = 1) -> int:
    """Compare a study under kills with an undisturbed one; prints the figures and returns the number of faults."""
    draw, tally, lost, rounds = random.Random(seed), Tally(), set[str](), 0
    arguments = ["study.yaml", "--report"]
    with tempfile.TemporaryDirectory(prefix="vireid-kills-") as name:
        undisturbed = _studies(Path(name) / "undisturbed")
        begin = time.monotonic()
        first = undisturbed.run(*arguments)
        seconds = time.monotonic() - begin
        if first.returncode != 0:
            print(f"the undisturbed study failed: {first.stderr}")
            return 1
        expected = undisturbed.records()
        while tally.made < kills:
            rounds += 1
            disturbed = _studies(Path(name) / f"disturbed-{rounds}")
            disturb(disturbed, arguments, draw, seconds, kills, tally)
            found = {name: content for name, content in disturbed.records().items() if ".failed-" not in name}
            lost |= {name for name in expected | found if expected.get(name) != found.get(name)}
    for kind, count in sorted(tally.kills.items()):
        print(f"{kind}: {count}")
    print(f"{tally.made} kills in {rounds} studies: {len(lost)} records lost or different, {len(tally.faults)} faults")
    print("\n".join([*sorted(lost), *tally.faults]))
    return len(lost) + len(tally.faults)


def _studies(folder: Path) -> Studies:
    folder.mkdir()
    studies = Studies(folder)
    studies.write(cost=True, explain=True)
    return studies


if __name__ == "__main__":
    sys.exit(bool(main(*map(int, sys.argv[1:3] or ["50"]))))
