"""CAJ and CAJ+ as their authors released them (code mangye16/Cross-Modal-Re-ID-baseline, ICCV21_CAJ, PAMI23_Supervised).

The network, its names and what of it never runs are AGW's. The checkpoints hold NumPy scores beside the weights.
"""

from vireid.models.caj_config import CAJConfig
from vireid.models.importers.agw import AGWImporter


class CAJImporter(AGWImporter):
    """State dicts of the released CAJ (``net`` of its checkpoints)."""

    Config = CAJConfig
    source = "mangye16/Cross-Modal-Re-ID-baseline, ICCV21_CAJ"

    def config(self) -> CAJConfig:
        """The released network and its triplet."""
        return CAJConfig(triplet="released")
