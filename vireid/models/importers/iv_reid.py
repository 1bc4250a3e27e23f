"""IV-REID as its authors released it (code linyq17/IV-REID): the network that it tests.

Its checkpoints are whole pickled models, which are never loaded: save ``model.state_dict()`` with the public code. They
do not hold the auxiliary head, so the model comes without it.
"""

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from vireid.models.importers.layout import Entry, Layout, renamed, without_memory
from vireid.models.iv_reid import IVREID
from vireid.models.iv_reid_config import IVREIDConfig

_PARTS: dict[str, str] = {
    "embedder.stem": "base",
    "embedder.branch": "base",
    "embedder.neck": "bottleneck",
    "heads.id": "share_classifier",
}


class IVREIDImporter:
    """State dicts of the released ``Baseline`` with ``using_fc_bias`` and ``using_norm``, as both scripts set them."""

    Config: ClassVar[type[IVREIDConfig]] = IVREIDConfig
    version: ClassVar[str] = "1"
    source: ClassVar[str] = "linyq17/IV-REID at 6d9eec0"

    def config(self) -> IVREIDConfig:
        """The network without its auxiliary head."""
        return IVREIDConfig(weights=dict.fromkeys(("id_visible", "id_infrared", "kl_visible", "kl_infrared"), 0.0))

    def num_classes(self, state: Mapping[str, Tensor]) -> int | None:
        """Rows of the identity classifier."""
        weight = state.get("share_classifier.weight")
        return len(weight) if weight is not None and weight.dim() == 2 else None

    def layout(self, num_classes: int) -> Layout:
        """Every key of a released state dict; shapes come from our own modules, built without memory."""
        with without_memory():
            model = IVREID(self.config(), num_classes)
        entries: dict[str, Entry] = {}
        for ours, theirs in _PARTS.items():
            entries |= renamed(model.get_submodule(ours), ours, theirs)
        return entries
