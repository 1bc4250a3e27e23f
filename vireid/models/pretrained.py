"""What a model begins with: a ResNet's published weights, or the parts it has in common with another trained model."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from vireid.core.errors import UserError
from vireid.models.base import SharedWeights
from vireid.models.importers.state_file import COUNTER, faulty_keys, read_state
from vireid.models.trunk import IBNKind

SOURCE = "pretrained weights"
_IBN_A = re.compile(r"(layer\d\.\d+\.bn1)\.(IN|BN)\.\w+")  # norms of the official IBN-a
_FORK_NORM = re.compile(r"layer\d\.\d+\.IN\.\w+")  # instance norms of the fork


def load_trunk(
    path: Path, stem: nn.Module, branches: Sequence[nn.Module], *, ibn: IBNKind = "none", partial: bool = False
) -> None:
    """Load a whole ResNet's weights (torchvision's or IBN-Net's names) into a stem and each of its branches.

    ``fc.*`` is dropped.

    Args:
        path: see ``vireid.models.importers.state_file.read_state``.
        stem: first part.
        branches: the other parts, each of which gets the weights; the first completes the trunk.
        ibn: kind of the parts, for the message.
        partial: load the weights of a plain ResNet or of IBN-a into parts of ``ibn=fork`` as the fork's code does: its
            instance norms, and bn1 wherever IBN-a has two norms in its place, keep their start. Everything else
            is as strict as ever.

    Raises:
        UserError: unreadable file; missing or unknown keys, or keys of another shape.
    """
    state = {key: value for key, value in read_state(path, SOURCE).items() if not key.startswith("fc.")}
    expected = stem.state_dict() | branches[0].state_dict()
    if partial:
        split = {match[1] for key in state if (match := _IBN_A.fullmatch(key))}
        state = {key: value for key, value in state.items() if not _IBN_A.fullmatch(key)}
        kept = {key for key in expected if key.rpartition(".")[0] in split or _FORK_NORM.fullmatch(key)}
        expected = {key: value for key, value in expected.items() if key in state or key not in kept}
    _check(path, state, expected, ibn)
    for part in (stem, *branches):
        start = part.state_dict()
        part.load_state_dict({key: state.get(key, start[key]) for key in start})


def _check(path: Path, state: Mapping[str, Tensor], expected: Mapping[str, Tensor], ibn: IBNKind) -> None:
    missing = [key for key in expected if key not in state and not key.endswith(COUNTER)]
    unknown = [key for key in state if key not in expected]
    if faults := faulty_keys({"missing": missing, "unknown": unknown}):
        remedy = "'backbone' and 'ibn' must be the file's"
        if ibn == "fork":
            remedy = (
                "no published weights fit ibn=fork, which keeps bn1 on all channels and adds an instance norm: set "
                "model.pretrained_partial=true to leave those norms at their start as the fork does, or use model.ibn=a"
            )
        raise UserError(f"{SOURCE} {path}: keys {' and '.join(faults)}; {remedy}")
    for key, value in state.items():
        if value.shape != expected[key].shape:
            raise UserError(
                f"{SOURCE} {path}: '{key}' has shape {tuple(value.shape)}, the model "
                f"{tuple(expected[key].shape)}; published weights fit width 1 only"
            )


_TRUNK = ("stem", "branch")  # without which two models have nothing in common


def load_shared(state: Mapping[str, Tensor], theirs: SharedWeights, model: nn.Module, ours: SharedWeights) -> None:
    """Load the parts that another model and ``model`` have in common; everything else of ``model`` keeps its start.

    Args:
        state: all weights of the other model, trained on the same identities.
        theirs: its parts.
        model: gets the weights.
        ours: its parts; modules that its configuration leaves out are skipped.

    Raises:
        RuntimeError: a ResNet of another depth, width or kind of norms, or none at all.
    """
    modules = dict(model.named_modules())
    for part, names in ours.items():
        source = f"{theirs[part][0]}."
        weights = {name.removeprefix(source): value for name, value in state.items() if name.startswith(source)}
        present = [modules[name] for name in names if name in modules]
        if part in _TRUNK and not (weights and present):
            raise RuntimeError(f"one of the two backbones is no ResNet of the suite's: it has no {part}")
        for module in present if weights else []:
            module.load_state_dict(weights, strict=True)
