"""The local engine: jobs one after the other on this machine, each in a process of its own with its own log."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from vireid.core import child
from vireid.experiment.context import RunContext
from vireid.experiment.progress import ProgressCallback
from vireid.store import unwritable, write_atomically


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended: ``reason`` is None when every step gave its record."""

    reason: str | None
    log: Path


def run_job(run: RunContext, steps: list[str], progress: ProgressCallback, name: str = "job") -> Outcome:
    """Run the steps for a configuration in a new process; its files lie in the run's folder of artefacts.

    The child's output is appended to ``<name>.log``. A child that dies without a word (killed, out of memory) gives
    a reason too.
    """
    job, log = run.directory / f"{name}.json", run.directory / f"{name}.log"
    payload = {"config": run.config.model_dump(mode="json"), "steps": steps}
    write_atomically(job, json.dumps(payload, indent=1))
    try:
        errors = log.open("a", encoding="utf-8")
    except OSError as error:
        raise unwritable(log, error) from error
    with (
        errors,
        subprocess.Popen(
            child.command("vireid.ablation.engines.worker", str(run.store.root), str(job)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=child.environment(),  # plug-ins beside the study are found there too
        ) as process,
    ):
        reason: str | None = None
        assert process.stdout is not None
        for line in process.stdout:
            try:
                event = json.loads(line)
                kind = event["event"]
            except (ValueError, TypeError, KeyError):
                errors.write(line)  # a library printed something
                errors.flush()
                continue
            if kind == "progress":
                progress(event["phase"], event["done"], event["total"], event["note"])
            elif kind == "error":
                reason = event["message"]
        code = process.wait()
    if code != 0 and reason is None:
        reason = f"the process {'was ' if code < 0 else ''}{child.how_it_ended(code)}; its log: {log}"
    return Outcome(reason, log)
