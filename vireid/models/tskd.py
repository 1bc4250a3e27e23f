"""TSKD: two-stage knowledge distillation by self-mimic and mutual distillation (Pattern Recognition 169, 2026).

No code is released. What the paper leaves open follows public code of the same author (shijiangming1/MMM), where it
has the same two losses, and is a field of the configuration. The stages are those of the recipe: stage I without the
term ``mutual``, stage II with it, nothing frozen.
"""

from collections.abc import Iterable, Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn

from vireid.core.errors import UserError
from vireid.core.types import Batch, ModelOutput
from vireid.losses.identity import cross_entropy
from vireid.losses.mmd import mutual_distillation
from vireid.losses.numeric import euclidean
from vireid.losses.pairs import pair_rows
from vireid.losses.self_mimic import self_mimic
from vireid.losses.triplet import batch_hard_triplet
from vireid.models.agw import AGWNetwork
from vireid.models.tskd_config import VIEWS, TSKDConfig


class Prototypes(nn.Module):
    """Means of G groups × C classes × D dimensions, and which of them exist."""

    means: Tensor
    known: Tensor

    def __init__(self, groups: int, classes: int, features: int) -> None:
        super().__init__()
        self.register_buffer("means", torch.zeros(groups, classes, features))
        self.register_buffer("known", torch.zeros(groups, classes, dtype=torch.bool))

    @torch.no_grad()
    def update(self, rows: Iterable[tuple[Tensor, Tensor, Tensor]]) -> None:
        """Replace the means by those over ``rows``: pieces of features (n×D), labels (n) and groups (n).

        A class that has no row in a group keeps what it had there.
        """
        groups, classes, features = self.means.shape
        sums = torch.zeros_like(self.means).view(groups * classes, features)
        counts = torch.zeros(groups * classes, device=self.means.device)
        for feature, label, group in rows:
            slot = group * classes + label
            sums.index_add_(0, slot, feature.to(sums.dtype))
            counts.index_add_(0, slot, torch.ones_like(label, dtype=counts.dtype))
        seen = counts > 0
        means = (sums / counts.clamp(min=1)[:, None]).view_as(self.means)
        self.means.copy_(torch.where(seen.view(groups, classes, 1), means, self.means))
        self.known.logical_or_(seen.view(groups, classes))


class TSKD(AGWNetwork):
    """The AGW network trained on two views of every visible image, with prototypes per identity, modality and view."""

    Config: ClassVar[type[TSKDConfig]] = TSKDConfig

    def __init__(self, config: TSKDConfig, num_classes: int) -> None:
        super().__init__(config, num_classes)
        self.prototypes: Prototypes | None = None
        if "self_mimic" in config.active_weights():
            self.prototypes = Prototypes(VIEWS + 1, num_classes, config.trunk.features)

    def loss_terms(self, output: ModelOutput, batch: Batch) -> dict[str, Tensor]:
        """Unweighted terms; ``self_mimic`` is 0 until there are prototypes.

        Raises:
            UserError: a view is missing, or the rows of an identity do not pair up across modalities.
        """
        config, z, labels = self.config, output.features["pooled"], batch.labels
        terms: dict[str, Tensor] = {}
        with torch.autocast(device_type=labels.device.type, enabled=False):
            for name in config.active_weights():
                if name == "id":
                    terms[name] = cross_entropy(output.logits["id"], labels, config.label_smoothing)
                elif name == "triplet":
                    terms[name] = batch_hard_triplet(euclidean(z), labels, config.margin)
                elif name == "self_mimic" and self.prototypes is not None:
                    state = self.prototypes
                    terms[name] = self_mimic(z, labels, _groups(batch), state.means, state.known)
                elif name == "mutual":
                    terms[name] = self._mutual(z, batch)
        return terms

    def after_epoch(self, batches: Iterable[Batch]) -> None:
        """Compute the prototypes anew from the epoch's batches; called without gradients."""
        if self.prototypes is None:
            return
        modes = [(part, part.training) for part in self.modules()]
        if self.config.prototype_mode == "eval":
            self.eval()
        self.prototypes.update(self._rows(batches))
        for part, training in modes:
            part.training = training

    def _rows(self, batches: Iterable[Batch]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for batch in batches:
            yield self.embedder(batch.images, batch.infrared)[0], batch.labels, _groups(batch)

    def _mutual(self, z: Tensor, batch: Batch) -> Tensor:
        groups, losses = _groups(batch), []
        for view in range(VIEWS):
            rows = ((groups == view) | batch.infrared).nonzero()[:, 0]
            pairs = pair_rows(batch.labels.index_select(0, rows), batch.infrared.index_select(0, rows))
            aligned = pairs.align(z.index_select(0, rows))
            visible, infrared = aligned.view(2, -1, pairs.per_identity, z.shape[1]).unbind()  # P×K/2×D each
            losses.append(mutual_distillation(visible, infrared))
        stacked = torch.stack(losses)
        return stacked.sum() if self.config.mutual_views == "sum" else stacked.mean()


def _groups(batch: Batch) -> Tensor:
    """Group of each row (B): the view of a visible row, VIEWS of an infrared row."""
    groups = torch.where(batch.infrared, VIEWS, batch.view)
    present = torch.bincount(groups, minlength=VIEWS + 1)
    if len(present) > VIEWS + 1 or not bool(present[:VIEWS].all()):
        raise UserError(
            f"model tskd: a training batch needs {VIEWS} augmented views of its visible images, this one has "
            f"{int(batch.view.max()) + 1}: use augmentation=tskd, or another with visible_views={VIEWS}"
        )
    return groups
