"""Backbones of compact models: maps, strides, published weights, and what is said of unknown ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision

from vireid.core.config import parse
from vireid.core.errors import UserError
from vireid.models.backbones import build_backbone
from vireid.models.compact import Compact, CompactConfig

IMAGES = torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(0))


def backbone(name: str, width: float = 1.0, last_stride: Any = 1) -> Any:
    torch.manual_seed(0)
    return build_backbone(name, width, last_stride)


@pytest.mark.parametrize(
    ("name", "width", "features"),
    [
        ("resnet18", 0.25, 128),
        ("resnet34", 0.125, 64),
        ("resnet50", 0.125, 256),
        ("mobilenet_v3_small", 1.0, 576),
        ("mobilenet_v3_large", 0.5, 480),
    ],
)
def test_maps_have_the_stated_channels_and_stride(name: str, width: float, features: int) -> None:
    for last_stride, rows in ((1, 4), (2, 2)):
        network = backbone(name, width, last_stride)
        assert network.features == features
        assert network(IMAGES).shape == (2, features, rows, rows // 2)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small"])
def test_the_stride_changes_no_weight(name: str) -> None:
    one, two = backbone(name, 0.25, 1).state_dict(), backbone(name, 0.25, 2).state_dict()
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_mobilenet_computes_what_torchvision_computes_from_the_same_file(tmp_path: Path) -> None:
    torch.manual_seed(1)
    public = torchvision.models.mobilenet_v3_small(weights=None).eval()
    file = tmp_path / "mobilenet_v3_small.pth"
    torch.save(public.state_dict(), file)
    config = CompactConfig(backbone="mobilenet_v3_small", last_stride=2, pool="average", pretrained=file)
    model = Compact(config, 5).eval()
    with torch.no_grad():
        expected = public.avgpool(public.features(IMAGES)).flatten(1)
        assert torch.allclose(model.embedder.both(IMAGES)[0], expected, rtol=0, atol=1e-6)


def test_resnet_loads_torchvision_s_file(tmp_path: Path) -> None:
    torch.manual_seed(1)
    public = torchvision.models.resnet18(weights=None)
    file = tmp_path / "resnet18.pth"
    torch.save(public.state_dict(), file)
    model = Compact(CompactConfig(pretrained=file), 5)
    loaded = model.embedder.backbone.branch.layer4[1].conv2.weight
    assert torch.equal(loaded, public.layer4[1].conv2.weight)


def test_weights_of_another_network_or_width_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "large.pth"
    torch.save(torchvision.models.mobilenet_v3_large(weights=None).state_dict(), file)
    for settings in ({"backbone": "mobilenet_v3_small"}, {"backbone": "mobilenet_v3_large", "width": 0.5}):
        with pytest.raises(UserError, match=r"large\.pth: keys .*'backbone' must be the file's"):
            Compact(CompactConfig(**settings, pretrained=file), 5)


def test_wrong_names_and_widths_are_named() -> None:
    for settings, message in (
        ({"backbone": "mobilenet_v3_smal"}, "did you mean 'mobilenet_v3_small'"),
        ({"backbone": "timm/regnety_002", "width": 0.5}, "a network of timm has its own width"),
        ({"backbone": "resnet18", "width": 0.3}, "must divide by 8"),
    ):
        with pytest.raises(UserError, match=message):
            parse(CompactConfig, settings, "test")


def test_networks_of_timm() -> None:
    pytest.importorskip("timm", reason="other backbones need the extra: make install EXTRAS=backbones")
    for name in ("mobilenetv3_small_050", "resnet10t", "mobileone_s0"):
        network = backbone(f"timm/{name}", last_stride=2).train()
        images = IMAGES.to(memory_format=torch.channels_last)
        result = network.to(memory_format=torch.channels_last)(images)
        assert result.shape == (2, network.features, 2, 1)
        result.sum().backward()
        assert [key for key, parameter in network.named_parameters() if parameter.grad is None] == []
    assert backbone("timm/resnet10t", last_stride=1)(IMAGES).shape[2:] == (4, 2)


def test_networks_of_timm_load_timm_s_weights(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm", reason="other backbones need the extra: make install EXTRAS=backbones")
    for name in ("mobilenetv3_small_050", "resnet10t"):
        torch.manual_seed(1)
        public = timm.create_model(name).eval()
        file = tmp_path / f"{name}.pth"
        torch.save(public.state_dict(), file)
        network = backbone(f"timm/{name}", last_stride=2).eval()
        network.load(file)
        with torch.no_grad():
            assert torch.allclose(network(IMAGES), public.forward_features(IMAGES), rtol=0, atol=1e-6)


def test_timm_s_other_models_are_refused() -> None:
    pytest.importorskip("timm", reason="other backbones need the extra: make install EXTRAS=backbones")
    with pytest.raises(UserError, match="has no such model; did you mean 'resnet10t'"):
        backbone("timm/resnet10tt", last_stride=2)
    with pytest.raises(UserError, match="gives no final map"):
        backbone("timm/vit_tiny_patch16_224", last_stride=2)
