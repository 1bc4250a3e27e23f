"""DEEN as its authors released it (Zhang and Wang, CVPR 2023; code ZYK100/LLCM), for SYSU-MM01 and LLCM, and for RegDB.

Its three modules hold a whole ResNet-50 each: of two only the stem runs, of the third only layers 1–4. The other parts
are known and left out.
"""

from typing import ClassVar

from torch import nn

from vireid.models.deen import DEEN
from vireid.models.deen_config import DEENConfig
from vireid.models.importers.load import Entry, Importer, unused
from vireid.models.resnet import residual_layer


class DEENImporter(Importer):
    """State dicts of the released DEEN (``net`` of its checkpoints)."""

    Config = DEENConfig
    source = "ZYK100/LLCM, DEEN"
    classifiers = ("classifier.weight",)
    modules: ClassVar[dict[str, str]] = {
        "embedder.visible": "visible_module.visible",
        "embedder.infrared": "thermal_module.thermal",
        "embedder.shared.trunk.layers": "base_resnet.base",
        "embedder.shared.trunk.aggregations.layer1": "MFA1",
        "embedder.shared.trunk.aggregations.layer2": "MFA2",
        "embedder.shared.trunk.aggregations.layer3": "MFA3",
        "embedder.shared.trunk.expansion": "DEE",
        "embedder.shared.neck": "bottleneck",
        "classifier": "classifier",
    }

    def config(self) -> DEENConfig:
        """The released network, its position step included."""
        return DEENConfig(position_step="released")

    def unused(self, model: DEEN) -> dict[str, Entry]:
        """Of two modules all but the stem, of the third the stem and the layers that the network leaves out."""
        spec, run = model.config.trunk, model.config.layers
        layers = {f"layer{n}": residual_layer(spec, n) for n in (1, 2, 3, 4)}
        left_out = {name: layer for name, layer in layers.items() if int(name[-1]) > run}
        return (
            unused(nn.ModuleDict(layers), "visible_module.visible", by_child=True)
            | unused(nn.ModuleDict(layers), "thermal_module.thermal", by_child=True)
            | unused(model.embedder.visible, "base_resnet.base", by_child=True)
            | unused(nn.ModuleDict(left_out), "base_resnet.base", by_child=True)
        )


class DEENRegDBImporter(DEENImporter):
    """State dicts of the released DEEN for RegDB: without MFA 3, layer 4 there and not run."""

    modules: ClassVar[dict[str, str]] = {
        ours: theirs for ours, theirs in DEENImporter.modules.items() if theirs != "MFA3"
    }

    def config(self) -> DEENConfig:
        """The released network for RegDB, its position step included."""
        return DEENConfig(layers=3, position_step="released")
