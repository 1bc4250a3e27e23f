"""What to measure of a deployed model and for how long, and what may be set of runtimes; imports no torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from vireid.core.config import Component, Strict, component
from vireid.core.errors import UserError
from vireid.profiling import COUNTERS, RUNTIMES
from vireid.profiling.isolation import Limit

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
    weight_bits: Literal[8, 7] = 8
    """7: weights in half the range of int8, whose products of two never leave 16 bits. For processors with AVX2 or
    AVX-512 and no VNNI, where sums of 8-bit weights are cut off (docs/export.md)."""

    @model_serializer(mode="wrap")
    def _as_before_weight_bits(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave ``weight_bits`` out at 8, so that files and latencies from before it are still of one runtime."""
        plain: dict[str, Any] = handler(self)
        if self.weight_bits == 8:
            del plain["weight_bits"]
        return plain

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


class XnnpackQuantisationConfig(Strict):
    """Post-training static quantisation to int8 by ExecuTorch's quantiser for XNNPACK.

    Weights per output channel and symmetric, activations per tensor and asymmetric. Convolutions, linear layers and
    additions compute in int8; pooling and neck stay in float32.
    """

    ranges: Literal["minmax", "histogram"] = "minmax"
    """Ranges of activations over the calibration images. minmax: the widest. histogram: what the quantiser takes of its
    own accord, the range whose rounding and cutting off together cost least."""
    images: int = Field(default=256, ge=1, description="calibration images, half of each modality")


class IntegerConfig(Component):
    """Configuration of a runtime with int8 among its precisions, whose ``quantisation`` says how."""

    @model_validator(mode="before")
    @classmethod
    def _int8_has_a_quantisation(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and data.get("precision") == "int8" and data.get("quantisation") is None:
            return {**data, "quantisation": {}}
        return data

    @model_validator(mode="after")
    def _quantisation_belongs_to_int8(self) -> Self:
        if getattr(self, "quantisation", None) is not None and getattr(self, "precision", None) != "int8":
            raise ValueError("quantisation belongs to precision=int8: add that, or leave it out")
        return self


class QuantisingConfig(IntegerConfig):
    """Configuration of a runtime whose files are quantised from ONNX."""

    quantisation: QuantisationConfig | None = None
    """Of int8, where it is filled in when not given; null elsewhere."""


class EagerConfig(Component):
    """Eager mode with its numeric format and memory layout."""

    name: str = "eager"
    precision: Literal["fp32", "bf16"] = "fp32"
    """``bf16``: autocast, weights stay fp32."""
    channels_last: bool = False


class ChannelsLastConfig(Component):
    """Numeric format, and whether batch norms are folded into convolutions."""

    name: str = "channels_last"
    precision: Literal["fp32", "bf16"] = "fp32"
    fold: bool = True


class CompileConfig(Component):
    """Numeric format (bf16: autocast), and whether weights become constants of the compiled graph."""

    name: str = "compile"
    precision: Literal["fp32", "bf16"] = "fp32"
    freezing: bool = True
    """Casts and packs weights for oneDNN ahead of time."""


class OnnxRuntimeConfig(QuantisingConfig):
    """ONNX Runtime with its precision and the level of its graph optimisation."""

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

    name: str = "openvino"
    precision: Literal["fp32", "bf16", "int8"] = "fp32"


class NcnnConfig(Component):
    """ncnn has no settings here."""

    name: str = "ncnn"


class ExecuTorchConfig(IntegerConfig):
    """ExecuTorch with the precision that XNNPACK computes in."""

    name: str = "executorch"
    precision: Literal["fp32", "int8"] = "fp32"
    quantisation: XnnpackQuantisationConfig | None = None
    """Of int8, where it is filled in when not given; null elsewhere."""

    @model_serializer(mode="wrap")
    def _as_before_int8(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave both keys out in float32, so that latencies from before int8 are still of one runtime."""
        plain: dict[str, Any] = handler(self)
        return plain if self.precision == "int8" else {"name": self.name}


class CudaConfig(Component):
    """Numeric format of convolutions and linear layers, and whether batch norms are folded into convolutions."""

    name: str = "cuda"
    precision: Literal["fp32", "tf32", "bf16", "fp16"] = "fp32"
    fold: bool = True


class TensorRTConfig(Component):
    """What engines may compute in. TensorRT's float32 products are TF32 on devices that have it, hence the name."""

    name: str = "tensorrt"
    precision: Literal["tf32", "fp16"] = "tf32"


class LatencyBudget(Strict):
    """How long to warm up and to measure one (runtime, batch size, threads) combination."""

    warmup_seconds: float = Field(
        default=1.0, ge=0, description="warm-up ends here even if not steady; one call at least"
    )
    min_seconds: float = Field(default=1.0, ge=0, description="measure at least this long")
    min_repeats: int = Field(default=10, ge=1, description="and at least this often")
    max_seconds: float = Field(default=3.0, gt=0, description="but no longer than this, once three samples exist")
    max_repeats: int = Field(default=1000, ge=1)


class StagesConfig(Strict):
    """The way of one query from a JPEG file to a ranked list."""

    gallery: int = Field(default=1000, ge=1, description="rows that are searched")
    top: int = Field(default=20, ge=1, description="length of the ranked list")
    image: Path | None = Field(default=None, description="the JPEG file; a rendered person when null")


class ProfileConfig(Strict):
    """Counters, runtimes, batch sizes and thread counts of a profile. By default a few seconds per small model."""

    counters: list[str] = Field(default=["torch", "fvcore", "thop"], min_length=1)
    runtimes: list[component(RUNTIMES)] = Field(default=[{"name": "eager"}], min_length=1)  # type: ignore[valid-type]
    batches: list[int] = Field(default=[1, 32], min_length=1, description="images per forward")
    threads: list[int] | None = Field(default=None, min_length=1, description="CPU threads; all cores when null")
    budget: LatencyBudget = LatencyBudget()
    memory: bool = Field(default=True, description="peak memory of the artefact, where measurements are isolated")
    isolate: bool = Field(default=False, description="each measurement in a fresh process, pinned to its cores")
    limit: str | None = Field(default=None, description="what it may use, as 'x86, 1 core, 512 MB'; isolates")
    sustained_seconds: float | None = Field(default=None, gt=0, description="measure for so long, in windows of 10 s")
    peaks: bool = Field(default=False, description="also the roofs: arithmetic and memory bandwidth at these threads")
    timeout_seconds: float = Field(default=600.0, gt=0, description="of an isolated process, beside sustained_seconds")
    stages: StagesConfig | None = Field(default=None, description="also the way from a JPEG file to a ranked list")

    @property
    def isolated(self) -> bool:
        """Whether measurements run in processes of their own; a limit is applied to nothing else."""
        return self.isolate or self.limit is not None

    def thread_counts(self, cores: int) -> list[int]:
        """The thread counts to measure with: as asked for, else the limit's cores, else ``cores``."""
        return self.threads or [Limit.parse(self.limit).cores if self.limit is not None else cores]

    @field_validator("counters")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        for name in names:
            try:
                COUNTERS.check(name)
            except UserError as error:
                raise ValueError(str(error)) from error
        return names

    @field_validator("limit", mode="before")
    @classmethod
    def _named_by_what_it_is(cls, limit: Any) -> Any:
        if limit in (None, "none"):
            return None
        try:
            return Limit.parse(str(limit)).name
        except UserError as error:
            raise ValueError(str(error)) from error

    @model_validator(mode="after")
    def _threads_fit_the_limit(self) -> Self:
        if self.limit is not None and self.threads is not None:
            cores = Limit.parse(self.limit).cores
            if max(self.threads) > cores:
                raise ValueError(f"threads={max(self.threads)} is more than the {cores} of limit '{self.limit}'")
        return self

    @field_validator("batches", "threads")
    @classmethod
    def _positive(cls, values: Any) -> Any:
        if values is not None and min(values) < 1:
            raise ValueError("must be at least 1")
        return values
