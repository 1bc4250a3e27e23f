"""One contestant in a process of its own: takes a turn for every line on standard input and answers with JSON."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from training.contestants import Size, build


def main() -> None:
    """Read the task from the first line: contestant, size, checkout, threads."""
    reply = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever else is printed goes to standard error
    task = json.loads(sys.stdin.readline())
    torch.set_num_threads(task["threads"])
    checkout = None if task["checkout"] is None else Path(task["checkout"])
    contestant = build(task["name"], Size(**task["size"]), checkout)
    print(json.dumps("ready"), file=reply)
    for _ in sys.stdin:
        print(json.dumps(asdict(contestant.turn())), file=reply)


if __name__ == "__main__":
    main()
