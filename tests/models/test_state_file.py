"""One reader for every state dict: what public training scripts leave in a file, and what is never loaded."""

import argparse
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from vireid.core.errors import UserError
from vireid.models.importers.load import Entry, faults
from vireid.models.pretrained import read_state

STATE = {
    f"module.{key}": value for key, value in nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).state_dict().items()
}
OPTIMISER = {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
# As AGW's and CAJ's own scripts save, and a common classification script.
REID = {"net": STATE, "cmc": np.linspace(0, 1, 5), "mAP": np.float64(0.4), "mINP": np.float64(0.3), "epoch": 7}
BEST = {"state_dict": STATE, "best_prec1": np.float64(76.1), "optimizer": OPTIMISER, "arch": "resnet50"}
CASES: dict[str, Any] = {
    "bare": STATE,
    "reid": REID,
    "classification": BEST,
    "model": {"model": STATE, "rank1": np.float32(0.5), "seen": np.arange(3), "names": np.array(["a", "b"])},
    "nested": {"model": {"state_dict": STATE}},
    "bare with numbers": {**STATE, "epoch": 3},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("legacy", [False, True])
def test_what_lies_beside_the_weights_does_not_matter(tmp_path: Path, case: str, legacy: bool) -> None:
    file = tmp_path / "model.pth"
    torch.save(CASES[case], file, _use_new_zipfile_serialization=not legacy)
    read = read_state(file)
    assert read.keys() == {key.removeprefix("module.") for key in STATE}
    assert all(torch.equal(value, STATE[f"module.{key}"]) for key, value in read.items())


def test_numpy_is_read_under_the_names_of_both_its_major_versions(tmp_path: Path) -> None:
    for mine, other in ((b"numpy._core", b"numpy.core"), (b"numpy.core", b"numpy._core")):
        file = tmp_path / "legacy.t7"
        torch.save(REID, file, _use_new_zipfile_serialization=False)
        file.write_bytes(file.read_bytes().replace(mine, other))
        assert len(read_state(file)) == len(STATE)


def test_safetensors_and_half_precision(tmp_path: Path) -> None:
    plain = {key.removeprefix("module."): value for key, value in STATE.items()}
    save_file(plain, tmp_path / "a.safetensors")
    assert read_state(tmp_path / "a.safetensors").keys() == plain.keys()
    torch.save({key: v.half() if v.is_floating_point() else v for key, v in STATE.items()}, tmp_path / "half.pth")
    assert read_state(tmp_path / "half.pth")["0.weight"].dtype == torch.float16


def test_the_counter_of_batch_norm_never_decides(tmp_path: Path) -> None:
    layout = {key.removeprefix("module."): Entry(tuple(value.shape)) for key, value in STATE.items()}
    counter = "module.1.num_batches_tracked"
    for state in (
        STATE | {counter: torch.ones(1, dtype=torch.int64)},
        {k: v for k, v in STATE.items() if k != counter},
    ):
        torch.save(state, tmp_path / "x.pth")
        assert not any(faults(read_state(tmp_path / "x.pth"), layout).values())


class _Program:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("/tmp/vireid-was-run"),))


@pytest.mark.parametrize(
    ("beside", "named"),
    [
        (argparse.Namespace(lr=0.1), "it holds argparse.Namespace"),
        (nn.Linear(2, 2), "it holds torch.nn.modules.linear.Linear"),
        (_Program(), "other Python objects"),
        (np.array([{"a": 1}], dtype=object), "it holds numpy.dtypes.ObjectDType"),
    ],
)
def test_anything_else_is_refused_by_its_type(tmp_path: Path, beside: Any, named: str) -> None:
    torch.save({"net": STATE, "args": beside}, tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"pretrained weights .*x\.pth: not a readable state dict") as caught:
        read_state(tmp_path / "x.pth", "pretrained weights")
    assert named in str(caught.value)
    assert not Path("/tmp/vireid-was-run").exists()


def test_what_is_no_state_dict_is_said(tmp_path: Path) -> None:
    for content in ({"epoch": 1}, [1, 2], {"optimizer": OPTIMISER}):
        torch.save(content, tmp_path / "x.pth")
        with pytest.raises(UserError, match="not a state dict"):
            read_state(tmp_path / "x.pth")
    (tmp_path / "y.pth").write_bytes(pickle.dumps({"a": 1})[:-3])
    with pytest.raises(UserError, match="corrupt"):
        read_state(tmp_path / "y.pth")
