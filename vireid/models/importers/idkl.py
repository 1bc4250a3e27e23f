"""IDKL as its authors released it (Ren & Zhang, CVPR 2024, arXiv 2403.11708; code 1KK077/IDKL).

Its three trunk modules hold a whole ResNet-50 each, of which the first runs up to layer 2 and the other two layers 3
and 4; a further attention block is never called. These parts are known and left out.
"""

from typing import ClassVar

from vireid.models.idkl import IDKL
from vireid.models.idkl_config import IDKLConfig
from vireid.models.importers.load import Entry, Importer, unused
from vireid.models.resnet import Branch, Stem

_COMMON = "backbone.shared_module_fr.model_sh_fr"
_SHARED = "backbone.shared_module_bh.model_sh_bh"
_SPECIFIC = "backbone.special.special_module"

# Layers of a discriminator: position in ours -> released name.
_DISCRIMINATOR = {0: "fc1", 1: "bn1", 4: "fc2", 5: "bn2", 8: "fc3"}
_DISCRIMINATORS = {"heads.modality": "D_special", "heads.pseudo_modality": "D_shared_pseu"}


class IDKLImporter(Importer):
    """State dicts of the released IDKL."""

    Config = IDKLConfig
    source = "1KK077/IDKL at 8676b62"
    classifiers = ("classifier.weight", "classifier_sp.weight", "C_sp_f.weight")
    modules: ClassVar[dict[str, str]] = {
        "embedder.stem": _COMMON,
        "embedder.branch": _SHARED,
        "embedder.neck": "bn_neck",
        "specific.branch": _SPECIFIC,
        "specific.purifier.norm": "backbone.IN",
        "specific.purifier.mask_normed": "backbone.mask1.channel_attention",
        "specific.purifier.mask": "backbone.mask2.channel_attention",
        "necks.specific": "bn_neck_sp",
        "heads.shared": "classifier",
        "heads.specific": "classifier_sp",
        "heads.purifier": "C_sp_f",
        **{
            f"{ours}.{position}": f"{theirs}.{name}"
            for ours, theirs in _DISCRIMINATORS.items()
            for position, name in _DISCRIMINATOR.items()
        },
    }

    def config(self) -> IDKLConfig:
        """The released network and training terms; the weights of the terms are those at a batch of 120."""
        return IDKLConfig(pseudo_labels="released", classifier_init="uniform")

    def unused(self, model: IDKL) -> dict[str, Entry]:
        """The parts of the three trunks that do not run, and the attention block that is never called."""
        trunk = self.config().trunk
        stem, branch = Stem(trunk), Branch(trunk)
        return (
            unused(branch, _COMMON, by_child=True)
            | unused(stem, _SHARED, by_child=True)
            | unused(stem, _SPECIFIC, by_child=True)
            | unused(model.get_submodule("specific.purifier.mask"), "backbone.special_att.channel_attention")
        )


class IDKLForkImporter(IDKLImporter):
    """State dicts of the fork: IDKL's parts and the attention."""

    source = "quocnhut134/IDKL at 7036b9e"
    modules: ClassVar[dict[str, str]] = IDKLImporter.modules | {"fork_attention.projection": "cross_attn"}

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
