from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.training.parts import TinyModel, recipe
from vireid.core.errors import UserError
from vireid.training.norms import SharedNorms
from vireid.training.stages import Stages

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
EVERYTHING = recipe().stages
WITHOUT_NORMS = recipe(stages=[{"name": "main", "epochs": 4, "trainable": ["trunk.0.*", "head.*"]}]).stages


def norms(
    model: nn.Module, stages=EVERYTHING, processes: int = 2, mode: str = "synchronised", device=CPU
) -> SharedNorms:
    return SharedNorms(model, Stages(stages, model, ["id", "centre"]), len(stages), processes, mode, device)


def test_on_the_cpu_norms_that_learn_are_refused_with_both_remedies() -> None:
    with pytest.raises(UserError) as refused:
        norms(TinyModel())
    message = str(refused.value)
    assert message.startswith("runtime.processes=2: PyTorch synchronises batch norms on CUDA devices alone")
    assert "on the CPU trunk.1 and 1 more would each see its own process's 1/2 of a batch" in message
    assert "runtime.processes=1" in message
    assert "runtime.batch_norm=per_process" in message


@pytest.mark.parametrize(
    "options", [{"processes": 1}, {"mode": "per_process"}, {"stages": WITHOUT_NORMS}], ids=["one", "own", "frozen"]
)
def test_otherwise_the_cpu_takes_them(options: dict) -> None:
    model = TinyModel()
    shared = norms(model, **options)
    assert options.keys() & {"stages"} or type(model.neck) is nn.BatchNorm1d
    shared.release()
    assert (type(model.trunk[1]), type(model.neck)) == (nn.BatchNorm2d, nn.BatchNorm1d)


def test_on_cuda_norms_are_synchronised_for_the_time_of_the_fit() -> None:
    """Which class does it is all that can be seen without devices; their arithmetic is torch's."""
    model = TinyModel()
    names, weights = list(model.state_dict()), list(model.parameters())
    shared = norms(model, device=CUDA)
    assert {type(model.trunk[1]), type(model.neck)} == {nn.SyncBatchNorm}
    assert list(model.state_dict()) == names
    assert all(one is other for one, other in zip(model.parameters(), weights, strict=True))
    with shared.apart():
        assert type(model.neck) is nn.BatchNorm1d
    assert type(model.neck) is nn.SyncBatchNorm
    expected = TinyModel().eval().neck(torch.ones(3, 8))
    assert torch.equal(model.eval().neck(torch.ones(3, 8)), expected)  # evaluation needs no other process
    shared.release()
    assert (type(model.trunk[1]), type(model.neck)) == (nn.BatchNorm2d, nn.BatchNorm1d)
