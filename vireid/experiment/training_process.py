"""One of the processes of a fit: ``python -m vireid.experiment.training_process REQUEST``.

Progress, the result and the final word go to standard output as JSON lines, what else is printed to standard error.
"""

import json
import os
import sys
import traceback
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from vireid.core.child import end_with_parent

_PATIENCE = timedelta(days=1)  # of a process for the others: the main one may evaluate for long; the parent sees deaths


def main() -> None:
    """Train as asked; the process ends with status 0, or says why not and ends with another."""
    end_with_parent()
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))

    from vireid.core.threads import wait_patiently

    wait_patiently()  # before anything imports torch

    from vireid.core.errors import UserError

    try:
        result = _train(request)
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        known = isinstance(error, UserError)
        _send(event="error", known=known, message=str(error) if known else f"{type(error).__name__}: {error}")
        sys.stderr.flush()
        os._exit(2 if known else 1)  # the libraries' own shutdown may wait for processes that are gone
    if request["index"] == 0:
        _send(event="result", result=result)


def _train(request: dict[str, Any]) -> dict[str, Any]:
    import torch

    from vireid.config import ExperimentConfig
    from vireid.core.config import parse
    from vireid.data.shares import Share
    from vireid.experiment.context import RunContext
    from vireid.experiment.fit import train_model
    from vireid.experiment.progress import silent, to_pipe
    from vireid.experiment.records import device_of
    from vireid.store import Store

    share = Share(request["index"], request["count"])
    config = parse(ExperimentConfig, request["config"], sys.argv[1])
    on_cuda = device_of(config).type == "cuda"
    if on_cuda:
        own = config.runtime.model_copy(update={"device": f"cuda:{share.index}"})
        config = config.model_copy(update={"runtime": own})
        torch.cuda.set_device(share.index)
    torch.distributed.init_process_group(
        "nccl" if on_cuda else "gloo",
        init_method=f"file://{request['meeting']}",
        rank=share.index,
        world_size=share.count,
        timeout=_PATIENCE,
    )
    run = RunContext(config, Store(Path(request["store"])), silent if share.index else to_pipe)
    result = asdict(train_model(run, share))
    torch.distributed.destroy_process_group()
    del result["weights"]  # they lie in the run's folder
    return result


def _send(**event: Any) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
