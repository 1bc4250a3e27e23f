"""One job in a process of its own: ``python -m vireid.ablation.engines.worker STORE JOB``.

A job is a JSON file ``{"config": …, "steps": ["fit", "evaluate", …]}``. Progress and the final word go to standard
output as JSON lines; everything else that is printed lands in the run's log through standard error. The worker ends
when its parent does (its standard input closes), so that a killed study leaves no training behind.
"""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import Any

from vireid.core.child import end_with_parent


def main() -> None:
    """Run the job named on the command line; exit 0 when every step gave its record."""
    end_with_parent()
    store_root, job_file = Path(sys.argv[1]), Path(sys.argv[2])
    job = json.loads(job_file.read_text(encoding="utf-8"))

    from vireid.core.threads import wait_patiently

    if "latency" not in job["steps"]:
        wait_patiently()

    from vireid.ablation.steps import STEPS
    from vireid.config import ExperimentConfig
    from vireid.core.config import parse
    from vireid.core.errors import UserError
    from vireid.experiment.progress import to_pipe
    from vireid.store import Store

    config = parse(ExperimentConfig, job["config"], str(job_file))
    for name in job["steps"]:
        try:
            STEPS[name](config, Store(store_root), to_pipe)
        except UserError as error:
            _say(event="error", step=name, message=str(error))
            traceback.print_exc(file=sys.stderr)
            sys.exit(2)
        except Exception as error:
            _say(event="error", step=name, message=f"{type(error).__name__}: {error}")
            traceback.print_exc(file=sys.stderr)
            sys.exit(1)
    _say(event="done")


def _say(**event: Any) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
