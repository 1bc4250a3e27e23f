"""A study of two fits of a few steps each, run as a user would, and what of its records must be equal."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.tiny import TINY

TIMES = {"started", "ended", "environment", "seconds", "step_seconds", "peak_memory_bytes"}
OF_AN_EPOCH = {"seconds", "images_per_second", "data_seconds"}
JOBS = "vireid.ablation.engines.worker"
ROOT = Path(__file__).parents[2]


@dataclass
class Studies:
    """A folder with a study of two fits of a few steps each, as a user would run it."""

    folder: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def write(
        self,
        *base: str,
        changed: str = "model.ibn=a",
        cost: bool = False,
        latency: bool = False,
        explain: bool = False,
    ) -> str:
        study = {
            "name": "spread",
            "title": "Two fits on several machines",
            "base": [*TINY, *base],
            "factors": {"one": {"off": [], "on": [changed]}},
            "design": "one_at_a_time",
            "seeds": [1],
            "measure": {"cost": cost, "latency": latency, "explain": explain},
        }
        (self.folder / "study.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
        return "study.yaml"

    def start(
        self, *arguments: str, store: str = "store", quiet: bool = False, cache: Path | None = None
    ) -> subprocess.Popen[str]:
        """``store``: a folder here, or a URL; ``cache``: the user's folder for such things, on a machine of its own."""
        output = subprocess.DEVNULL if quiet else subprocess.PIPE  # a pipe that nobody reads fills
        where = ["--store", store if "://" in store else str(self.folder / store)]
        machine = {} if cache is None else {"XDG_CACHE_HOME": str(cache)}
        process = subprocess.Popen(
            [sys.executable, "-c", "from vireid.cli import main; main()", "ablate", *arguments, *where],
            cwd=self.folder,
            env={**os.environ, **machine, "PYTHONPATH": str(ROOT), "COLUMNS": "400"},
            stdout=output,
            stderr=output,
            text=True,
            preexec_fn=lambda: signal.signal(
                signal.SIGINT, signal.SIG_DFL
            ),  # ignored where tests run in the background
        )
        self.started.append(process)
        return process

    def run(self, *arguments: str, store: str = "store") -> subprocess.CompletedProcess[str]:
        return self.finish(self.start(*arguments, store=store))

    def finish(self, process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
        out, err = process.communicate(timeout=800)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def records(self, store: str = "store") -> dict[str, Any]:
        """What was recorded, without times; and every file of weights and every table."""
        runs, found = self.folder / store / "runs", dict[str, Any]()
        for path in sorted(runs.rglob("*")):
            name = path.relative_to(runs).as_posix()
            if path.suffix in (".safetensors", ".parquet"):
                found[name] = path.read_bytes()
            elif path.parent == runs and path.suffix == ".json":
                record = json.loads(path.read_bytes())
                if record["kind"] != "latency":
                    found[name] = {key: value for key, value in record.items() if key not in TIMES}
                    for epoch in found[name].get("curves", []):
                        for key in OF_AN_EPOCH:
                            epoch.pop(key, None)
        return found

    def end(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.communicate(timeout=30)
