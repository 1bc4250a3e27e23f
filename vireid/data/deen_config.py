"""What may be set of DEEN's augmentation. Imports no torch."""

from pydantic import Field

from vireid.core.config import Component
from vireid.data.config import Erasing


class DEENAugmentationConfig(Component):
    """Gray, flip and pad-crop on pixels, random erasing on normalised pixels, alike for both modalities.

    An infrared image whose channels are equal is gray already. Erasing fills with what is a mean colour of pixels in
    0…1, after normalisation, as the released code does.
    """

    name: str = "deen"
    gray: float = Field(default=0.5, ge=0, le=1)
    """All channels become luminance, before normalisation."""
    flip: float = Field(default=0.5, ge=0, le=1)
    pad: int = Field(default=10, ge=0)
    """Pixels."""
    fill: int = Field(default=0, ge=0, le=255)
    erasing: Erasing = Erasing(
        area=(0.2, 0.8), ratio=(0.3, 1 / 0.3), ratio_law="uniform", attempts=100, value=(0.485, 0.456, 0.406)
    )
    """The area is that released for SYSU-MM01; for RegDB and LLCM it is 0.02 to 0.4."""
