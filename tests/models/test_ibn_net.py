"""IBN: key layouts of the official code, the fork's norms, and what published weights fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from vireid.core.errors import UserError
from vireid.models.pretrained import load_trunk
from vireid.models.resnet import Branch, Stem
from vireid.models.trunk import IBNKind, TrunkSpec

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "ibn_net_keys.json").read_text())


def trunk(depth: str, ibn: IBNKind, width: float = 1.0, last_stride: int = 1) -> tuple[Stem, Branch]:
    torch.manual_seed(0)
    spec = TrunkSpec(depth, width, last_stride, ibn)  # type: ignore[arg-type]
    return Stem(spec), Branch(spec)


def official(name: str) -> dict[str, torch.Tensor]:
    """A state dict in an official layout, with values that no initialisation gives."""
    shapes: dict[str, list[int]] = GOLDEN[name]
    return {key: torch.full(shape, 0.25) if shape else torch.tensor(7) for key, shape in shapes.items()}


@pytest.mark.parametrize("name", [name for name in GOLDEN if name != "source"])
def test_official_ibn_net_weights_load_strictly(name: str, tmp_path: Path) -> None:
    depth, _, ibn = name.split("_")
    stem, branch = trunk(depth, ibn)  # type: ignore[arg-type]
    state = official(name)
    torch.save(state, tmp_path / "weights.pth")
    load_trunk(tmp_path / "weights.pth", stem, [branch], ibn=ibn)  # type: ignore[arg-type]
    loaded = stem.state_dict() | branch.state_dict()
    assert loaded.keys() == {key for key in state if not key.startswith("fc.")}
    assert all(torch.equal(value, state[key]) for key, value in loaded.items())
    del state["layer2.0.bn2.weight"]
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(UserError, match=r"1 missing \(layer2.0.bn2.weight\); 'backbone' and 'ibn' must be the file's"):
        load_trunk(tmp_path / "weights.pth", stem, [branch], ibn=ibn)  # type: ignore[arg-type]


@pytest.mark.parametrize("source", ["resnet50_ibn_a", "torchvision"])
def test_published_weights_do_not_fit_the_fork_and_load_partially_as_it_does(source: str, tmp_path: Path) -> None:
    stem, branch = trunk("resnet50", "fork")
    before = {key: value.clone() for key, value in (stem.state_dict() | branch.state_dict()).items()}
    state: dict[str, Any] = official("resnet50_ibn_a")
    if source == "torchvision":
        state = {key: torch.full_like(v, 2) for key, v in torchvision.models.resnet50().state_dict().items()}
    path = tmp_path / "weights.pth"
    torch.save(state, path)
    with pytest.raises(UserError, match=r"no published weights fit ibn=fork.*pretrained_partial=true"):
        load_trunk(path, stem, [branch], ibn="fork")
    load_trunk(path, stem, [branch], ibn="fork", partial=True)
    loaded = stem.state_dict() | branch.state_dict()
    start = {key for key, value in loaded.items() if torch.equal(value, before[key]) and "num_batches" not in key}
    norms = {key for key in loaded if ".IN." in key}
    if source == "resnet50_ibn_a":
        norms |= {key for key in loaded if key[:6] in ("layer1", "layer2", "layer3") and ".bn1." in key}
    assert start == {key for key in norms if "num_batches" not in key}
    del state["layer1.0.conv1.weight"]
    torch.save(state, path)
    with pytest.raises(UserError, match=r"1 missing \(layer1.0.conv1.weight\)"):
        load_trunk(path, stem, [branch], ibn="fork", partial=True)


@pytest.mark.parametrize("last_stride", [1, 2])
@pytest.mark.parametrize("depth", ["resnet18", "resnet50"])
def test_the_fork_norms_every_block_of_stride_one_in_all_four_layers(depth: str, last_stride: int) -> None:
    stem, branch = trunk(depth, "fork", 0.125, last_stride)
    plain = trunk(depth, "none", 0.125, last_stride)
    layers = [stem.layer1, stem.layer2, branch.layer3, branch.layer4]
    expected = {}
    for number, layer in enumerate(layers, start=1):
        strided = number in (2, 3) or (number == 4 and last_stride == 2)
        for index in range(strided, len(layer)):
            channels = layer[index].conv1.out_channels // 2
            expected |= {f"layer{number}.{index}.IN.{kind}": (channels,) for kind in ("weight", "bias")}
    state = stem.state_dict() | branch.state_dict()
    added = state.keys() - (plain[0].state_dict() | plain[1].state_dict()).keys()
    assert {key: tuple(state[key].shape) for key in added} == expected


@pytest.mark.parametrize("training", [True, False])
def test_the_fork_s_block_is_batch_norm_on_all_channels_then_instance_norm_on_the_first_half(training: bool) -> None:
    _, branch = trunk("resnet50", "fork", 0.125)
    block = branch.layer4[2].train(training)
    for parameter in block.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    x = torch.randn(6, block.conv1.in_channels, 5, 3).relu()
    y = block.conv1(x)
    over = (0, 2, 3)
    variance, mean = torch.var_mean(y, over, correction=0, keepdim=True)
    if not training:
        mean, variance = (s.view(1, -1, 1, 1) for s in (block.bn1.running_mean, block.bn1.running_var))
    y = (y - mean) / (variance + 1e-5).sqrt() * block.bn1.weight.view(1, -1, 1, 1) + block.bn1.bias.view(1, -1, 1, 1)
    half = y.shape[1] // 2
    variance, mean = torch.var_mean(y[:, :half], (2, 3), correction=0, keepdim=True)
    first = (y[:, :half] - mean) / (variance + 1e-5).sqrt()
    first = first * block.IN.weight.view(1, -1, 1, 1) + block.IN.bias.view(1, -1, 1, 1)
    expected = torch.cat([first, y[:, half:]], dim=1)
    assert torch.allclose(block.norm1(block.conv1(x)), expected, rtol=1e-4, atol=1e-5)
    expected = block.bn3(block.conv3(block.bn2(block.conv2(expected.relu())).relu()))
    block.train(training)
    assert torch.allclose(block(x), (expected + x).relu(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_fork_s_trunk_keeps_its_memory_format(layout: torch.memory_format) -> None:
    stem, branch = trunk("resnet18", "fork", 0.25)
    images = torch.randn(2, 3, 64, 32).contiguous(memory_format=layout)
    stem.to(memory_format=layout)
    branch.to(memory_format=layout)
    assert branch(stem(images)).is_contiguous(memory_format=layout)
