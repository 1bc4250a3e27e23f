"""What may be set of every dataset and augmentation. Imports no torch."""

from typing import Literal

from pydantic import Field

from vireid.core.config import Component, Strict

SPLITS = 10


class SYSUConfig(Component):
    """SYSU-MM01 has one official split, so there is nothing to choose."""

    name: Literal["sysu"] = "sysu"


class RegDBConfig(Component):
    """One of the ten splits, and how development identities are drawn from its training identities."""

    name: Literal["regdb"] = "regdb"
    split: int = Field(default=1, ge=1, le=SPLITS)
    dev_fraction: float = Field(default=0.2, gt=0, lt=1)
    dev_seed: int = 0


class LLCMConfig(Component):
    """How development identities are drawn from the training identities."""

    name: Literal["llcm"] = "llcm"
    dev_fraction: float = Field(default=0.2, gt=0, lt=1)
    dev_seed: int = 0


class Erasing(Strict):
    """Random erasing (Zhong et al., AAAI 2020) of normalised images; defaults as torchvision's ``RandomErasing``."""

    probability: float = Field(default=0.5, ge=0, le=1)
    area: tuple[float, float] = (0.02, 0.33)
    """Of the image."""
    ratio: tuple[float, float] = (0.3, 3.3)
    """Height ÷ width."""
    ratio_law: Literal["log-uniform", "uniform"] = "log-uniform"
    attempts: int = Field(default=10, ge=1)
    """The first box smaller than the image counts; without one, no erasing."""
    value: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Written after normalisation, per channel."""


CHANNEL_ERASING = Erasing(
    area=(0.02, 0.4), ratio=(0.3, 1 / 0.3), ratio_law="uniform", attempts=100, value=(0.4914, 0.4822, 0.4465)
)


class NoConfig(Component):
    """Nothing to choose."""

    name: Literal["none"] = "none"


class BaseConfig(Component):
    """Horizontal flip, pad and random crop, random erasing: IDKL's training transform (CVPR 2024, released code)."""

    name: Literal["base"] = "base"
    flip: float = Field(default=0.5, ge=0, le=1)
    pad: int = Field(default=10, ge=0)
    """Pixels."""
    fill: int = Field(default=127, ge=0, le=255)
    erasing: Erasing = Erasing()


class FullConfig(Component):
    """CAJ's three transforms; erasing, exchange and gray act on normalised pixels, jitter before.

    A visible row shows view 1 (erasing) or view 2 (erasing and channel exchange). With ``visible_views`` 1 every
    visible row draws which of the two it is; with 2 the visible rows of the batch come again, as view 2, after it.
    The probability of gray is that of CAJ's code: three quarters one channel, an eighth luminance, an eighth neither.
    """

    name: Literal["full"] = "full"
    flip: float = Field(default=0.5, ge=0, le=1)
    pad: int = Field(default=10, ge=0)
    """Pixels."""
    fill: int = Field(default=127, ge=0, le=255)
    erasing: Erasing = CHANNEL_ERASING
    visible_views: Literal[1, 2] = 1
    second_view: float = Field(default=0.5, ge=0, le=1)
    """Share of view 2 where visible_views is 1."""
    exchange: float = Field(default=1.0, ge=0, le=1)
    """Of a view-2 image: all channels become one drawn channel."""
    infrared_channel: float = Field(default=0.75, ge=0, le=1)
    """Of an infrared image: the same."""
    infrared_gray: float = Field(default=0.125, ge=0, le=1)
    """Of an infrared image: all channels become luminance."""
    jitter: float = Field(default=0.5, ge=0, le=1)
    brightness: float = Field(default=0.2, ge=0, lt=1)
    """Factor uniform in 1 − x … 1 + x."""
    contrast: float = Field(default=0.2, ge=0, lt=1)
    saturation: float = Field(default=0.2, ge=0, lt=1)


class ForkConfig(Component):
    """Flip, colour jitter, pad and crop on pixels; two random erasings, one over the other, on normalised pixels.

    The first is torchvision's with areas up to 0.4, filled with 0, which is the mean colour. The second is CAJ's: its
    filling looks like a mean colour of pixels in 0…1 but is written after normalisation.
    """

    name: Literal["fork"] = "fork"
    flip: float = Field(default=0.5, ge=0, le=1)
    jitter: float = Field(default=1.0, ge=0, le=1)
    brightness: float = Field(default=0.1, ge=0, lt=1)
    """Factor uniform in 1 − x … 1 + x."""
    contrast: float = Field(default=0.1, ge=0, lt=1)
    saturation: float = Field(default=0.1, ge=0, lt=1)
    pad: int = Field(default=10, ge=0)
    """Pixels."""
    fill: int = Field(default=127, ge=0, le=255)
    erasing: Erasing = Erasing(area=(0.02, 0.4))
    channel_erasing: Erasing = CHANNEL_ERASING


class TVILFMAugmentationConfig(Component):
    """Flip and pad-crop, then by view: visible 1 gray and erasing, visible 2 erasing and channel exchange, infrared.

    With ``visible_views`` 2, which TVI-LFM is trained on, the visible rows of the batch come again, as view 2, after
    it; with 1 every visible row draws which of the two it is. Adaptive gray of an infrared image as the released code
    has it: three quarters one channel; of the last quarter the share ``adaptive_gray`` luminance, the rest as it was.
    """

    name: Literal["tvi_lfm"] = "tvi_lfm"
    flip: float = Field(default=0.5, ge=0, le=1)
    pad: int = Field(default=10, ge=0)
    """Pixels."""
    fill: int = Field(default=0, ge=0, le=255)
    visible_views: Literal[1, 2] = 1
    gray: float = Field(default=0.1, ge=0, le=1)
    """Of view 1, before normalisation."""
    visible_erasing: float = Field(default=0.6, ge=0, le=1)
    infrared_erasing: float = Field(default=0.5, ge=0, le=1)
    exchange: float = Field(default=0.5, ge=0, le=1)
    """Of view 2: all channels become one drawn channel."""
    adaptive_channel: float = Field(default=0.75, ge=0, le=1)
    adaptive_gray: float = Field(default=0.6, ge=0, le=1)
