"""One contestant in a process of its own: answers every line of standard input with a line of JSON."""

from __future__ import annotations

import json
import os
import sys


def main() -> None:
    """The first line is the task; then ``features``, or a number of calls to time."""
    reply = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever else is printed goes to standard error
    task = json.loads(sys.stdin.readline())
    if hasattr(os, "sched_setaffinity"):  # before libraries start threads
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: task["threads"]])
    import torch
    from deployment.contestants import Task, build

    torch.set_num_threads(task["threads"])
    contestant = build(Task(**task))
    if isinstance(contestant, str):
        print(json.dumps({"skipped": contestant}), file=reply)
        return
    print(json.dumps({"skipped": None}), file=reply)
    for line in sys.stdin:
        asked = line.strip()
        answer = contestant.features() if asked == "features" else contestant.turn(int(asked))
        print(json.dumps(answer), file=reply)


if __name__ == "__main__":
    main()
