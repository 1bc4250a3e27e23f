"""Parameter roles."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.profiling.models import without_gradient
from vireid.core.errors import UserError
from vireid.profiling.complexity import parameter_counts, size_bytes


class Method(nn.Module):
    """Trunk 3→4, training-only head 4→2, and a block that nothing calls."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(3, 4)
        self.head = nn.Linear(4, 2, bias=False)
        self.never = nn.Linear(5, 5)
        self.frozen = nn.Parameter(torch.zeros(7), requires_grad=False)

    def loss(self) -> Tensor:
        return self.head(self.trunk(torch.ones(2, 3))).square().sum()


def dead_roles(model: Method) -> dict[str, str]:
    return {name: "dead" for name, _ in model.named_parameters() if name.startswith("never")}


def test_counts_by_role() -> None:
    model = Method()
    assert parameter_counts(model, model.trunk, dead_roles(model)) == {"deployed": 16, "training_only": 15, "dead": 30}
    assert parameter_counts(model, model.trunk) == {"deployed": 16, "training_only": 45, "dead": 0}


def test_copy_of_the_deployed_part_counts_the_same() -> None:
    model, copy = Method(), nn.Linear(3, 4)
    assert parameter_counts(model, copy, dead_roles(model))["deployed"] == 16


def test_shared_tensors_count_once() -> None:
    layer = nn.Linear(3, 3)
    twice = nn.Sequential(layer, layer)
    assert parameter_counts(twice, twice) == {"deployed": 12, "training_only": 0, "dead": 0}
    assert size_bytes(twice) == 48


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        ({"trunk.weights": "dead"}, "'trunk.weights' is not a parameter"),
        ({"head.weight": "unused"}, "role 'unused'; valid: deployed, training_only, dead"),
        ({"trunk.weight": "dead"}, "declared dead, but the deployable module holds it"),
        ({"trunk.weight": "deployed", "never.weight": "deployed"}, "declares 37 deployed parameters"),
    ],
)
def test_contradicting_roles(roles: dict[str, str], message: str) -> None:
    model = Method()
    with pytest.raises(UserError, match=message):
        parameter_counts(model, model.trunk, roles)


def test_deployable_may_not_grow() -> None:
    with pytest.raises(UserError, match="must not add parameters"):
        parameter_counts(nn.Linear(2, 2), nn.Linear(4, 4))


def test_without_gradient_finds_the_dead() -> None:
    model = Method()
    assert without_gradient(model, model.loss) == set(dead_roles(model))
    assert all(p.grad is None for p in model.parameters())


def test_size_counts_buffers() -> None:
    assert size_bytes(nn.BatchNorm1d(10)) == 4 * 10 * 4 + 8  # weight, bias, two statistics; a 64-bit step count
