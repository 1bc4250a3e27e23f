"""Every constant that makes re-identification on the synthetic data harder or easier, in one place.

They are tuned on ``dev`` identities alone. Raise ``RENDERER_VERSION`` in ``config.py`` with any change here.
"""

from typing import Final

GARMENTS_PER_STYLE: Final = 40
"""Upper garments, and as many lower ones, that exist per style: fewer means more people dressed alike."""

STYLE_SHARE: Final = (0.30, 0.22, 0.18, 0.15, 0.15)
"""Share of people per style, in the order of ``wardrobe.STYLES``; uneven shares make dense clusters."""

PLAIN_SHARE: Final = 0.10
"""Chance that an upper garment has no pattern."""

INK_SHARE: Final = {"strong": 0.86, "faint": 0.09, "vanishing": 0.05}
"""How the second dye of a pattern shows in the near infrared: as clear contrast, faintly, or not at all."""

FAINT_CONTRAST: Final = 0.14
"""Difference of near-infrared reflectance between the two dyes of a faint pattern."""

REFLECTANCE_SHIFT: Final = 0.06
"""Largest change of a person's near-infrared reflectances against the material's, a cue of that modality alone."""

BAG_SHARE: Final = 0.62
"""Chance that a person carries a bag."""

HEADWEAR_SHARE: Final = 0.35
"""Chance that a person wears something on the head."""

OCCLUSION_CHANCE: Final = 0.06
"""Chance that a pole, furniture or a passer-by hides part of the person in a shot."""

BYSTANDER_CHANCE: Final = 0.06
"""Chance that somebody else stands in the background of a shot."""

CROP_JITTER: Final = 0.045
"""Standard deviation of the detector box's shift and scale, as a share of its size."""

EXPOSURE_JITTER: Final = 0.10
"""Standard deviation of the logarithm of a shot's exposure."""

POSE_JITTER: Final = 0.06
"""Standard deviation of every joint angle about the gait, in radians."""

YAW_SPREAD_SCALE: Final = 0.85
"""Factor on every camera's spread of viewing directions."""
