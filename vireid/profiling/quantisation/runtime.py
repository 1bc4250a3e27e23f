"""What runtimes share that can quantise: their keys, what they calibrate on, and what they need for it."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vireid.core.types import FloatArray
from vireid.profiling.export.check import check_images
from vireid.profiling.quantisation_config import QuantisationConfig
from vireid.profiling.runtimes.reasons import missing_package

WITHOUT_IMAGES = 4  # images of noise that stand in for calibration where only the time counts


class Quantising:
    """A runtime that quantises while it stores a model.

    ``calibration`` holds the images (batches, as the network is fed) that ranges of activations are taken from. Without
    any it is noise, and the file good for measuring time alone.
    """

    quantisation: QuantisationConfig | None  # None where the precision is not int8
    calibration: Sequence[FloatArray] | None = None
    metadata: Mapping[str, str] | None = None  # what a stored file says of itself

    def missing_quantiser(self) -> str | None:
        """Why this runtime cannot quantise here, or None."""
        return None if self.quantisation is None else missing_package(self.quantisation.quantiser, "deploy")

    def calibration_images(self, example: Tensor) -> Sequence[FloatArray]:
        """Those given, or noise of the size of ``example``."""
        if self.calibration is not None:
            return self.calibration
        height, width = example.shape[2:]
        return [part.numpy() for part in torch.split(check_images(WITHOUT_IMAGES, height, width), 1)]
