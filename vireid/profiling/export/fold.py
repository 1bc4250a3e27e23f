"""Batch norms folded into the convolutions before them: the same function in fewer passes over memory.

In evaluation a batch norm is a scale and a shift per channel, which the convolution's weights and bias can take over.
Where a batch norm sees only some of a convolution's channels (the second half, in IBN-a) only their rows are scaled.
Instance norms depend on the image and stay.
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from vireid.profiling.complexity import example_images

_CONVOLUTION = torch.ops.aten.conv2d.default
_BATCH_NORM = torch.ops.aten.batch_norm.default
_SLICE = torch.ops.aten.slice.Tensor
_COPY = torch.ops.aten.contiguous.default
_WEIGHT, _RUNNING_MEAN = 1, 3  # positions among the arguments of a convolution, of a batch norm
_CHANNELS = 1  # dimension of B×C×H×W


@dataclass(frozen=True, slots=True)
class _Pair:
    """A batch norm and the rows of the convolution whose channels it normalises."""

    convolution: str  # names of modules
    norm: str
    rows: slice


def fold_batch_norms(module: nn.Module, height: int, width: int) -> nn.Module:
    """Copy of ``module`` (B×3×H×W → B×D) on the CPU, in evaluation mode, with every batch norm folded that can be.

    One can be where its input is a convolution's output, or a range of its channels, that nothing else reads, and both
    run once. The copy's batch norms are then identities, so it is for inference only; its embeddings are those of
    ``module`` up to rounding.
    """
    copy = deepcopy(module).to("cpu").eval()
    with torch.no_grad():
        for pair in _pairs(copy, height, width):
            convolution, norm = copy.get_submodule(pair.convolution), copy.get_submodule(pair.norm)
            assert isinstance(convolution, nn.Conv2d)
            assert isinstance(norm, _BatchNorm)
            _fold(convolution, norm, pair.rows)
            parent, _, name = pair.norm.rpartition(".")
            setattr(copy.get_submodule(parent), name, nn.Identity())
    return copy


def _fold(convolution: nn.Conv2d, norm: _BatchNorm, rows: slice) -> None:
    """Scale and shift ``rows`` of the convolution; computed in double precision."""
    if convolution.bias is None:
        convolution.bias = nn.Parameter(convolution.weight.new_zeros(convolution.out_channels), requires_grad=False)
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    weight, bias = fuse_conv_bn_weights(
        convolution.weight[rows].double(),
        convolution.bias[rows].double(),
        mean.double(),
        variance.double(),
        norm.eps,
        _double(norm.weight),
        _double(norm.bias),
    )
    convolution.weight[rows] = weight.to(convolution.weight.dtype)
    convolution.bias[rows] = bias.to(convolution.bias.dtype)


def _double(values: Tensor | None) -> Any:
    """In double precision; None where a norm has no weights of its own, which PyTorch's function takes too."""
    return None if values is None else values.double()


def _pairs(module: nn.Module, height: int, width: int) -> list[_Pair]:
    """Batch norms that can be folded, from the graph that ``torch.export`` sees."""
    with torch.no_grad():
        program = torch.export.export(module, (example_images(2, height, width),))
    signature = program.graph_signature
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    found = []
    for node in program.graph.nodes:
        if node.op != "call_function" or node.target != _BATCH_NORM:
            continue
        read = _read_rows(node.args[0])
        if read is None:
            continue
        source, rows, link = read
        weight, mean = source.args[_WEIGHT], node.args[_RUNNING_MEAN]
        if not (isinstance(weight, Node) and isinstance(mean, Node)):
            continue
        convolution, norm = (names.get(place.name, "").rpartition(".")[0] for place in (weight, mean))
        once = len(weight.users) == 1 and len(mean.users) == 1
        ours = isinstance(module.get_submodule(convolution), nn.Conv2d) and norm
        alone = all(_apart(rows, _read_by(user, _channels(source))) for user in source.users if user is not link)
        if once and ours and alone:
            found.append(_Pair(convolution, norm, rows))
    return found


def _read_rows(node: Any) -> tuple[Node, slice, Node] | None:
    """The convolution that a node's value comes from, the channels of it, and the convolution's user on the way.

    None where it comes from elsewhere, or is read by others on the way.
    """
    rows: slice | None = None
    link = node
    while isinstance(node, Node) and node.target in (_SLICE, _COPY):
        if len(node.users) != 1:
            return None
        if node.target == _SLICE:
            cut = _cut(node)
            if cut is None or (rows is not None and cut != _WHOLE):
                return None
            rows = rows if cut == _WHOLE else cut
        node, link = node.args[0], node
    if not isinstance(node, Node) or node.target != _CONVOLUTION:
        return None
    if link is node:  # the batch norm reads the convolution itself
        link = next(iter(node.users))
        if len(node.users) != 1:
            return None
    count = _channels(node)
    return node, slice(*(rows or slice(0, count)).indices(count)), link


def _read_by(user: Node, count: int) -> slice:
    """Channels that a user of a convolution reads: a slice's, else all."""
    while user.target == _SLICE:
        cut = _cut(user)
        if cut is None:
            break
        if cut != _WHOLE:
            return slice(*cut.indices(count))
        if len(user.users) != 1:
            break
        user = next(iter(user.users))
    return slice(0, count)


_WHOLE = slice(None)


def _cut(node: Node) -> slice | None:
    """What a slice takes of the channels; ``_WHOLE`` where it takes all of whatever it cuts; None for other cuts."""
    arguments: list[Any] = list(node.args)
    source, dimension, start, stop, step = arguments + [0, None, None, 1][len(arguments) - 1 :]
    if node.kwargs or step != 1 or not isinstance(dimension, int):
        return None
    size = int(source.meta["val"].shape[dimension])
    if not isinstance(start, int | None) or not isinstance(stop, int | None):
        return None
    begin, end, _ = slice(start, stop).indices(size)
    if (begin, end) == (0, size):
        return _WHOLE
    return slice(begin, end) if dimension == _CHANNELS else None


def _channels(node: Node) -> int:
    return int(node.meta["val"].shape[_CHANNELS])


def _apart(one: slice, other: slice) -> bool:
    return bool(one.stop <= other.start or other.stop <= one.start)
