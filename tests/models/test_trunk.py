"""Trunk, IBN, pooling, purifier, and published weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
import torchvision
from torch import nn

from vireid.core.errors import UserError
from vireid.models.heads import GeM
from vireid.models.pretrained import load_trunk
from vireid.models.purifier import Purifier
from vireid.models.resnet import IBN, Branch, InstanceNorm2d, Stem
from vireid.models.trunk import TrunkSpec


def trunk(depth: str = "resnet50", width: float = 1.0, last_stride: int = 2, ibn: str = "none") -> tuple[Stem, Branch]:
    spec = TrunkSpec(depth, width, last_stride, ibn)  # type: ignore[arg-type]
    return Stem(spec), Branch(spec)


@pytest.mark.parametrize("depth", ["resnet18", "resnet34", "resnet50"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_torchvision_weights_load_strictly_and_compute_the_same(depth: str, suffix: str, tmp_path: Path) -> None:
    reference = torchvision.models.get_model(depth, weights=None).eval()
    path = tmp_path / f"{depth}{suffix}"
    if suffix == ".pth":
        torch.save(reference.state_dict(), path)
    else:
        safetensors.torch.save_file(reference.state_dict(), path)
    stem, branch = trunk(depth)
    twin = trunk(depth)[1]
    load_trunk(path, stem, [branch, twin])
    images = torch.randn(2, 3, 64, 32)
    body = nn.Sequential(*list(reference.children())[:-2])
    with torch.no_grad():
        expected = body(images)
        for part in (branch, twin):
            assert torch.allclose(part.eval()(stem.eval()(images)), expected, rtol=1e-5, atol=1e-5)


def test_faults_in_weights_are_named(tmp_path: Path) -> None:
    stem, branch = trunk("resnet18")
    state = stem.state_dict() | branch.state_dict()
    with pytest.raises(UserError, match="no such file"):
        load_trunk(tmp_path / "absent.pth", stem, [branch])
    garbage = tmp_path / "garbage.pth"
    garbage.write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match=r"garbage.pth: not a readable state dict"):
        load_trunk(garbage, stem, [branch])
    incomplete = {k.replace("bn1.weight", "bn1.wait"): v for k, v in state.items()}
    path = tmp_path / "weights.pth"
    torch.save(incomplete, path)
    with pytest.raises(UserError, match=r"9 missing \(bn1.weight, .*, …\) and 9 unknown \(bn1.wait"):
        load_trunk(path, stem, [branch])
    torch.save(state, path)
    narrow = trunk("resnet18", width=0.5)
    with pytest.raises(UserError, match=r"'conv1.weight' has shape \(64, 3, 7, 7\), the model \(32, 3, 7, 7\)"):
        load_trunk(path, narrow[0], [narrow[1]])


def test_old_and_wrapped_checkpoints_load(tmp_path: Path) -> None:
    stem, branch = trunk("resnet18")
    state = stem.state_dict() | branch.state_dict() | {"fc.weight": torch.zeros(1000, 512)}
    old = {f"module.{k}": v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    torch.save({"state_dict": old}, tmp_path / "old.pth")
    other = trunk("resnet18")
    load_trunk(tmp_path / "old.pth", other[0], [other[1]])
    assert torch.equal(other[1].layer4[0].conv1.weight, branch.layer4[0].conv1.weight)


def test_ibn_is_instance_norm_on_the_first_half_and_batch_norm_on_the_rest() -> None:
    x = torch.randn(6, 10, 7, 5) * 3 + 2
    y = IBN(10)(x)
    first, rest = x[:, :5], x[:, 5:]
    for part, measured, over in ((first, y[:, :5], (2, 3)), (rest, y[:, 5:], (0, 2, 3))):
        variance, mean = torch.var_mean(part, over, correction=0, keepdim=True)
        assert torch.allclose(measured, (part - mean) / (variance + 1e-5).sqrt(), atol=1e-5)


@pytest.mark.parametrize("ibn", ["none", "a", "b"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_trunk_keeps_its_memory_format(ibn: str, layout: torch.memory_format) -> None:
    stem, branch = trunk("resnet18", 0.25, ibn=ibn)
    images = torch.randn(2, 3, 64, 32).contiguous(memory_format=layout)
    stem.to(memory_format=layout)
    branch.to(memory_format=layout)
    assert branch(stem(images)).is_contiguous(memory_format=layout)


@pytest.mark.parametrize(("last_stride", "size"), [(1, (6, 3)), (2, (3, 2))])
def test_last_stride(last_stride: int, size: tuple[int, int]) -> None:
    stem, branch = trunk("resnet50", 0.125, last_stride)
    assert branch(stem(torch.randn(1, 3, 96, 48))).shape == (1, 256, *size)


def test_gem() -> None:
    x = torch.rand(3, 4, 5, 2, dtype=torch.float64) - 0.2
    expected = x.clamp(min=1e-6).pow(3).sum((2, 3)).div(10).pow(1 / 3)
    assert torch.allclose(GeM(3.0)(x), expected)
    assert torch.allclose(GeM(1.0)(x), x.clamp(min=1e-6).mean((2, 3)))
    learnable = GeM(3.0, learnable=True)
    assert torch.allclose(learnable(x), expected)
    learnable(x).sum().backward()
    assert learnable.p is not None
    assert learnable.p.grad is not None
    dead = torch.zeros(2, 3, 4, 2, requires_grad=True)
    GeM(3.0)(dead).sum().backward()
    assert dead.grad is not None
    assert torch.isfinite(dead.grad).all()
    assert GeM(3.0)(torch.full((1, 1, 2, 2), 300.0, dtype=torch.float16)).item() == pytest.approx(300, rel=1e-4)


def test_purifier_formula() -> None:
    purifier = Purifier(32)
    x = torch.randn(4, 32, 3, 2).relu()
    out = purifier(x)
    normed = nn.functional.instance_norm(x)
    m_in, m_f = purifier.mask_normed(normed).sigmoid(), purifier.mask(x).sigmoid()
    assert torch.allclose(out.normed, normed, atol=1e-6)
    assert torch.allclose(out.normed_purified, m_in * normed, atol=1e-6)
    assert torch.allclose(out.purified, m_f * x, atol=1e-6)
    assert torch.allclose(out.output, m_in * m_f * (x + normed), atol=1e-5)
    assert purifier.norm.running_mean is not None
    assert float(purifier.norm.running_mean.abs().sum()) > 0


def test_instance_norm_equals_the_library_s() -> None:
    x = torch.randn(2, 8, 6, 4).contiguous(memory_format=torch.channels_last)
    ours, theirs = InstanceNorm2d(8, affine=True), nn.InstanceNorm2d(8, affine=True)
    assert torch.allclose(ours(x), theirs(x), atol=1e-6)
    assert ours(x).is_contiguous(memory_format=torch.channels_last)
