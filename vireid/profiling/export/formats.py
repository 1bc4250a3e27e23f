"""Models as files of other runtimes."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vireid.core.errors import UserError
from vireid.core.extras import optional_module
from vireid.profiling.complexity import example_images
from vireid.profiling.export.fold import fold_batch_norms

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
    found = []
    for count in batches:
        images = check_images(count, height, width)
        with torch.inference_mode():
            expected = eager(images)
        found.append(difference(run(images), expected))
    return float(torch.tensor(found, dtype=torch.float64).max())  # unlike Python's max, NaN wins


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
    model: Any = exported.model_proto
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
    save_file(state, path, None if metadata is None else dict(metadata))
    again = load_file(path)
    if again.keys() != state.keys() or not all(torch.equal(again[name], state[name]) for name in state):
        raise UserError(f"{path.name}: reads back otherwise than it was written; nothing was kept. Check the disk")
