"""AGW as its authors released it (Ye et al., TPAMI 2021; code mangye16/Cross-Modal-Re-ID-baseline).

Its three modules hold a whole ResNet-50 each: of two only the stem runs, of the third only layers 1–4. The other parts
are known and left out.
"""

from typing import ClassVar

from vireid.models.agw import AGWNetwork
from vireid.models.agw_config import AGWConfig, AGWNetworkConfig
from vireid.models.importers.load import Entry, Importer, unused


class AGWImporter(Importer):
    """State dicts of the released AGW (``net`` of its checkpoints)."""

    Config: ClassVar[type[AGWNetworkConfig]] = AGWConfig
    source = "mangye16/Cross-Modal-Re-ID-baseline at e817a26"
    classifiers = ("classifier.weight",)
    modules: ClassVar[dict[str, str]] = {
        "embedder.visible": "visible_module.visible",
        "embedder.infrared": "thermal_module.thermal",
        "embedder.trunk.layers": "base_resnet.base",
        "embedder.trunk.nonlocals.layer2": "NL_2",
        "embedder.trunk.nonlocals.layer3": "NL_3",
        "embedder.neck": "bottleneck",
        "classifier": "classifier",
    }

    def config(self) -> AGWNetworkConfig:
        """The released network and its triplet."""
        return AGWConfig(triplet="released")

    def unused(self, model: AGWNetwork) -> dict[str, Entry]:
        """Of two modules all but the stem, of the third the stem."""
        layers = model.embedder.trunk.layers
        return (
            unused(layers, "visible_module.visible", by_child=True)
            | unused(layers, "thermal_module.thermal", by_child=True)
            | unused(model.embedder.visible, "base_resnet.base", by_child=True)
        )
