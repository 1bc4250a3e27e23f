"""One job in a process of its own: ``python -m vireid.ablation.engines.worker STORE JOB``.

A job is a JSON file ``{"config": …, "steps": ["fit", "evaluate", …]}``. Progress and the final word go to standard
output as JSON lines; everything else that is printed lands in the run's log through standard error. The worker ends
when its parent does (its standard input closes), so that a killed study leaves no training behind.
"""

import json
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

from vireid.core.child import end_with_parent

STEPS = {
    "data": "vireid.experiment.data:data_step",
    "fit": "vireid.experiment.fit:fit_step",
    "evaluate": "vireid.experiment.fit:evaluate_step",
    "deployed": "vireid.experiment.deploy.evaluate:deployed_step",
    "explain": "vireid.explain.step:explain_step",
    "cost": "vireid.experiment.cost.profile:cost_step",
    "latency": "vireid.experiment.cost.profile:latency_step",
}


def main() -> None:
    """Run the job named on the command line; exit 0 when every step gave its record."""
    end_with_parent()
    store_root, job_file = Path(sys.argv[1]), Path(sys.argv[2])
    job = json.loads(job_file.read_text(encoding="utf-8"))

    from vireid.core.threads import wait_patiently

    if "latency" not in job["steps"]:
        wait_patiently()  # before anything imports torch

    from vireid.config import ExperimentConfig
    from vireid.core.config import parse
    from vireid.core.errors import UserError
    from vireid.experiment.context import RunContext
    from vireid.experiment.progress import to_pipe
    from vireid.store import Store

    run = RunContext(parse(ExperimentConfig, job["config"], str(job_file)), Store(store_root), to_pipe)
    for name in job["steps"]:
        try:
            module, _, step = STEPS[name].partition(":")
            getattr(import_module(module), step)(run)
        except Exception as error:
            known = isinstance(error, UserError)
            _send(event="error", step=name, message=str(error) if known else f"{type(error).__name__}: {error}")
            traceback.print_exc(file=sys.stderr)
            sys.exit(2 if known else 1)
    _send(event="done")


def _send(**event: Any) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
