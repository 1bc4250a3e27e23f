"""The "Optimized IDKL" fork as released (code quocnhut134/IDKL): IDKL with an IBN of its own and an attention.

The attention's query and key are single tokens and its output is detached, so nothing ever trains it: its weights are
read, because the training terms depend on its values, and counted as dead.
"""

from __future__ import annotations

from typing import ClassVar

from vireid.models.idkl_config import IDKLConfig
from vireid.models.importers.idkl import IDKLImporter


class IDKLForkImporter(IDKLImporter):
    """State dicts of the fork."""

    version: ClassVar[str] = "1"
    source: ClassVar[str] = "quocnhut134/IDKL at 7036b9e"

    def config(self) -> IDKLConfig:
        """The network and training terms of the fork's SYSU configuration, with the weights at a batch of 32."""
        return IDKLConfig(
            ibn="fork",
            mha="fork",
            heads=2,
            margin=0.3,
            label_smoothing=0.1,
            smooth_discriminators="identities",
            pseudo_labels="visible",
            classifier_init="uniform",
        )

    def parts(self) -> dict[str, str]:
        """Those of IDKL and the attention."""
        return super().parts() | {"fork_attention.projection": "cross_attn"}
