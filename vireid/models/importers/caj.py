"""CAJ and CAJ+ as their authors released them (code mangye16/Cross-Modal-Re-ID-baseline).

The network, its names and what of it never runs are AGW's. The checkpoints hold NumPy scores beside the weights.
"""

from vireid.models.caj_config import CAJConfig
from vireid.models.importers.agw import AGWImporter


class CAJImporter(AGWImporter):
    """State dicts of the released CAJ and CAJ+ (``net`` of their checkpoints)."""

    Config = CAJConfig
    source = "mangye16/Cross-Modal-Re-ID-baseline, ICCV21_CAJ and PAMI23_Supervised"

    def config(self) -> CAJConfig:
        """The released network and its triplet."""
        return CAJConfig(triplet="released")
