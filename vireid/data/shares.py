"""A process's share of every training batch, where several train one fit: whole identities, so that rows pair up."""

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from vireid.core.types import IntArray
from vireid.data.augmentation import Augmentation, Augmented, Key
from vireid.data.loader import IdentitySampler, TrainingLoader


@dataclass(frozen=True, slots=True)
class Share:
    """One of ``count`` equal parts, numbered from 0."""

    index: int = 0
    count: int = 1


WHOLE = Share()


class SharedSampler(IdentitySampler):
    """The rows of some of a batch's identities: those of one process.

    Args:
        sampler: of the batches of all processes.
        share: which of the P identities; ``count`` divides P.
    """

    def __init__(self, sampler: IdentitySampler, share: Share) -> None:
        if sampler.identities % share.count:
            raise ValueError(f"{sampler.identities} identities cannot be shared out among {share.count} processes")
        vars(self).update(vars(sampler))
        self._sampler, self._share = sampler, share
        self.identities = sampler.identities // share.count
        self.batch_size = sampler.batch_size // share.count

    def rows(self, epoch: int, step: int) -> IntArray:
        """Positions (B/count) of the process's images of one batch, in the batch's order."""
        rows: IntArray = self._sampler.rows(epoch, step).reshape(self._share.count, -1)[self._share.index]
        return rows


class OwnDraws:
    """An augmentation that draws for a share of a batch by a key of its own."""

    version: ClassVar[str] = "1"

    def __init__(self, augmentation: Augmentation, share: Share) -> None:
        self._augmentation, self._share = augmentation, share

    def __call__(self, images: Tensor, modality: Tensor, key: Key, strength: float = 1.0) -> Augmented:
        """As ``Augmentation``."""
        own = (*key, "process", self._share.index) if self._share.index else key
        return self._augmentation(images, modality, own, strength)


def shared(loader: TrainingLoader, share: Share) -> TrainingLoader:
    """The same batches, of each one the share."""
    if share.count == 1:
        return loader
    return replace(
        loader, sampler=SharedSampler(loader.sampler, share), augmentation=OwnDraws(loader.augmentation, share)
    )
