"""Shape of a ResNet trunk: what decides it, without the network. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Depth = Literal["resnet18", "resnet34", "resnet50"]
IBNKind = Literal["none", "a", "b", "fork"]

BLOCKS: dict[str, tuple[int, int, int, int]] = {
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
}


@dataclass(frozen=True, slots=True)
class TrunkSpec:
    """Shape of a ResNet. ``width`` scales every channel count; ``last_stride`` is the stride of layer 4."""

    depth: Depth
    width: float
    last_stride: int
    ibn: IBNKind

    @property
    def expansion(self) -> int:
        """Output channels of a block per inner channel."""
        return 4 if self.depth == "resnet50" else 1

    def planes(self, layer: int) -> int:
        """Inner channels of the blocks of a layer (1…4)."""
        return round(64 * self.width) << (layer - 1)

    @property
    def features(self) -> int:
        """Channels of the final map: the feature width D."""
        return self.planes(4) * self.expansion
