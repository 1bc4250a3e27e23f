"""Batch norms in convolutions: which are folded, and that the function stays the same."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.profiling.runtimes.graphs import GRAPHS, HEIGHT, WIDTH, graph, make_trained
from vireid.profiling.export.formats import check_images, difference, fold_batch_norms


def _norms(module: nn.Module) -> list[str]:
    return [name for name, part in module.named_modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]


def _trained(module: nn.Module) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        for part in module.modules():
            if hasattr(part, "reset_parameters"):
                part.reset_parameters()
        make_trained(module)
    return module.eval()


def _same_function(module: nn.Module) -> list[str]:
    """Fold ``module``, compare, and return the names of the batch norms that are left."""
    before = {key: value.clone() for key, value in module.state_dict().items()}
    folded = fold_batch_norms(module, 12, 10)
    images = check_images(3, 12, 10)
    with torch.no_grad():
        assert difference(folded(images).flatten(1), module(images).flatten(1)) < 1e-5
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert not folded.training
    return _norms(folded)


def test_folded_weights_by_hand() -> None:
    module = _trained(nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.ReLU()))
    state = {key: value.tolist() for key, value in module.state_dict().items()}
    folded = fold_batch_norms(module, 4, 4)
    found = {key: value.tolist() for key, value in folded.state_dict().items()}
    for channel in range(2):
        scale = state["1.weight"][channel] / (state["1.running_var"][channel] + 1e-5) ** 0.5
        for source in range(3):
            expected = state["0.weight"][channel][source][0][0] * scale
            assert found["0.weight"][channel][source][0][0] == pytest.approx(expected, rel=1e-6)
        shift = (state["0.bias"][channel] - state["1.running_mean"][channel]) * scale
        assert found["0.bias"][channel] == pytest.approx(shift + state["1.bias"][channel], rel=1e-5)
    assert isinstance(folded.get_submodule("1"), nn.Identity)


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(inplace=True)),
        nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.BatchNorm2d(6, affine=False)),
        nn.Sequential(nn.Conv2d(3, 6, 3, groups=3), nn.BatchNorm2d(6, eps=0.1)),
        nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, padding_mode="circular"), nn.BatchNorm2d(6)),
    ],
)
def test_plain_pairs_are_folded(module: nn.Module) -> None:
    assert _same_function(_trained(module)) == []


class Halves(nn.Module):
    """Norms of channel ranges; ``also`` is what else reads the convolution."""

    def __init__(self, also: str = "") -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 6, 3, bias=False)
        self.first, self.rest = nn.InstanceNorm2d(2, affine=True), nn.BatchNorm2d(4)
        self.also = also

    def forward(self, images: Tensor) -> Tensor:
        x = self.convolution(images)
        y = torch.cat([self.first(x[:, :2]), self.rest(x[:, 2:].contiguous())], dim=1)
        if self.also == "all":
            return y + x
        if self.also == "some of them":
            return torch.cat([y, x[:, 1:3]], dim=1)
        if self.also == "others":
            return torch.cat([y, x[:, :2]], dim=1)
        if self.also == "some rows":
            return torch.cat([y[:, :, 1:], x[:, :2, 1:]], dim=1)
        return y


def test_a_norm_of_some_channels_is_folded_into_their_rows() -> None:
    assert _same_function(_trained(Halves())) == []
    assert _same_function(_trained(Halves("others"))) == []
    assert _same_function(_trained(Halves("some rows"))) == []


@pytest.mark.parametrize("also", ["all", "some of them"])
def test_a_convolution_that_others_read_keeps_its_norm(also: str) -> None:
    assert _same_function(_trained(Halves(also))) == ["rest"]


class Twice(nn.Module):
    """One convolution, or one batch norm, or both, that run twice."""

    def __init__(self, convolutions: int, norms: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(3, 3, 1) for _ in range(convolutions))
        self.norms = nn.ModuleList(nn.BatchNorm2d(3) for _ in range(norms))

    def forward(self, images: Tensor) -> Tensor:
        first = self.norms[0](self.convolutions[0](images))
        return self.norms[-1](self.convolutions[-1](F.relu(first)))


def test_a_norm_that_always_follows_the_same_convolution_is_folded_however_often_they_run() -> None:
    assert _same_function(_trained(Twice(1, 1))) == []


@pytest.mark.parametrize(("convolutions", "norms"), [(1, 2), (2, 1)])
def test_parts_shared_by_unlike_pairs_are_left_alone(convolutions: int, norms: int) -> None:
    assert len(_same_function(_trained(Twice(convolutions, norms)))) == norms


def test_norms_of_anything_but_a_convolution_stay() -> None:
    module = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(360, 5), nn.BatchNorm1d(5))
    assert _same_function(_trained(module)) == ["0", "4"]


@pytest.mark.parametrize("name", [name for name in GRAPHS if name != "bottlenecks"])
def test_deployed_graphs_keep_no_batch_norm_but_the_neck(name: str) -> None:
    module = graph(name)
    folded = fold_batch_norms(module, HEIGHT, WIDTH)
    images = check_images(2, HEIGHT, WIDTH)
    with torch.no_grad():
        assert difference(folded(images), module(images)) < 1e-5
    assert [norm.rpartition(".")[2] for norm in _norms(folded)] == ["neck"]
    kept = [sum(isinstance(part, nn.InstanceNorm2d) for part in one.modules()) for one in (module, folded)]
    assert kept[0] == kept[1]
