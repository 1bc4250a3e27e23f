"""What a model costs before it is run: parameters by role, MACs per image by several counters side by side."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vireid.core.config import canonical_json
from vireid.core.errors import UserError
from vireid.core.types import DeclaresRoles
from vireid.profiling import COUNTERS
from vireid.profiling.counters.base import MAC_CONVENTION, OperatorCall, counting_copy, log_execution

HEADLINE = "torch"  # counts what is executed
FLAG_ABOVE = 0.01  # relative difference between counters that a table must show


def cost(
    full_model: nn.Module,
    deployable: nn.Module,
    height: int,
    width: int,
    *,
    counters: Sequence[str] = ("torch", "fvcore", "thop"),
    roles: Mapping[str, str] | None = None,
    others: Sequence[nn.Module] = (),
) -> dict[str, Any]:
    """Parameters by role, MACs per image and size of the deployed graph.

    Args:
        full_model: the model as trained; asked for ``parameter_roles()`` if it has one and ``roles`` is not given.
        deployable: images (B×3×H×W) → embedding (B×D).
        height: pixels.
        width: pixels.
        counters: names in ``COUNTERS``.
        roles: role of parameters by name.
        others: deployable modules of the other modalities; they count among the deployed parameters.

    Returns:
        What ``complexity`` returns, with ``parameters`` and ``size_bytes``.
    """
    if roles is None and isinstance(full_model, DeclaresRoles):
        roles = full_model.parameter_roles()
    return {
        **complexity(deployable, height, width, counters=counters),
        "parameters": parameter_counts(full_model, [deployable, *others], roles),
        "size_bytes": size_bytes(deployable),
    }


def complexity(
    module: nn.Module, height: int, width: int, *, counters: Sequence[str] = ("torch", "fvcore", "thop")
) -> dict[str, Any]:
    """Count ``module`` (images B×3×H×W → embedding) on one image of ``height``×``width`` pixels.

    Every counter gets its own copy of the module; the module itself is left as it was. The headline ``macs`` is the
    figure of PyTorch's counter (executed convolutions, linear layers and matrix products); when that counter is not
    asked for or failed, the first one that succeeded.

    Returns:
        ``artefact`` (see ``artefact_digest``), ``macs`` (None if every counter failed), ``convention``,
        ``resolution``, ``images_per_forward``, ``disagreement`` (largest relative difference between counters, None
        with fewer than two), ``counters``: one row each with ``name``, ``status``, ``reason``, ``headline`` (whether
        ``macs`` is its figure), ``difference`` to the headline (relative), ``flagged`` (above 1 %), ``verdict`` (where
        counters differ, which is right, which is wrong and why), and the fields of ``Count``. A failed counter's row
        has ``status`` "failed", its reason, and no figures.
    """
    images = example_images(1, height, width)
    executed = log_execution(counting_copy(module), images)
    rows = [_row(name, module, images, executed) for name in counters]
    counted = {row["name"]: row["macs"] for row in rows if row["status"] == "ok"}
    trusted = [row["name"] for row in rows if row["status"] == "ok" and not row["wrong"]]
    headline = HEADLINE if HEADLINE in counted else next(iter([*trusted, *counted]), None)
    figures = list(counted.values())
    for row in rows:
        if row["status"] == "ok" and headline is not None:
            difference = abs(row["macs"] - counted[headline]) / max(counted[headline], 1)
            row.update(headline=row["name"] == headline, difference=difference, flagged=difference > FLAG_ABOVE)
    for row in rows:
        row["verdict"] = _verdict(row, rows, None if headline is None else counted[headline])
    disagreement = (max(figures) - min(figures)) / max(min(figures), 1) if len(figures) > 1 else None
    return {
        "artefact": _digest(module, executed),
        "macs": None if headline is None else counted[headline],
        "convention": MAC_CONVENTION,
        "resolution": [height, width],
        "images_per_forward": 1,
        "disagreement": disagreement,
        "counters": rows,
    }


def artefact_digest(module: nn.Module, height: int, width: int) -> str:
    """Identity of a deployed graph, 12 hex digits: executed operators with shapes, parameter shapes and types.

    Weights and module names do not enter, so that two fits, or two configurations, with the same deployed graph
    share cost and latency. Operators are those of the installed PyTorch on the CPU.
    """
    return _digest(module, log_execution(counting_copy(module), example_images(1, height, width)))


def example_images(batch: int, height: int, width: int, device: torch.device | str = "cpu") -> Tensor:
    """Images (B×3×H×W, float32) with fixed content, without touching any random generator."""
    ramp = torch.linspace(-2.0, 2.0, 3 * height * width, device=device)
    return ramp.view(1, 3, height, width).repeat(batch, 1, 1, 1)


def _digest(module: nn.Module, executed: Sequence[OperatorCall]) -> str:
    graph = {
        "operators": [[call.operator, call.shapes] for call in executed],
        "parameters": [[list(p.shape), str(p.dtype)] for p in module.parameters()],
    }
    return hashlib.sha256(canonical_json(graph).encode()).hexdigest()[:12]


def _verdict(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], headline: int | None) -> str:
    """What to think of a counter's figure where counters differ; empty where they agree."""
    if row["status"] != "ok" or headline is None:
        return ""
    if row["wrong"]:
        return f"known to be wrong here: {row['wrong']}"
    if row["flagged"]:
        if row["leaves_out"] and row["macs"] < headline:
            return f"right by its rule, which leaves out {row['leaves_out']}"
        return "differs for no reason that is known: compare by_operator of the counters in the record"
    if not any(other.get("flagged") for other in rows):
        return ""
    return "right: counts what is executed" if row["name"] == HEADLINE else "right by its rule"


def _row(name: str, module: nn.Module, images: Tensor, executed: Sequence[OperatorCall]) -> dict[str, Any]:
    counter = COUNTERS.load(name)()
    try:
        count = counter.count(counting_copy(module), images, executed)
    except Exception as error:  # any counter may fail on any model; the row says so and the others still count
        return {"name": name, "status": "failed", "reason": f"{type(error).__name__}: {error}", "macs": None}
    row = asdict(count)
    return {"name": name, "status": "ok", "reason": None, **row, "notes": list(count.notes)}


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


def size_bytes(module: nn.Module) -> int:
    """Bytes of the parameters and buffers of a module; shared tensors count once."""
    tensors = {id(t): t for t in (*module.parameters(), *module.buffers())}
    return sum(t.numel() * t.element_size() for t in tensors.values())
