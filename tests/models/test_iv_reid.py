from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.losses import naive
from vireid.core.config import parse
from vireid.core.errors import UserError
from vireid.core.types import Batch, Modality
from vireid.models.iv_reid import IVREID
from vireid.models.iv_reid_config import IVREIDConfig
from vireid.models.resnet import Branch, Stem

MakeBatch = Callable[..., Batch]


def build(classes: int = 10, **settings: Any) -> IVREID:
    torch.manual_seed(0)
    config = {"name": "iv_reid", "backbone": "resnet18", "width": 0.25}
    return IVREID(parse(IVREIDConfig, config | settings, "test"), classes)


def kl(target: np.ndarray, logits: np.ndarray) -> float:
    total = 0.0
    for t, p in zip(target, logits, strict=True):
        total += sum(np.exp(a) * (a - b) for a, b in zip(naive.log_softmax(t), naive.log_softmax(p), strict=True))
    return total / len(logits)


@pytest.mark.parametrize("reduction", ["batchmean", "mean"])
def test_terms_equal_loops(make_batch: MakeBatch, reduction: str) -> None:
    model, batch = build(kl=reduction, margin=2.0), make_batch()
    output = model(batch)
    logits = {name: value.detach().double().numpy() for name, value in output.logits.items()}
    feature, labels = output.features["embedding"].detach().double().numpy(), batch.labels.tolist()
    v, i = batch.visible.numpy(), batch.infrared.numpy()
    own = batch.labels[batch.visible].tolist(), batch.labels[batch.infrared].tolist()
    share = 1.0 if reduction == "batchmean" else 1 / 10
    expected = {
        "id": naive.cross_entropy(logits["id"], labels, 0.0),
        "id_visible": naive.cross_entropy(logits["visible"][v], own[0], 0.0),
        "id_infrared": naive.cross_entropy(logits["infrared"][i], own[1], 0.0),
        "kl_visible": share * kl(logits["infrared"][v], logits["visible"][v]),
        "kl_infrared": share * kl(logits["visible"][i], logits["infrared"][i]),
        "triplet": naive.triplet(feature, labels, 2.0),
    }
    measured = {name: value.item() for name, value in model.loss_terms(output, batch).items()}
    assert measured == pytest.approx(expected, rel=1e-5)
    assert model.default_weights() == dict.fromkeys(expected, 1.0)


@pytest.mark.parametrize(
    ("term", "moved", "still"),
    [
        ("kl_visible", "visible", "infrared"),
        ("kl_infrared", "infrared", "visible"),
        ("id_visible", "visible", "infrared"),
        ("id_infrared", "infrared", "visible"),
    ],
)
def test_a_term_moves_its_own_branch_and_the_network(make_batch: MakeBatch, term: str, moved: str, still: str) -> None:
    model, batch = build(), make_batch()
    model.loss_terms(model(batch), batch)[term].backward()
    assert all(p.grad is not None and p.grad.any() for p in model.heads[moved][2].parameters())
    assert all(p.grad is None or not p.grad.any() for p in model.heads[still].parameters())
    assert model.embedder.stem.conv1.weight.grad.any()


def test_both_branches_see_all_rows(make_batch: MakeBatch) -> None:
    model, batch = build(), make_batch()
    seen: dict[str, int] = {}
    for name in ("visible", "infrared"):
        model.heads[name][0].register_forward_hook(lambda m, i, o, name=name: seen.update({name: len(o)}))
    model(batch)
    assert seen == {"visible": 16, "infrared": 16}
    assert [type(part) for part in model.heads["visible"]] == [nn.BatchNorm1d, nn.Linear, nn.Linear]
    assert model.heads["visible"][1].out_features == 512


def test_the_feature_is_after_batch_norm_with_a_trained_bias(make_batch: MakeBatch) -> None:
    model, batch = build(), make_batch()
    assert model.embedder.neck.bias.requires_grad
    assert model.heads["id"].bias is not None
    feature = model(batch).features["embedding"]
    assert torch.allclose(feature.mean(dim=0), torch.zeros(128), atol=1e-5)
    assert isinstance(model.embedder.stem.relu, nn.Identity)
    assert model.embedder.branch.layer4[0].conv1.stride == (1, 1)


def test_biases_of_convolutions_decide_nothing_in_training_and_shift_running_means_only(make_batch: MakeBatch) -> None:
    model, batch = build(), make_batch()
    before = model(batch).features["embedding"]
    with torch.no_grad():
        for name, parameter in model.embedder.named_parameters():
            if "conv" in name and name.endswith("bias"):
                parameter.add_(0.3)
    assert torch.allclose(model(batch).features["embedding"], before, atol=1e-3)
    assert build(conv_bias=False).embedder.stem.conv1.bias is None


def test_the_auxiliary_head_learns_ten_times_as_fast() -> None:
    model = build()
    network, auxiliary = model.parameter_groups()
    assert (network["lr_scale"], auxiliary["lr_scale"]) == (1.0, 10.0)
    inside = {id(p) for name in ("visible", "infrared") for p in model.heads[name].parameters()}
    assert {id(p) for p in auxiliary["params"]} == inside


def test_deployed_is_the_network_alone() -> None:
    deployed = build().deployable(Modality.VISIBLE)
    assert {name.partition(".")[0] for name, _ in deployed.named_parameters()} == {"stem", "branch", "neck"}


def test_published_weights_load_beside_new_biases(tmp_path: Path) -> None:
    spec = build().config.trunk
    torch.manual_seed(5)
    state = Stem(spec).state_dict() | Branch(spec).state_dict()
    torch.save(state, tmp_path / "resnet.pth")
    model = build(pretrained=tmp_path / "resnet.pth")
    own = model.embedder.stem.state_dict() | model.embedder.branch.state_dict()
    assert all(torch.equal(own[key], value) for key, value in state.items())
    assert not any(value.any() for key, value in own.items() if key.endswith("conv1.bias"))


def test_divergences_need_both_branches() -> None:
    with pytest.raises(UserError, match="kl_visible and kl_infrared: compares the auxiliary branches"):
        build(weights={"id_infrared": 0.0})
    plain = build(weights=dict.fromkeys(("id_visible", "id_infrared", "kl_visible", "kl_infrared"), 0.0))
    assert list(plain.heads) == ["id"]
