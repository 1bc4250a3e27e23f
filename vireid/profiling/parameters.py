"""Parameter counts by role: deployed, training-only, dead."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from torch import Tensor, nn

from vireid.core.errors import UserError

Role = Literal["deployed", "training_only", "dead"]
ROLES: tuple[Role, ...] = ("deployed", "training_only", "dead")


def parameter_counts(
    full: nn.Module, deployable: nn.Module | Sequence[nn.Module], roles: Mapping[str, str] | None = None
) -> dict[str, int]:
    """Number of scalars by role; shared tensors count once.

    Args:
        full: model as trained.
        deployable: what ``full.deployable(...)`` returned, for one modality or for each; it holds the parameters of
            ``full`` or copies of them. Where modalities have parts of their own, ``roles`` must say what is deployed.
        roles: role of parameters of ``full`` by name, as far as the model declares them (``parameter_roles()``).
            Whatever is undeclared is ``deployed`` if the deployable module holds it, otherwise ``training_only``.

    Raises:
        UserError: unknown parameter name or role, or roles that contradict the deployable module.
    """
    named = dict(full.named_parameters())
    paths = [deployable] if isinstance(deployable, nn.Module) else list(deployable)
    sizes = [sum(p.numel() for p in path.parameters()) for path in paths]
    held = {id(p) for path in paths for p in path.parameters()}
    dead = declared = 0
    for name, role in (roles or {}).items():
        where = f"parameter_roles of {type(full).__name__}: '{name}'"
        if name not in named:
            raise UserError(f"{where} is not a parameter of the model; list names as in named_parameters()")
        if role not in ROLES:
            raise UserError(f"{where} has the role '{role}'; valid: {', '.join(ROLES)}")
        if role != "deployed" and id(named[name]) in held:
            raise UserError(f"{where} is declared {role}, but the deployable module holds it")
        dead += named[name].numel() if role == "dead" else 0
        declared += named[name].numel() if role == "deployed" else 0
    if declared > sum(sizes):
        raise UserError(
            f"parameter_roles of {type(full).__name__} declares {declared} deployed parameters, but its deployable "
            f"module holds {sum(sizes)}"
        )
    deployed = max(declared, *sizes)
    total = sum(p.numel() for p in named.values())
    if total < deployed + dead:
        raise UserError(
            f"{type(full).__name__} has {total} parameters, fewer than its deployable module ({deployed}) and the dead "
            f"ones ({dead}) together; a deployable module must not add parameters"
        )
    return {"deployed": deployed, "training_only": total - deployed - dead, "dead": dead}


def without_gradient(model: nn.Module, loss: Callable[[], Tensor]) -> set[str]:
    """Names of the trainable parameters that one training step leaves without a gradient: a check on declared roles.

    Args:
        model: model whose gradients are cleared, filled and cleared again.
        loss: computes the total loss of one step. Take a step in which every term is active.
    """
    model.zero_grad(set_to_none=True)
    loss().backward()  # type: ignore[no-untyped-call]
    names = {name for name, p in model.named_parameters() if p.requires_grad and p.grad is None}
    model.zero_grad(set_to_none=True)
    return names


def size_bytes(module: nn.Module) -> int:
    """Bytes of the parameters and buffers of a module; shared tensors count once."""
    tensors = {id(t): t for t in (*module.parameters(), *module.buffers())}
    return sum(t.numel() * t.element_size() for t in tensors.values())
