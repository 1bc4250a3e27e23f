"""The formats of an exported graph (ONNX, OpenVINO's IR, safetensors), folded before and checked against PyTorch after.

In evaluation a batch norm is a scale and a shift per channel, which the convolution's weights and bias can take over.
Where a batch norm sees only some of a convolution's channels (the second half, in IBN-a) only their rows are scaled.
Instance norms depend on the image and stay.
"""

import ast
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.fx import Node
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from vireid.core.errors import UserError, optional_module
from vireid.core.files import ordered_header
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

    One can be where its input is a convolution's output, or a range of its channels, that nothing else reads, each time
    that either runs. The copy's batch norms are then identities, so it is for inference only; its embeddings are those
    of ``module`` up to rounding.
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
    found: dict[tuple[str, str], list[tuple[slice, int]]] = {}
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
        convolution, norm = (names.get(value.name, "").rpartition(".")[0] for value in (weight, mean))
        ours = isinstance(module.get_submodule(convolution), nn.Conv2d) and norm
        alone = all(_apart(rows, _read_by(user, _channels(source))) for user in source.users if user is not link)
        if ours and alone:
            found.setdefault((convolution, norm), []).append((rows, max(len(weight.users), len(mean.users))))
    return [
        _Pair(convolution, norm, calls[0][0])
        for (convolution, norm), calls in found.items()
        if all(call == (calls[0][0], len(calls)) for call in calls)
    ]


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


TOLERANCE = 1e-4  # relative, see ``difference``
BATCHES = (1, 2, 5)  # images; more than one number, so that a batch size baked into a graph shows


def difference(features: Tensor, reference: Tensor) -> float:
    """Largest error of any value, relative to the root mean square of its image's feature: N×D, twice → one number.

    At least as strict as the relative Euclidean distance of the features. NaN where either holds one; infinite where
    shapes differ.
    """
    if features.shape != reference.shape:
        return float("inf")
    expected = reference.double()
    scale = expected.square().mean(dim=1).sqrt().clamp(min=torch.finfo(torch.float64).tiny)
    return float(((features.double() - expected).abs().amax(dim=1) / scale).max())


def check_images(count: int, height: int, width: int) -> Tensor:
    """Images (N×3×H×W, float32) whose pixels are as normalised ones are spread; the same at every call."""
    generator = torch.Generator().manual_seed(count)
    return torch.randn(count, 3, height, width, generator=generator)


def largest_difference(
    run: Callable[[Tensor], Tensor], module: nn.Module, height: int, width: int, batches: Sequence[int] = BATCHES
) -> float:
    """Largest ``difference`` of ``run`` (B×3×H×W → B×D) to ``module`` in eager mode over batches; NaN if one is."""
    eager = deepcopy(module).to("cpu").eval()
    differences = []
    for count in batches:
        images = check_images(count, height, width)
        with torch.inference_mode():
            expected = eager(images)
        differences.append(difference(run(images), expected))
    return float(torch.tensor(differences, dtype=torch.float64).max())  # unlike Python's max, NaN wins


def check_equal(
    run: Callable[[Tensor], Tensor],
    module: nn.Module,
    height: int,
    width: int,
    what: str,
    *,
    remedy: str,
    batches: Sequence[int] = BATCHES,
) -> float:
    """Refuse a graph whose features are not those of ``module``; else their ``largest_difference``.

    Raises:
        UserError: it is above ``TOLERANCE``, or not a number; ``what`` opens the message and ``remedy`` ends it.
    """
    worst = largest_difference(run, module, height, width, batches)
    if not worst <= TOLERANCE:
        raise UserError(
            f"{what}: features differ from those of eager PyTorch by {worst:.1e} (relative, batches of "
            f"{', '.join(map(str, batches))} images of {height}×{width}), more than {TOLERANCE:.0e}; {remedy}"
        )
    return worst


OPSET = 18  # of the default domain; what ONNX Runtime 1.14 and OpenVINO 2023 already read
INPUT, OUTPUT = "images", "embedding"
BATCH = "batch"  # name of the dimension that a file leaves open


def onnx_bytes(module: nn.Module, height: int, width: int, metadata: Mapping[str, str] | None = None) -> bytes:
    """ONNX file of ``module``: ``images`` (batch×3×H×W, float32) → ``embedding`` (batch×D, float32).

    The number of images is open, height and width are fixed. Batch norms are folded into convolutions. Nothing of the
    machine it was made on is inside: names of source files, which the exporter notes at every node, are taken out.

    Args:
        module: images → embedding; stays as it is.
        height: pixels.
        width: pixels.
        metadata: entries of ``metadata_props``.

    Raises:
        UserError: the packages for it are missing, or the graph depends on the number of images.
    """
    onnx = optional_module("onnx", "deploy")
    model = _exported(module, height, width)
    _clean(model)
    for value in (*model.graph.input, *model.graph.output):
        batch = value.type.tensor_type.shape.dim[0]
        if not batch.dim_param:
            raise UserError(
                f"ONNX export of {type(module).__name__}: '{value.name}' holds {batch.dim_value} images, not any "
                "number; a shape in its forward is a Python number (write x.shape[0] into view or reshape)"
            )
        batch.dim_param = BATCH
    if metadata is not None:
        onnx.helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


_SCOPES = "pkg.torch.onnx.name_scopes"  # where the exporter notes a node's modules, outermost first, and its own name


def onnx_modules(module: nn.Module, height: int, width: int) -> dict[str, str]:
    """Of each node of the file that ``onnx_bytes`` makes: the path of the innermost module whose forward it is part of.

    Outputs of nodes are keys as well: runtimes may name a node by what it makes.

    Raises:
        UserError: as ``onnx_bytes``.
    """
    noted = {
        name: entry.value
        for node in _exported(module, height, width).graph.node
        for entry in node.metadata_props
        if entry.key == _SCOPES
        for name in (node.name, *node.output)
    }
    return {name: ast.literal_eval(scopes)[-2] for name, scopes in noted.items()}


def _exported(module: nn.Module, height: int, width: int) -> Any:
    """The exporter's model of ``module``, with all that it notes."""
    optional_module("onnxscript", "deploy")
    try:
        folded = fold_batch_norms(module, height, width)
        # Strict export reads the code instead of running it, so that `len(x)` stays open too.
        with torch.no_grad(), _quiet():
            program = torch.export.export(
                folded,
                (example_images(2, height, width),),
                dynamic_shapes=({0: torch.export.Dim(BATCH)},),
                strict=True,
            )
            exported = torch.onnx.export(
                program,
                (),
                input_names=[INPUT],
                output_names=[OUTPUT],
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # the exporter has many kinds of failure and lets those of a forward through
        reason = str(error).strip().splitlines()
        raise UserError(
            f"ONNX export of {type(module).__name__} at {height}×{width} failed: {type(error).__name__}: "
            f"{reason[0] if reason else 'no reason given'}"
        ) from error
    assert exported is not None
    return exported.model_proto


def _clean(model: Any) -> None:
    """Take out stack traces, intermediate shapes under made-up names, and documentation strings."""
    model.doc_string = model.graph.doc_string = ""
    del model.metadata_props[:], model.graph.metadata_props[:], model.graph.value_info[:]
    for item in (*model.graph.node, *model.graph.initializer, *model.graph.input, *model.graph.output):
        item.doc_string = ""
        del item.metadata_props[:]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporter logs below errors to itself."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


SECTION = "vireid"  # of the IR's ``rt_info``, which holds the metadata


def write_ir(onnx: bytes, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write ``path`` (``….xml``) and the ``.bin`` beside it, weights in float32.

    Raises:
        UserError: OpenVINO is not installed.
    """
    save_ir(optional_module("openvino", "deploy").Core().read_model(onnx), path, metadata)


def save_ir(model: Any, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write an OpenVINO model that is in memory, floating-point weights as they are."""
    for key, value in (metadata or {}).items():
        model.set_rt_info(value, [SECTION, key])
    optional_module("openvino", "deploy").save_model(model, path, compress_to_fp16=False)


def write_weights(module: nn.Module, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write the module's state, read it again, and compare bit by bit.

    Raises:
        UserError: what was read is not what was written.
    """
    state = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in module.state_dict().items()
    }
    path.write_bytes(ordered_header(save(state, None if metadata is None else dict(metadata))))
    again = load_file(path)
    if again.keys() != state.keys() or not all(torch.equal(again[name], state[name]) for name in state):
        raise UserError(f"{path.name}: reads back otherwise than it was written; nothing was kept. Check the disk")
