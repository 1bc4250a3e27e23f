"""A bundle of a tiny model, made once per test process."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from vireid.overrides import compose

SMALL = ("model=idkl_small", "model.width=0.125", "data.height=48", "data.width=32")
QUICK = ("--seconds", "0.05", "--threads", "1")


@dataclass
class Bundle:
    """A folder that holds a bundle, and the command in it."""

    folder: Path

    @property
    def manifest(self):
        return json.loads((self.folder / "bundle.json").read_text(encoding="utf-8"))

    def run(self, *arguments, python=(sys.executable,)):
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        return subprocess.run(
            [*python, str(self.folder / "measure.py"), *arguments],
            cwd=self.folder.parent,
            capture_output=True,
            text=True,
            env=environment,
            timeout=120,
        )

    def seal(self, manifest):
        """Make the bundle's manifest agree with its files again, as if it had been made so."""
        from vireid.bundle.device.record import digest_of
        from vireid.core.files import file_digest

        manifest.pop("digest", None)
        for name, said in manifest["files"].items():
            said.update(bytes=(self.folder / name).stat().st_size, sha256=file_digest(self.folder / name))
        (self.folder / "bundle.json").write_text(json.dumps({**manifest, "digest": digest_of(manifest)}))


@pytest.fixture(scope="session")
def small_zip(tmp_path_factory):
    """A bundle of initial weights, as a ZIP file."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    from vireid.experiment.context import RunContext
    from vireid.experiment.deploy.bundle import bundle_step
    from vireid.store import Store

    folder = tmp_path_factory.mktemp("bundle")
    store = Store(folder / "store")
    bundle_step([RunContext(compose(SMALL), store)], [], store, folder / "small.zip")
    return folder / "small.zip"


@pytest.fixture
def bundle(small_zip, tmp_path):
    """The bundle unpacked, where a test may damage it."""
    shutil.unpack_archive(small_zip, tmp_path)
    return Bundle(tmp_path / "small")


@pytest.fixture
def model_file(bundle):
    (model,) = bundle.manifest["models"]
    return bundle.folder / model["file"]
