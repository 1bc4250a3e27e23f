"""Heat maps against Grad-CAM computed by hand, and against what hiding parts of an image does."""

import numpy as np
import pytest
import torch
from torch import nn

from vireid.core import errors
from vireid.core.errors import UserError
from vireid.explain.grad_cam import SimilarityTo, last_map, similarity_maps, without

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class TwoLayers(nn.Module):
    """Two convolutions, mean pooling: small enough to be followed back by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 5, 3, padding=1)
        self.second = nn.Conv2d(5, 7, 3, padding=1)

    def map(self, images):
        return self.second(torch.tanh(self.first(images)))

    def forward(self, images):
        return self.map(images).square().mean((2, 3))


@pytest.fixture
def network():
    torch.manual_seed(3)
    return TwoLayers().double().eval()


@pytest.fixture
def installed():
    pytest.importorskip("pytorch_grad_cam", reason="needs the extra 'explain'")


def by_hand(feature_map: torch.Tensor, match: torch.Tensor) -> np.ndarray:
    """Selvaraju et al. (2017), with the derivatives of cosine and squared mean written out; scaled to 0…1."""
    count = feature_map.shape[1] * feature_map.shape[2]
    embedding = feature_map.square().mean((1, 2))
    norms = embedding.norm() * match.norm()
    of_embedding = match / norms - (embedding @ match) / norms * embedding / embedding.norm() ** 2
    heat = torch.zeros(feature_map.shape[1:], dtype=feature_map.dtype)
    for channel in range(len(feature_map)):
        gradient = of_embedding[channel] * 2 * feature_map[channel] / count
        heat += gradient.mean() * feature_map[channel]
    heat = heat.clamp(min=0)
    heat -= heat.min()
    return (heat / heat.max()).numpy()


def test_a_map_is_grad_cam_computed_by_hand(network, installed) -> None:
    random = torch.Generator().manual_seed(1)
    images = torch.randn(3, 3, 12, 6, generator=random, dtype=torch.float64)
    matches = torch.randn(3, 7, generator=random, dtype=torch.float64)
    maps = similarity_maps(network, network.second, images, matches)
    assert maps.shape == (3, 12, 6)
    for image, match, heat in zip(images, matches, maps, strict=True):
        expected = by_hand(network.map(image[None])[0].detach(), match)
        assert expected.max() == 1
        assert expected.min() == 0
        np.testing.assert_allclose(heat, expected, atol=1e-6)


def test_the_target_is_the_cosine_similarity_to_a_fixed_match(network) -> None:
    images = torch.randn(2, 3, 8, 4, dtype=torch.float64)
    query, match = network(images)
    target = SimilarityTo(match)
    assert target(query).item() == pytest.approx((query @ match / query.norm() / match.norm()).item())
    assert not target.match.requires_grad


def test_the_last_map_is_what_pooling_reads(network) -> None:
    name, layer = last_map(network, torch.zeros(2, 3, 8, 4, dtype=torch.float64))
    assert (name, layer) == ("second", network.second)
    with pytest.raises(UserError, match="no module of the network gives a map"):
        last_map(nn.Sequential(nn.Flatten(), nn.Linear(96, 4)), torch.zeros(2, 3, 8, 4))


def test_hiding_takes_exactly_the_hottest_or_the_coldest_pixels() -> None:
    heat = torch.arange(32.0).reshape(1, 8, 4)
    images = torch.ones(1, 3, 8, 4)
    for hottest, rows in ((True, slice(6, 8)), (False, slice(0, 2))):
        hidden = without(images, heat, 0.25, hottest=hottest)
        assert not hidden[0, :, rows].any()
        assert int(hidden.sum()) == 3 * 24


@pytest.mark.parametrize("seed", range(5))
def test_the_hot_end_is_where_similarity_comes_from(seed: int, installed) -> None:
    """An image shares one patch with its match and has another that is its own: the map must tell them apart."""
    torch.manual_seed(seed)
    network = TwoLayers().eval()
    for part in (network.first, network.second):
        nn.init.zeros_(part.bias)
    shared, own = torch.randn(2, 3, 1, 1)
    other = torch.zeros(1, 3, 16, 8)
    other[:, :, 10:14, 2:6] = shared
    images = other.clone()
    images[:, :, 2:6, 2:6] = own
    match = network(other).detach()
    heat = torch.from_numpy(similarity_maps(network, network.second, images, match))
    assert float(heat[:, 10:14, 2:6].mean()) > 5 * float(heat[:, 2:6, 2:6].mean())
    with torch.no_grad():
        whole, hot, cold = (
            float(SimilarityTo(match[0])(network(image)[0]))
            for image in (images, *(without(images, heat, 16 / 128, hottest=end) for end in (True, False)))
        )
    assert hot < whole < cold


def test_without_the_package_the_message_says_how_to_get_it(network, monkeypatch) -> None:
    def absent(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(errors.importlib, "import_module", absent)
    with pytest.raises(UserError, match=r"package 'grad-cam'.*make install EXTRAS=explain"):
        similarity_maps(network, network.second, torch.zeros(1, 3, 8, 4), torch.ones(1, 7))
