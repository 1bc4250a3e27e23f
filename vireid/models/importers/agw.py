"""AGW as its authors released it (Ye et al., TPAMI 2021; code mangye16/Cross-Modal-Re-ID-baseline).

Its three modules hold a whole ResNet-50 each: of two only the stem runs, of the third only layers 1–4. The other parts
are known and left out.
"""

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from vireid.models.agw import AGW
from vireid.models.agw_config import AGWConfig
from vireid.models.importers.layout import Entry, Layout, renamed, unused, without_memory

# Parts that run: our name -> the released one. Below it both name their tensors alike.
_PARTS: dict[str, str] = {
    "embedder.visible": "visible_module.visible",
    "embedder.infrared": "thermal_module.thermal",
    "embedder.trunk.layers": "base_resnet.base",
    "embedder.trunk.nonlocals.layer2": "NL_2",
    "embedder.trunk.nonlocals.layer3": "NL_3",
    "embedder.neck": "bottleneck",
    "classifier": "classifier",
}


class AGWImporter:
    """State dicts of the released AGW (``net`` of its checkpoints)."""

    Config: ClassVar[type[AGWConfig]] = AGWConfig
    version: ClassVar[str] = "1"
    source: ClassVar[str] = "mangye16/Cross-Modal-Re-ID-baseline at e817a26"

    def config(self) -> AGWConfig:
        """The released network and its triplet."""
        return AGWConfig(triplet="released")

    def num_classes(self, state: Mapping[str, Tensor]) -> int | None:
        """Rows of the identity classifier."""
        weight = state.get("classifier.weight")
        return len(weight) if weight is not None and weight.dim() == 2 else None

    def layout(self, num_classes: int) -> Layout:
        """Every key of a released state dict; shapes come from our own modules, built without memory."""
        with without_memory():
            model = AGW(self.config(), num_classes)
        entries: dict[str, Entry] = {}
        for ours, theirs in _PARTS.items():
            entries |= renamed(model.get_submodule(ours), ours, theirs)
        layers = model.embedder.trunk.layers
        return (
            entries
            | unused(layers, "visible_module.visible", by_child=True)
            | unused(layers, "thermal_module.thermal", by_child=True)
            | unused(model.embedder.visible, "base_resnet.base", by_child=True)
        )
