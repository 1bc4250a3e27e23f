"""CAJ: channel augmented joint learning (Ye et al., ICCV 2021), and CAJ+ (Ye et al., TPAMI 2023).

AGW's network; what is CAJ's own is the second view of every visible image, all of whose channels are one of its three
(``augmentation=caj``), and the squared triplet. The released code also has a Kullback–Leibler term between the logits
of view 1 and infrared, at weight 0: it decides nothing and is left out.
"""

from typing import ClassVar

import torch
from torch import Tensor

from vireid.core.errors import UserError
from vireid.core.types import Batch, ModelOutput
from vireid.losses.identity import cross_entropy
from vireid.losses.numeric import euclidean
from vireid.losses.soft_target import soft_cross_entropy
from vireid.losses.squared_weighted_triplet import squared_weighted_triplet
from vireid.models.agw import AGWNetwork
from vireid.models.caj_config import VIEWS, CAJConfig


class CAJ(AGWNetwork):
    """The AGW network trained on two views of every visible image, over the rows of both views and of infrared."""

    Config: ClassVar[type[CAJConfig]] = CAJConfig

    def loss_terms(self, output: ModelOutput, batch: Batch) -> dict[str, Tensor]:
        """Unweighted terms; the features of the triplet are those before the neck, not normalised.

        Raises:
            UserError: a view is missing, or the views of ``agreement`` are not of the same images.
        """
        config, labels = self.config, batch.labels
        views = _views(batch)
        terms: dict[str, Tensor] = {}
        with torch.autocast(device_type=labels.device.type, enabled=False):
            for name in config.active_weights():
                if name == "id":
                    terms[name] = cross_entropy(output.logits["id"], labels, config.label_smoothing)
                elif name == "triplet":
                    distances = euclidean(output.features["pooled"])
                    terms[name] = squared_weighted_triplet(distances, labels, released=config.triplet == "released")
                else:
                    first, second = (output.logits["id"].index_select(0, rows) for rows in views)
                    terms[name] = soft_cross_entropy(second, first)
        return terms


def _views(batch: Batch) -> tuple[Tensor, Tensor]:
    """Rows of the first and of the second view of the visible images, image by image."""
    first, second = ((batch.visible & (batch.view == view)).nonzero()[:, 0] for view in range(VIEWS))
    if len(first) != len(second) or not torch.equal(batch.labels[first], batch.labels[second]):
        raise UserError(
            f"model caj: a training batch needs {VIEWS} augmented views of its visible images, this one has "
            f"{int(batch.view.max()) + 1}: use augmentation=caj, or another with visible_views={VIEWS}"
        )
    return first, second
