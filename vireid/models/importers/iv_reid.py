"""IV-REID as its authors released it (code linyq17/IV-REID): the network that it tests.

Its checkpoints are whole pickled models, which are never loaded: save ``model.state_dict()`` with the public code. They
do not hold the auxiliary head, so the model comes without it.
"""

from typing import ClassVar

from vireid.models.importers.load import Importer
from vireid.models.iv_reid_config import IVREIDConfig


class IVREIDImporter(Importer):
    """State dicts of the released ``Baseline`` with ``using_fc_bias`` and ``using_norm``, as both scripts set them."""

    Config = IVREIDConfig
    source = "linyq17/IV-REID at 6d9eec0"
    classifiers = ("share_classifier.weight",)
    modules: ClassVar[dict[str, str]] = {
        "embedder.stem": "base",
        "embedder.branch": "base",
        "embedder.neck": "bottleneck",
        "heads.id": "share_classifier",
    }

    def config(self) -> IVREIDConfig:
        """The network without its auxiliary head."""
        return IVREIDConfig(weights=dict.fromkeys(("id_visible", "id_infrared", "kl_visible", "kl_infrared"), 0.0))
