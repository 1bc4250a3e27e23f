"""What may be set of every runtime and of quantisation. Imports neither torch nor a runtime nor a quantiser."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from vireid.core.config import Component, Strict

Quantiser = Literal["onnxruntime", "nncf"]


class QuantisationConfig(Strict):
    """Post-training static quantisation to int8: weights per output channel and symmetric, activations per tensor.

    Convolutions and linear layers compute in int8; pooling and neck stay in float32. The defaults came nearest to the
    float model on dev images, in both runtimes (docs/export.md).
    """

    quantiser: Quantiser = "onnxruntime"
    """Its files run in OpenVINO too."""
    activations: Literal["asymmetric", "symmetric"] = "asymmetric"
    ranges: Literal["minmax", "percentile"] = "minmax"
    """Ranges of activations over the calibration images. minmax: the widest. percentile, of nncf: without the outermost
    0.01 % of an image's values, averaged over images."""
    bias_correction: Literal["none", "fast", "full"] = "none"
    """Of nncf: what quantisation shifts a layer's mean output by is taken out of its bias, estimated layer by layer
    (fast) or with all layers before it quantised already (full)."""
    images: int = Field(default=256, ge=1, description="calibration images, half of each modality")

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.quantiser == "onnxruntime" and self.bias_correction != "none":
            raise ValueError("bias_correction is nncf's: set quantiser=nncf, or leave it out")
        if self.quantiser == "onnxruntime" and self.ranges == "percentile":
            raise ValueError(
                "ranges=percentile is nncf's: ONNX Runtime's tool holds every activation of every image in memory for "
                "it. Set quantiser=nncf, or leave it out"
            )
        return self


Optimisation = Literal["none", "basic", "extended", "all"]


class QuantisingConfig(Component):
    """Configuration of a runtime with int8 among its precisions."""

    quantisation: QuantisationConfig | None = None
    """Of int8, where it is filled in when not given; null elsewhere."""

    @model_validator(mode="before")
    @classmethod
    def _int8_has_a_quantisation(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and data.get("precision") == "int8" and data.get("quantisation") is None:
            return {**data, "quantisation": {}}
        return data

    @model_validator(mode="after")
    def _quantisation_belongs_to_int8(self) -> Self:
        if self.quantisation is not None and getattr(self, "precision", None) != "int8":
            raise ValueError("quantisation belongs to precision=int8: add that, or leave it out")
        return self


class EagerConfig(Component):
    """Eager mode with its numeric format and memory layout."""

    version: ClassVar[str] = "1"

    name: str = "eager"
    precision: Literal["fp32", "bf16"] = "fp32"
    """``bf16``: autocast, weights stay fp32."""
    channels_last: bool = False


class ChannelsLastConfig(Component):
    """Numeric format, and whether batch norms are folded into convolutions."""

    version: ClassVar[str] = "1"

    name: str = "channels_last"
    precision: Literal["fp32", "bf16"] = "fp32"
    fold: bool = True


class CompileConfig(Component):
    """Numeric format (bf16: autocast), and whether weights become constants of the compiled graph."""

    version: ClassVar[str] = "1"

    name: str = "compile"
    precision: Literal["fp32", "bf16"] = "fp32"
    freezing: bool = True
    """Casts and packs weights for oneDNN ahead of time."""


class OnnxRuntimeConfig(QuantisingConfig):
    """ONNX Runtime with its precision and the level of its graph optimisation."""

    version: ClassVar[str] = "1"

    name: str = "onnxruntime"
    precision: Literal["fp32", "int8"] = "fp32"
    optimisation: Optimisation = "all"
    """``all``: layout changes too."""

    @model_validator(mode="after")
    def _bias_stays(self) -> Self:
        if self.quantisation is not None and self.quantisation.bias_correction != "none":
            raise ValueError(
                "NNCF's bias correction shifts the features of ONNX files far off (docs/export.md): leave "
                "quantisation.bias_correction out, or use openvino"
            )
        return self


class OpenVinoConfig(QuantisingConfig):
    """OpenVINO with the precision it computes in. Weights are float32 but for int8."""

    version: ClassVar[str] = "1"

    name: str = "openvino"
    precision: Literal["fp32", "bf16", "int8"] = "fp32"


class NcnnConfig(Component):
    """ncnn has no settings here."""

    version: ClassVar[str] = "1"

    name: str = "ncnn"


class ExecuTorchConfig(Component):
    """ExecuTorch has no settings here."""

    version: ClassVar[str] = "1"

    name: str = "executorch"


class CudaConfig(Component):
    """Numeric format of convolutions and linear layers, and whether batch norms are folded into convolutions."""

    version: ClassVar[str] = "1"

    name: str = "cuda"
    precision: Literal["fp32", "tf32", "bf16", "fp16"] = "fp32"
    fold: bool = True


class TensorRTConfig(Component):
    """What engines may compute in. TensorRT's float32 products are TF32 on devices that have it, hence the name."""

    version: ClassVar[str] = "1"

    name: str = "tensorrt"
    precision: Literal["tf32", "fp16"] = "tf32"
