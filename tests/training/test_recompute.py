"""Activation checkpointing: nothing but memory and time changes."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn

from tests.training.parts import TinyLoader, TinyModel, recipe, uncertainty
from vireid.core.errors import UserError
from vireid.training.loop import fit
from vireid.training.recompute import Recomputation
from vireid.training.stages import Stages


class Block(nn.Module):
    """A residual block with everything that a second forward could spoil: running statistics and dropout."""

    recomputable = True

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn = nn.BatchNorm2d(channels)
        self.norm = nn.InstanceNorm2d(channels, affine=True, track_running_stats=True)
        self.dropout = nn.Dropout(0.3)
        self.forwards = 0

    def forward(self, x):
        self.forwards += 1
        return x + self.dropout(torch.relu(self.norm(self.bn(self.conv(x)))))


class DeepModel(TinyModel):
    def __init__(self) -> None:
        super().__init__()
        self.trunk.extend([Block(8), Block(8)])


def train(tmp_path, **changes):
    model = DeepModel()
    result = fit(
        model, TinyLoader(), recipe(**changes), uncertainty(), seed=3, directory=tmp_path, resume_key="k", device="cpu"
    )
    return model, result


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"precision": "bf16", "channels_last": True},
        {"accumulation": 2, "clip_norm": 0.5},
        {
            "stages": [
                {"name": "all", "epochs": 1},
                {"name": "frozen", "epochs": 1, "trainable": ["head.*", "trunk.5.*"]},
            ]
        },
    ],
    ids=["fp32", "bf16", "accumulated", "frozen"],
)
def test_weights_and_statistics_are_bitwise_equal(tmp_path, changes):
    plain, expected = train(tmp_path / "plain", **changes)
    again, result = train(tmp_path / "again", activation_checkpointing=True, **changes)
    for (name, a), b in zip(plain.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert [entry["loss"] for entry in result.curves] == [entry["loss"] for entry in expected.curves]
    assert int(again.trunk[4].bn.num_batches_tracked) == int(plain.trunk[4].bn.num_batches_tracked)
    assert again.trunk[5].forwards == 2 * plain.trunk[5].forwards


def test_blocks_keep_only_their_input():
    """What autograd holds between forward and backward: one map per block instead of every intermediate one."""

    def held(model: nn.Module) -> int:
        sizes: dict[int, int] = {}

        def note(tensor: torch.Tensor) -> torch.Tensor:
            sizes[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            model(x)
        return sum(sizes.values())

    x = torch.randn(4, 8, 16, 16, requires_grad=True)
    blocks = nn.Sequential(*(Block(8) for _ in range(4)))
    before = held(blocks)
    recomputation = Recomputation(blocks)
    assert held(blocks) == 4 * x.nbytes < before / 5
    recomputation.release()
    assert held(blocks) == before


def test_release_copies_and_names():
    model = DeepModel()
    names = list(model.state_dict())
    recomputation = Recomputation(model)
    assert list(model.state_dict()) == names
    copied = deepcopy(model)
    assert copied.trunk[4] is not model.trunk[4]
    copied.trunk[4](torch.zeros(2, 8, 3, 3))
    assert (copied.trunk[4].forwards, model.trunk[4].forwards) == (1, 0)
    recomputation.release()
    assert type(model.trunk[4]) is Block


def test_without_gradient_nothing_runs_twice():
    block = nn.Sequential(Block(8)).eval()
    Recomputation(block)
    with torch.no_grad():
        block(torch.zeros(2, 8, 3, 3))
    assert block[0].forwards == 1


def test_marked_module_within_another_is_not_nested():
    class Outer(nn.Module):
        recomputable = True

        def __init__(self) -> None:
            super().__init__()
            self.block = Block(8)

        def forward(self, x):
            return self.block(x)

    outer = nn.Sequential(Outer())
    Recomputation(outer)
    outer(torch.randn(2, 8, 3, 3, requires_grad=True)).sum().backward()
    assert outer[0].block.forwards == 2
    assert type(outer[0].block) is Block


def test_model_without_marked_modules_is_refused(tmp_path):
    model = TinyModel()
    with pytest.raises(UserError, match=r"activation_checkpointing: no module of TinyModel.*recomputable = True"):
        fit(
            model,
            TinyLoader(),
            recipe(activation_checkpointing=True),
            uncertainty(),
            seed=0,
            directory=tmp_path,
            resume_key="k",
        )
    assert Stages(recipe().stages, model, ["id"])  # the model is as it was
