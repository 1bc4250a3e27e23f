"""ExecuTorch with XNNPACK, PyTorch's runtime for phones and boards, on the CPU, float32 or quantised to int8."""

import json
import logging
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from vireid.core.errors import UserError, optional_module
from vireid.core.types import FloatArray
from vireid.profiling.config import ExecuTorchConfig, XnnpackQuantisationConfig
from vireid.profiling.export.formats import check_equal, fold_batch_norms
from vireid.profiling.runtimes.base import PoolSession, Quantising, missing_package, on_cpu

METADATA = "metadata"  # method of a program that returns JSON of what the file says of itself
_STEP = 2**-12  # least step of a range, as the quantiser has it


class ExecuTorch(Quantising[ExecuTorchConfig]):
    """What XNNPACK knows of the graph runs there, the rest in ExecuTorch's portable kernels."""

    Config = ExecuTorchConfig

    def available(self) -> str | None:
        """Whether the packages are installed."""
        return missing_package("executorch", "edge") or self.missing_quantiser()

    def missing_quantiser(self) -> str | None:
        """Whether PyTorch's quantiser, which ExecuTorch brings along, is missing where it is needed."""
        return None if self.quantisation is None else missing_package("torchao", "edge")

    def store(self, module: nn.Module, example: Tensor, folder: Path) -> Path:
        """Lower ``module`` for the shape of ``example``, quantised where the precision asks for it.

        Raises:
            UserError: ExecuTorch cannot lower the network, or the program in float32 computes another function.
        """
        count, _, height, width = on_cpu(self.config.name, example).shape
        folded = fold_batch_norms(module, height, width)
        exir = _module("executorch.exir")
        partitioner = _module("executorch.backends.xnnpack.partition.xnnpack_partitioner").XnnpackPartitioner
        said = None if self.metadata is None else {METADATA: json.dumps(dict(self.metadata), sort_keys=True)}
        try:
            with torch.no_grad():
                program = torch.export.export(folded, (example,))
                if self.config.quantisation is not None:
                    _without_batch_norms(folded)
                    images = self.calibration_images(example)
                    quantised = _quantised(folded, example, images, self.config.quantisation)
                    program = torch.export.export(quantised, (example,))
            edge = exir.to_edge_transform_and_lower(program, partitioner=[partitioner()], constant_methods=said)
            lowered = edge.to_executorch()
        except Exception as error:  # its passes raise bare exceptions of many kinds for graphs that they do not know
            reason = next((line for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
            raise UserError(f"executorch: cannot lower this network ({reason.strip()}); use another runtime") from error
        file = folder / "model.pte"
        file.write_bytes(lowered.buffer)
        if self.config.quantisation is None:
            remedy = "a kernel of ExecuTorch or XNNPACK is at fault: use another runtime"
            session = ExecuTorchSession(file, torch.get_num_threads())
            check_equal(session, module, height, width, "executorch", remedy=remedy, batches=[count])
        return file

    def load(self, file: Path, example: Tensor) -> PoolSession:  # noqa: ARG002 - made for one shape
        """Load a lowered program with as many threads as PyTorch has now."""
        return PoolSession(lambda threads: ExecuTorchSession(file, threads))


def said_by(file: Path) -> dict[str, str]:
    """Metadata of a program that was stored with some."""
    program = _module("executorch.runtime").Runtime.get().load_program(file)
    (text,) = program.load_method(METADATA).execute([])
    said: dict[str, str] = json.loads(text)
    return said


def _quantised(
    folded: nn.Module, example: Tensor, images: Sequence[FloatArray], settings: XnnpackQuantisationConfig
) -> nn.Module:
    """The graph with quantising and dequantising operators around what XNNPACK computes in int8.

    Args:
        folded: a copy of the network without batch norms.
        example: images of the shape that the program is made for.
        images: batches that ranges of activations are taken from.
        settings: how.
    """
    library = _module("executorch.backends.xnnpack.quantizer.xnnpack_quantizer")
    steps = _module("torchao.quantization.pt2e.quantize_pt2e")
    spec = library.get_symmetric_quantization_config(is_per_channel=True)
    if settings.ranges == "minmax":
        observer = _module("torchao.quantization.pt2e").MinMaxObserver.with_args(eps=_STEP)
        activation = replace(spec.input_activation, observer_or_fake_quant_ctr=observer)
        spec = replace(spec, input_activation=activation, output_activation=activation)
    quantiser = library.XNNPACKQuantizer()
    operators = torch.ops.aten  # not products and joins of maps: pooling and neck would be quantised with them
    for operator in (operators.conv2d.default, operators.linear.default, operators.add.Tensor):
        quantiser.set_operator_type(operator, spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared = steps.prepare_pt2e(torch.export.export(folded, (example,)).module(), quantiser)
        for batch in images:
            for image in torch.split(torch.from_numpy(batch), 1):
                prepared(image.expand(example.shape))  # the graph has the example's number of images in it
        converted: nn.Module = steps.convert_pt2e(prepared)
    return converted


class _ScaleAndShift(nn.Module):
    """A batch norm in evaluation (B×C or B×C×H×W) as one operator that is not quantised.

    ``weight`` and ``bias`` under the names that they had: models ask them for their type.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__()
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = (norm.running_var.double() + norm.eps).rsqrt()
        scale = scale if norm.weight is None else scale * norm.weight.double()
        shift = -norm.running_mean.double() * scale
        shift = shift if norm.bias is None else shift + norm.bias.double()
        self.register_buffer("weight", scale.float())
        self.register_buffer("bias", shift.float())

    def forward(self, values: Tensor) -> Tensor:
        """Scale and shift every channel."""
        shape = (1, -1, *[1] * (values.ndim - 2))
        return torch.addcmul(self.bias.reshape(shape), values, self.weight.reshape(shape))


def _without_batch_norms(module: nn.Module) -> None:
    """Replace the batch norms of a folded network, such as its neck's.

    For a graph with one the quantiser traces a hundred patterns of training, which takes a minute and finds nothing.
    """
    for name, child in list(module.named_children()):
        if isinstance(child, _BatchNorm):
            setattr(module, name, _ScaleAndShift(child))
        else:
            _without_batch_norms(child)


class ExecuTorchSession:
    """A loaded program: images of the shape it was made for (CPU) → embedding (B×D). Threads are the process's."""

    def __init__(self, file: Path, threads: int) -> None:
        _module("executorch.extension.pybindings.portable_lib")._unsafe_reset_threadpool(threads)
        self._program = _module("executorch.runtime").Runtime.get().load_program(file)
        self._method = self._program.load_method("forward")

    def __call__(self, images: Tensor) -> Tensor:
        """One forward."""
        (embedding,) = self._method.execute([images])
        result: Tensor = embedding
        return result


def _module(name: str) -> Any:
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on import they say that interfaces may change, and in the log what is old
            return optional_module(name, "edge")
    finally:
        logging.disable(before)
