"""TVI-LFM as its authors released it (Hu et al., NeurIPS 2024; code WHU-HZY/TVI-LFM), in its two stages.

Both stages save the same object, bare: two stems, shared layers and GeM; CLIP's text tower under CLIP's own names;
batch norm and classifier; and a temperature that nothing reads. The second stage, which trains with text, also keeps a
copy of the base network's GeM, batch norm and classifier: the public test ranks infrared images alone with that copy,
which is the base network, and everything with text with the trained batch norm, as here. The copy is known and left
out.
"""

from typing import ClassVar

from vireid.models.importers.load import Entry, Importer, unused
from vireid.models.text import TextEncoder, TowerShape
from vireid.models.tvi_lfm import TVILFM
from vireid.models.tvi_lfm_config import TVILFMConfig

_VISUAL = "base_model.visual"
_STEMS = {"visual.visible": f"{_VISUAL}.rgb_model.resnet_conv", "visual.infrared": f"{_VISUAL}.ir_model.resnet_conv"}
_TEMPERATURE = {"logit_scale": Entry((), part="logit_scale")}
_TOWER = "base_model"  # whose own tensors, beside the visual part, are CLIP's text tower
_EXPONENT = (1,)  # shape of a GeM's exponent there; one number here


class TVILFMBaseImporter(Importer):
    """State dicts of the base network (``VI_sysu_BASE.pth`` and those of ``--training_mode RGB_IR``)."""

    Config = TVILFMConfig
    source = "WHU-HZY/TVI-LFM at 6827421"
    classifiers = ("classifier.classifier.weight",)
    modules: ClassVar[dict[str, str]] = {
        **{f"{ours}.conv1": f"{theirs}.0" for ours, theirs in _STEMS.items()},
        **{f"{ours}.bn1": f"{theirs}.1" for ours, theirs in _STEMS.items()},
        **{f"visual.trunk.layers.layer{n}": f"{_VISUAL}.shared_model.resnet_conv.{n - 1}" for n in (1, 2, 3, 4)},
        "neck": "classifier.BN",
        "classifier": "classifier.classifier",
    }

    def config(self) -> TVILFMConfig:
        """The base network with the released triplet."""
        return TVILFMConfig(fusion="none", joint=False, retrieval="fused", triplet="released")

    def layout(self, num_classes: int) -> dict[str, Entry]:
        """Every key of the public state dict; GeM's exponent is a vector of one there."""
        exponent = {f"{_VISUAL}.GEM.p": Entry(_EXPONENT, "visual.pool.p")}
        return {**super().layout(num_classes), **exponent, **_TEMPERATURE}

    def unused(self, model: TVILFM) -> dict[str, Entry]:
        """The text tower, which this stage does not run."""
        encoder = TextEncoder(TowerShape(), model.neck.num_features)
        return unused(encoder.tower.text, _TOWER)


class TVILFMImporter(TVILFMBaseImporter):
    """State dicts of the second stage, trained with ``--Fix_Visual`` on a base network, as the public scripts do."""

    modules: ClassVar[dict[str, str]] = {**TVILFMBaseImporter.modules, "text.tower.text": _TOWER}

    def config(self) -> TVILFMConfig:
        """Fusion by ``--Feat_Filter``, joint learning by ``--joint_mode uni``, retrieval by ``--CAT_EVAL``."""
        return TVILFMConfig(triplet="released")

    def unused(self, model: TVILFM) -> dict[str, Entry]:
        """The copy of the base network's GeM, batch norm and classifier."""
        return {
            "backup_pool.p": Entry(_EXPONENT, part="backup_pool"),
            **unused(model.neck, "backup_classifier.BN"),
            **unused(model.classifier, "backup_classifier.classifier"),
        }
