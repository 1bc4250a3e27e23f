"""Slurm's commands on one machine without Slurm: ``python slurm_stand_in.py sbatch SCRIPT``, and so on.

``sbatch`` runs the script at once, under a keeper that stands for the controller and knows the job's state. What Slurm
does of itself is asked for by a word in the job's file ``end``: ``requeue`` runs it again, any other is the state that
it ends in. All of it lies in the folder that ``SLURM_STAND_IN`` names.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(os.environ.get("SLURM_STAND_IN", "."))
GRACE_SECONDS = 2.0  # between SIGTERM and SIGKILL
AGAIN_SECONDS = 1.0  # before a job that was put back starts


def sbatch(arguments: list[str]) -> None:
    script = Path(arguments[-1]).read_text()
    if re.search(r"^#SBATCH --partition=nowhere$", script, re.MULTILINE):
        sys.exit("sbatch: error: invalid partition specified: nowhere")
    number = 1
    while not _made(ROOT / str(number)):
        number += 1
    job = ROOT / str(number)
    (job / "script").write_text(script)
    (job / "state").write_text("PENDING")
    (job / "queued").touch()
    subprocess.Popen(
        [sys.executable, __file__, "keep", str(number)],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    print(f"Submitted batch job {number}")


def keep(arguments: list[str]) -> None:
    """Run a job until it has ended for good."""
    number = arguments[0]
    job = ROOT / number
    streams = dict(re.findall(r"^#SBATCH --(output|error)=(\S+)$", (job / "script").read_text(), re.MULTILINE))
    output, error = (streams[name].replace("%j", number) for name in ("output", "error"))
    again = True
    while again:
        again = False
        with (job / "runs").open("a") as runs, open(output, "ab") as out, open(error, "ab") as err:  # noqa: PTH123
            process = subprocess.Popen(
                ["bash", str(job / "script")],
                env={**os.environ, "SLURM_JOB_ID": number, "SLURM_PROCID": "0"},
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
            runs.write(f"{process.pid}\n")
        (job / "state").write_text("RUNNING")
        while process.poll() is None and not (job / "end").exists():
            time.sleep(0.05)
        state = "FAILED" if process.poll() else "COMPLETED"
        if (job / "end").exists():
            state = (job / "end").read_text()
            (job / "end").unlink()
            again = state == "requeue"
            if again or state.startswith("CANCELLED"):
                _signal(process, signal.SIGTERM)
            _signal(process, signal.SIGKILL)
        (job / "state").write_text("PREEMPTED" if again else state)
        if again:
            time.sleep(AGAIN_SECONDS)
    (job / "queued").unlink()


def srun(arguments: list[str]) -> None:
    number = os.environ["SLURM_JOB_ID"]
    while arguments[0].startswith("--"):
        option = arguments.pop(0)
        if option in ("--output", "--error"):
            path = arguments.pop(0).replace("%j", number).replace("%t", "0")
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.dup2(handle, 1 if option == "--output" else 2)
    os.execvp(arguments[0], arguments)


def sacct(arguments: list[str]) -> None:
    if (ROOT / "no-accounting").exists():
        sys.exit("Slurm accounting storage is disabled")
    asked = re.search(r"(?:-j|--jobs=)([\d,]+)", " ".join(arguments))
    for number in asked[1].split(",") if asked else []:
        if (state := ROOT / number / "state").exists():
            print(f"{number}|{state.read_text()}")


def squeue(arguments: list[str]) -> None:
    print(*(path.parent.name for path in ROOT.glob("*/queued")), sep="\n")


def scancel(arguments: list[str]) -> None:
    for number in arguments:
        state = ROOT / number / "state"
        if state.exists() and state.read_text() in ("PENDING", "RUNNING"):
            end(state.parent, f"CANCELLED by {os.getuid()}")


def scontrol(arguments: list[str]) -> None:
    word, number = arguments
    assert word == "requeue"
    end(ROOT / number, word)


def end(job: Path, word: str) -> None:
    """Have a job end with that word, as soon as its keeper looks."""
    (job / "word").write_text(word)
    (job / "word").rename(job / "end")


def _made(folder: Path) -> bool:
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to all of a job, and give it time to end."""
    try:
        os.killpg(process.pid, number)
        process.wait(GRACE_SECONDS)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        pass


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2:])
