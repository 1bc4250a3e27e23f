from pathlib import Path

import pytest

from vireid.core.records import read_record
from vireid.remote.copy import open_copy, silent
from vireid.store import Store

FIT = (Path(__file__).parents[1] / "historic_records" / "v1-fit.json").read_bytes()


@pytest.fixture
def url(tmp_path):
    return f"file://{tmp_path}/bucket/runs"


@pytest.fixture
def machine(tmp_path, monkeypatch, url):
    """Opens the store as the machine of that name, whose cache folder is its own."""

    def opened(name, progress=silent):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
        return open_copy(url, progress)

    return opened


@pytest.fixture
def fit():
    def made(**changes):
        return read_record(FIT, "fixture").model_copy(update=changes)

    return made


@pytest.fixture
def trained(fit):
    """A copy with a record, weights, a checkpoint, a log and images, of which none has been sent."""

    def made(copy, id_="a" * 12, **changes):
        store = Store(copy.root)
        for name, content in (
            ("model.safetensors", b"w" * 99),
            ("checkpoint.pt", b"c"),
            ("7_0_result.pkl", b"p"),
            ("job.log", b"l"),
        ):
            (store.directory(id_)).mkdir(parents=True, exist_ok=True)
            (store.directory(id_) / name).write_bytes(content)
        for name in ("data/x/image.png", "cache/y.bin", ".study.lock"):
            (copy.root / name).parent.mkdir(parents=True, exist_ok=True)
            (copy.root / name).write_bytes(b"!")
        store.put(fit(id=id_, **changes))
        return store

    return made
