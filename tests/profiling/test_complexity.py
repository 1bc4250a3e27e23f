"""MACs against hand formulas; counters agree, stay off the original, and fail aloud."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.profiling.models import FunctionalAttention, MultiheadPool, Pooled, SharedConvolution, WithDeadBranch
from vireid.core.errors import UserError
from vireid.core.records import CostRecord
from vireid.profiling import COUNTERS
from vireid.profiling.complexity import artefact_digest, complexity
from vireid.profiling.device import thread_limit

ALL = COUNTERS.names()


def rows(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in result["counters"]}


def everything_macs(result: dict[str, Any]) -> dict[str, int]:
    return {name: row["macs"] for name, row in rows(result).items()}


@pytest.fixture(scope="module")
def resnet50() -> nn.Module:
    torchvision = pytest.importorskip("torchvision")
    with torch.device("meta"):  # counts do not depend on weights, and initialising them takes seconds
        model = torchvision.models.resnet50(weights=None)
    model.fc = nn.Identity()
    model.to_empty(device="cpu")
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.detach().zero_()
    model.layer4[0].conv2.stride = model.layer4[0].downsample[0].stride = (1, 1)
    return model


def conv_macs(model: nn.Module, height: int, width: int) -> int:
    """Naive sum over convolutions: output pixels × output channels × kernel × input channels ÷ groups."""
    total = 0

    def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        assert isinstance(module, nn.Conv2d)
        pixels = output.shape[2] * output.shape[3]
        kernel = module.kernel_size[0] * module.kernel_size[1]
        total += pixels * module.out_channels * kernel * module.in_channels // module.groups

    handles = [m.register_forward_hook(add) for m in model.modules() if isinstance(m, nn.Conv2d)]
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, height, width))
    for handle in handles:
        handle.remove()
    return total


def test_resnet50_last_stride_1_at_384x144(resnet50: nn.Module) -> None:
    with thread_limit(1):  # threads that wait for each other on a busy machine are far slower than one
        result = complexity(resnet50, 384, 144)
        expected = conv_macs(resnet50, 384, 144)
    assert expected == 6_839_894_016
    assert everything_macs(result) == dict.fromkeys(ALL, expected)
    assert result["macs"] == expected
    assert result["disagreement"] == 0
    # the 6.87 G quoted for this network is fvcore's own sum, normalisation (2 per element) and pooling included
    assert rows(result)["fvcore"]["native"] == pytest.approx(6.87e9, rel=1e-3)
    assert rows(result)["torch"]["native"] == 2 * expected
    assert all(row["uncounted"] == {} for row in result["counters"])


@pytest.mark.parametrize("need_weights", [False, True])
def test_multihead_attention_by_hand(need_weights: bool) -> None:
    height, width, embed = 32, 16, 8
    tokens = (height // 4) * (width // 4)
    stem = tokens * embed * 3 * 16
    attention = 4 * tokens * embed * embed + 2 * tokens * tokens * embed  # q, k, v, output; scores and weighted values
    result = complexity(MultiheadPool(embed, need_weights=need_weights), height, width)
    assert everything_macs(result) == dict.fromkeys(ALL, stem + attention)
    assert str(attention) in rows(result)["thop"]["notes"][0]  # what thop alone would not have seen


def test_functional_attention_by_hand() -> None:
    tokens, embed = 8 * 4, 8
    result = complexity(FunctionalAttention(embed), 32, 16)
    assert everything_macs(result) == dict.fromkeys(ALL, tokens * embed * 48 + 2 * tokens * tokens * embed)


@pytest.mark.parametrize("layer", [nn.Conv2d(4, 6, 3, groups=2), nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2)])
def test_grouped_and_transposed_convolution(layer: nn.Module) -> None:
    result = complexity(Pooled(layer), 10, 8)
    stem = 10 * 8 * 4 * 3 * 9
    # 8×6 output pixels × 6 channels × 2 inputs × 9; transposed: 10×8 input pixels × 4 channels × 3 outputs × 9
    own = 8 * 6 * 6 * 2 * 9 if isinstance(layer, nn.Conv2d) else 10 * 8 * 4 * 3 * 9
    assert rows(result)["torch"]["macs"] == stem + own


@pytest.mark.parametrize(
    ("layer", "per_element"),
    [
        (nn.BatchNorm2d(4), 1),  # stored statistics: one fused multiply-add
        (nn.InstanceNorm2d(4), 4),  # sum, subtract, squared sum, scale
        (nn.InstanceNorm2d(4, affine=True), 5),
        (nn.InstanceNorm2d(4, affine=True, track_running_stats=True), 1),  # the one of IDKL's purifier
        (nn.ReLU(), 1),
    ],
)
def test_norms_and_gem_by_hand(layer: nn.Module, per_element: int) -> None:
    height, width, channels = 6, 5, 4
    elements = height * width * channels
    gem = 3 * elements + channels  # clamp, power, sum per element; one root per channel
    result = complexity(Pooled(layer), height, width)
    by_counter = {name: row["elementwise"] for name, row in rows(result).items()}
    assert by_counter["torch"] == by_counter["fvcore"] == per_element * elements + gem
    thop_norm = 0 if isinstance(layer, nn.ReLU) else per_element * elements  # thop counts a ReLU as nothing
    assert by_counter["thop"] == thop_norm + gem


def test_executed_work_is_counted_even_if_unused() -> None:
    result = complexity(WithDeadBranch(), 8, 8)
    one = 8 * 8 * 4 * 27
    assert everything_macs(result) == {"torch": 2 * one, "fvcore": one, "thop": 2 * one}
    assert result["macs"] == 2 * one
    assert result["disagreement"] == pytest.approx(1.0)
    fvcore = rows(result)["fvcore"]
    assert fvcore["flagged"]
    assert fvcore["difference"] == pytest.approx(0.5)
    assert "executed, but not in this figure" in fvcore["notes"][0]
    assert fvcore["verdict"] == "right by its rule, which leaves out branches that the output does not use"
    assert not rows(result)["thop"]["flagged"]
    assert rows(result)["torch"]["verdict"] == "right: counts what is executed"


def test_a_shared_convolution_is_wrong_by_thop_alone_and_it_is_said_why() -> None:
    result = complexity(SharedConvolution(), 8, 8)
    stem, shared = 64 * 8 * 27, 64 * 8 * 72
    right = stem + 3 * shared
    assert everything_macs(result) == {"torch": right, "fvcore": right, "thop": stem + 27 * shared}
    assert result["macs"] == right
    verdicts = {name: row["verdict"] for name, row in rows(result).items()}
    assert verdicts["torch"] == "right: counts what is executed"
    assert verdicts["fvcore"] == "right by its rule"
    assert verdicts["thop"].startswith("known to be wrong here: it hooks a shared module once for every place")
    assert "blocks.0.conv, which has 3, counts 9 times each time it is executed" in verdicts["thop"]
    # Without torch's counter, the figure is not that of a counter known to be wrong.
    assert complexity(SharedConvolution(), 8, 8, counters=["thop", "fvcore"])["macs"] == right


def test_counters_that_agree_need_no_verdict() -> None:
    assert {row["verdict"] for row in complexity(Pooled(nn.ReLU()), 8, 8)["counters"]} == {""}


class Unusual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        x = self.conv(images).mean(dim=(-1, -2))
        return torch.i0(torch.i0(x))


def test_uncounted_operators_are_listed_with_calls() -> None:
    result = rows(complexity(Unusual(), 8, 8))
    assert result["torch"]["uncounted"] == {"aten.i0": 2}
    assert result["fvcore"]["uncounted"] == {"aten::i0": 2}
    assert result["thop"]["uncounted"] == {"Unusual/aten.i0": 2}


def test_original_is_untouched() -> None:
    model = Pooled(nn.BatchNorm2d(4)).train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    buffers = [name for name, _ in model.named_buffers()]
    fused = torch.backends.mha.get_fastpath_enabled()
    random = torch.get_rng_state()
    complexity(model, 8, 8)
    assert model.training
    assert list(model.state_dict()) == list(state)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert [name for name, _ in model.named_buffers()] == buffers
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert torch.backends.mha.get_fastpath_enabled() == fused
    assert torch.equal(torch.get_rng_state(), random)


class Breaking:
    Config = None
    version = "1"

    def count(self, *_: Any) -> Any:
        raise ZeroDivisionError("no such rule")


def test_failing_counter_keeps_its_row_and_the_others_count() -> None:
    result = complexity(Pooled(nn.ReLU()), 8, 8, counters=["tests.profiling.test_complexity:Breaking", "fvcore"])
    failed, fvcore = result["counters"]
    assert failed["status"] == "failed"
    assert failed["reason"] == "ZeroDivisionError: no such rule"
    assert fvcore["status"] == "ok"
    assert fvcore["headline"]
    assert result["macs"] == fvcore["macs"] == 8 * 8 * 4 * 27
    assert result["disagreement"] is None


def test_unknown_counter_is_named() -> None:
    with pytest.raises(UserError, match=r"unknown counter 'fvcor'; did you mean 'fvcore'\?"):
        complexity(Pooled(nn.ReLU()), 8, 8, counters=["fvcor"])


def test_artefact_names_the_graph_not_the_weights() -> None:
    first, second = Pooled(nn.BatchNorm2d(4)), Pooled(nn.BatchNorm2d(4))
    assert artefact_digest(first, 8, 8) == artefact_digest(second, 8, 8) == complexity(first, 8, 8)["artefact"]
    others = [
        artefact_digest(first, 8, 6),
        artefact_digest(Pooled(nn.ReLU()), 8, 8),
        artefact_digest(Pooled(nn.BatchNorm2d(5), width=5), 8, 8),
        artefact_digest(Pooled(nn.InstanceNorm2d(4, affine=True)), 8, 8),
    ]
    assert len({artefact_digest(first, 8, 8), *others}) == 5


def test_result_is_json_and_fits_the_record() -> None:
    result = complexity(Pooled(nn.ReLU()), 8, 8)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert set(result) <= set(CostRecord.model_fields)
