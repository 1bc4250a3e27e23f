"""AGW-type network (Ye et al., TPAMI 2021): a stem per modality, shared residual layers, one pooling and BNNeck."""

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn

from vireid.core.types import Modality
from vireid.models.resnet import initialise, match_memory, residual_layer
from vireid.models.trunk import TrunkSpec


class NonLocal(nn.Module):
    """x + BN(W·y), y = θ(x)ᵀφ(x)·g(x) / N over the N positions; BN starts at 0, so the block starts as the identity.

    Parameter names are those of AGW's public code. Without a softmax the product is associative: φ·gᵀ (w×w) is formed
    first, and the N×N affinities never exist.

    Args:
        channels: of the map.
        width: channels w of θ, φ and g. AGW's code has 1 (``reduc_ratio//reduc_ratio``); the non-local paper has half.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(norm.weight)
        self.g = nn.Sequential(nn.Conv2d(channels, width, 1))
        self.W = nn.Sequential(nn.Conv2d(width, channels, 1), norm)
        self.theta = nn.Conv2d(channels, width, 1)
        self.phi = nn.Conv2d(channels, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """B×C×H×W → the same."""
        theta, phi, g = (part(x).flatten(2) for part in (self.theta, self.phi, self.g))  # B×w×N each
        # B×w×w; divided before the sum, so that half precision does not overflow.
        mixing = g @ (phi / phi.shape[2]).transpose(1, 2)
        y: Tensor = self.W((mixing @ theta).view(len(x), -1, *x.shape[2:]))
        return y + x


class ModalityStem(nn.Module):
    """conv1, bn1, ReLU and max-pooling, for the images of one modality (stride 4).

    Args:
        spec: shape of the trunk.
        relu: whether the activation is there.
    """

    def __init__(self, spec: TrunkSpec, relu: bool = True) -> None:
        super().__init__()
        channels = spec.planes(1)
        self.conv1 = nn.Conv2d(3, channels, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True) if relu else nn.Identity()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """B×3×H×W → B×C₁×H/4×W/4."""
        result: Tensor = self.maxpool(self.relu(self.bn1(self.conv1(match_memory(self, images)))))
        return result


class SharedTrunk(nn.Module):
    """Layers 1–4, with non-local blocks after the last blocks of each layer.

    Args:
        spec: shape of the trunk.
        nonlocal_blocks: how many of layers 1, 2, 3, 4.
        nonlocal_width: their inner channels; None for half of the layer's.
    """

    def __init__(
        self, spec: TrunkSpec, nonlocal_blocks: tuple[int, ...] = (0, 0, 0, 0), nonlocal_width: int | None = 1
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({f"layer{n}": residual_layer(spec, n) for n in (1, 2, 3, 4)})
        initialise(self)
        self.nonlocals = nn.ModuleDict()
        for n, count in enumerate(nonlocal_blocks, start=1):
            channels = spec.planes(n) * spec.expansion
            blocks = [NonLocal(channels, nonlocal_width or channels // 2) for _ in range(count)]
            self.nonlocals[f"layer{n}"] = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> Tensor:
        """B×C₁×h×w → B×D×h'×w'."""
        for name, layer in self.layers.items():
            extra: list[nn.Module] = list(self.nonlocals[name].children())
            plain = len(list(layer.children())) - len(extra)
            for position, block in enumerate(layer.children()):
                x = block(x)
                if position >= plain:
                    x = extra[position - plain](x)
        return x


class ModalityPath(nn.Module):
    """What is deployed for one modality: its stem and everything shared."""

    def __init__(self, stem: nn.Module, trunk: nn.Module, pool: nn.Module, neck: nn.BatchNorm1d) -> None:
        super().__init__()
        self.stem, self.trunk, self.pool, self.neck = stem, trunk, pool, neck

    def forward(self, images: Tensor) -> Tensor:
        """B×3×H×W → B×D, after the neck and not L2-normalised."""
        pooled = self.pool(self.trunk(self.stem(images)))
        result: Tensor = self.neck(pooled.to(self.neck.weight.dtype))
        return result


def through_stems(
    visible: nn.Module, infrared: nn.Module, rest: Callable[[Tensor], Tensor], images: Tensor, is_infrared: Tensor
) -> Tensor:
    """Each row of ``images`` through the stem of its modality, then all rows together, in their order."""
    order = torch.argsort(is_infrared.to(torch.int8), stable=True)  # visible rows first
    count = len(is_infrared) - int(is_infrared.sum())
    routed = zip((visible, infrared), (order[:count], order[count:]), strict=True)
    maps = [stem(images.index_select(0, rows)) for stem, rows in routed if len(rows)]
    return rest(torch.cat(maps)).index_select(0, torch.argsort(order))


class TwoStream(nn.Module):
    """Images of both modalities to features.

    Args:
        spec: shape of the trunk.
        trunk: shared layers.
        pool: B×D×h×w → B×D.
        neck: normalisation of the pooled feature.
        stem_relu: whether the stems have their activation.
    """

    def __init__(
        self, spec: TrunkSpec, trunk: SharedTrunk, pool: nn.Module, neck: nn.BatchNorm1d, *, stem_relu: bool = True
    ) -> None:
        super().__init__()
        self.visible = ModalityStem(spec, stem_relu)
        self.infrared = ModalityStem(spec, stem_relu)
        self.trunk, self.pool, self.neck = trunk, pool, neck

    def forward(self, images: Tensor, infrared: Tensor) -> tuple[Tensor, Tensor]:
        """Each row through its modality's stem, then all rows together.

        Args:
            images: B×3×H×W.
            infrared: B, bool; the other rows are visible.

        Returns:
            Pooled features and the same after the neck, B×D each, in the order of ``images``.
        """
        pooled = through_stems(self.visible, self.infrared, self._rest, images, infrared)
        return pooled, self.neck(pooled.to(self.neck.weight.dtype))

    def _rest(self, maps: Tensor) -> Tensor:
        pooled: Tensor = self.pool(self.trunk(maps))
        return pooled

    def path(self, modality: Modality) -> ModalityPath:
        """Independent copy of one modality's path, in evaluation mode."""
        stem = self.infrared if modality is Modality.INFRARED else self.visible
        return deepcopy(ModalityPath(stem, self.trunk, self.pool, self.neck)).eval()
