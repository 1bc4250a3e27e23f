"""Rules for test time against loops over images, maps and mirror images."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vireid.core.config import deciding, parse
from vireid.core.errors import UserError
from vireid.core.types import Modality
from vireid.evaluation.mirror import WithMirror
from vireid.evaluation.protocols import ProtocolConfig
from vireid.evaluation.scorers import cosine
from vireid.evaluation.test_time import ModelProtocol
from vireid.overrides import compose

MAPS = ("pooled", "pooled", "neck", "neck")
WIDTH = 3


class Embedder(nn.Module):
    """Four features of an image that is not its own mirror image, not of unit length."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * 4 * 2, len(MAPS) * WIDTH)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.layer(images.flatten(1))
        return features


def unit(x: Tensor) -> Tensor:
    return x / x.pow(2).sum().sqrt()


def similarity(embedder: Embedder, one: Tensor, other: Tensor, rule: str) -> float:
    total = 0.0
    for number, kind in enumerate(MAPS):
        sums = []
        for image in (one, other):
            parts = [embedder(x[None])[0][WIDTH * number : WIDTH * (number + 1)] for x in (image, image.flip(2))]
            sums.append(unit(parts[0]) + unit(parts[1]))
        if rule == "flip":
            sums = [unit(x) for x in sums]
        weight = {"pooled": 0.1, "neck": 0.9}[kind] if rule == "flip-weighted" else 1.0
        total += weight * float(sums[0] @ sums[1])
    return total


@pytest.mark.parametrize(("rule", "largest"), [("flip", 4), ("flip-summed", 16), ("flip-weighted", 8)])
def test_the_cosine_is_the_sum_of_similarities_by_its_largest_value(rule: Any, largest: float) -> None:
    torch.manual_seed(0)
    embedder = Embedder()
    images = torch.randn(7, 3, 4, 2)
    with torch.no_grad():
        query = WithMirror(embedder, Modality.INFRARED, rule, MAPS)(images[:3])
        gallery = WithMirror(embedder, Modality.VISIBLE, rule, MAPS)(images[3:])
        expected = torch.tensor(
            [[similarity(embedder, one, other, rule) for other in images[3:]] for one in images[:3]]
        )
    assert torch.allclose(cosine(query, gallery), expected / largest, atol=1e-6)
    assert torch.allclose(query.norm(dim=1), query.norm(dim=1)[0].expand(3), atol=1e-5)


def test_the_mean_of_one_feature_and_its_mirror_s_is_caj_s_rule() -> None:
    torch.manual_seed(0)
    embedder, images = Embedder(), torch.randn(2, 3, 4, 2)
    with torch.no_grad():
        measured = WithMirror(embedder, Modality.VISIBLE, "flip", ("embedding",))(images)
        expected = [unit(unit(embedder(x[None])[0]) + unit(embedder(x.flip(2)[None])[0])) for x in images]
    assert torch.allclose(measured, torch.stack(expected), atol=1e-6)


def test_a_protocol_without_a_rule_decides_what_it_did() -> None:
    given = {"name": "sysu/official", "mode": "indoor"}
    assert deciding(parse(ModelProtocol, given, "test")) == deciding(parse(ProtocolConfig, given, "test"))
    assert deciding(parse(ModelProtocol, {**given, "test_time": "flip"}, "test"))["test_time"] == "flip"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"test_time": "flipped"}, "did you mean 'flip'"),
        ({"test_time": "flip", "text": "query"}, "of images alone"),
        ({"test_time": "flip", "normalise": False}, "set normalise to true"),
        ({"test_time": "flip-summed", "reranking": {"name": "zhong"}}, "set reranking to none"),
    ],
)
def test_impossible_rules_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse(ModelProtocol, {"name": "sysu/official", **settings}, "test")


def test_weights_of_maps_need_maps() -> None:
    protocols = "evaluation.protocols=[{name: sysu/official, test_time: flip-weighted}]"
    base = ["data=sysu_quick", "recipe=smoke", protocols]
    assert compose([*base, "model=deen_small"]).evaluation.protocols[0].test_time == "flip-weighted"
    with pytest.raises(UserError, match="embedding of model 'agw' is one feature"):
        compose([*base, "model=agw_small"])
    with pytest.raises(UserError, match="put one with test_time=none before it"):
        compose([*base, "model=deen_small", "recipe.evaluate_every=1"])
