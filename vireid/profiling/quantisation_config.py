"""How a deployed graph is quantised. Imports no quantiser."""

from typing import Literal, Self

from pydantic import Field, model_validator

from vireid.core.config import Strict

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
