"""Which images of an evaluation are corrupted, and how: a value of the protocol card. No torch.

The benchmark (Chen et al., NeurIPS 2021 Datasets and Benchmarks, arXiv 2111.00880) draws a kind and a severity for
every image. Its numbers of SYSU-MM01 and RegDB are of corrupted visible images alone: the gallery of ``i2v`` and
``t2v``, the queries of ``v2i`` and ``v2t``.
"""

from typing import Any, Literal

from pydantic import Field

from vireid.core.config import Strict
from vireid.core.corruption import OF_COLOUR, SEVERITIES, VERSION, CorruptionName
from vireid.core.types import Modality
from vireid.evaluation.protocols import ProtocolConfig

Where = Literal["query", "gallery", "both"]


class Corruption(Strict):
    """One corruption of one severity for every image of one side or both, drawn by (seed, path of the image)."""

    where: Where
    """What is corrupted: the images that are ranked for, the images that are ranked, or both."""
    seed: int = Field(default=0, ge=0)
    """Of kinds, severities and all that they draw."""
    kind: CorruptionName | None = None
    """The same for every image; null draws one of the twenty, for infrared images one of the nineteen not of colour."""
    severity: int | None = Field(default=None, ge=min(SEVERITIES), le=max(SEVERITIES))
    """The same for every image; null draws 1 to 5."""

    def modalities(self, protocol: ProtocolConfig) -> tuple[Modality, ...]:
        """Which images these are under a protocol; where a side is of both modalities, all images are."""
        sides = (protocol.query_modality,), protocol.gallery_modalities
        query, gallery = reversed(sides) if protocol.swapped else sides
        return {"query": query, "gallery": gallery, "both": (*query, *gallery)}[self.where]

    def require_possible(self, protocol: ProtocolConfig) -> None:
        """Refuse what no image of a protocol can be given.

        Raises:
            ValueError: text, which is read beside images as they are; a change of colours, of infrared images; one side
                of a gallery that holds the query images too.
        """
        if protocol.text != "none":
            raise ValueError(f"corruption is of images alone; with text {protocol.text} set it to null")
        if protocol.spec.mixed and self.where != "both":
            raise ValueError(
                f"corruption with where={self.where}: the gallery of {protocol.name} holds query images too, and a "
                "corrupted image is so on both sides: use where=both"
            )
        if self.kind in OF_COLOUR and Modality.INFRARED in self.modalities(protocol):
            raise ValueError(
                f"corruption {self.kind} changes colours, and with where={self.where} infrared images, which have "
                "none, are corrupted: use another kind, or null for a draw"
            )

    @property
    def card_entry(self) -> dict[str, Any]:
        """As protocol cards name it."""
        drawn = {"kind": self.kind or "drawn", "severity": self.severity or "drawn"}
        return {"where": self.where, **drawn, "seed": self.seed, "version": VERSION}
