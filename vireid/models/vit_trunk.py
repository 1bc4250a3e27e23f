"""A vision transformer of timm (extra ``backbones``) with overlapping patches.

Dosovitskiy et al., ICLR 2021 (blocks, class token), as timm has them (Wightman,
github.com/huggingface/pytorch-image-models); He et al., TransReID, ICCV 2021 (overlapping patches).

Shape legend: B images, D width of a token, N = rows·columns patches.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vireid.core.errors import UserError, optional_module
from vireid.models.pretrained import SOURCE, faulty_keys, read_state
from vireid.models.resnet import match_memory
from vireid.models.vit_config import ViTConfig

_POSITIONS = "pos_embed"  # timm's name: 1×(1 + N)×D, the class token's first
_CLASSIFIER = "head."  # of timm's files


class OverlappingPatches(nn.Module):
    """One convolution with the stride of the patches, in the place of timm's, whose patches meet edge to edge."""

    def __init__(self, config: ViTConfig, embed_dim: int, **_: Any) -> None:
        """Args: configuration; width; and whatever else timm gives to its own, which the configuration says already."""
        super().__init__()
        rows, columns = config.grid(*config.image_size)
        self.num_patches = rows * columns
        self.proj = nn.Conv2d(3, embed_dim, config.patch, config.stride)

    def forward(self, images: Tensor) -> Tensor:
        """B×3×H×W → B×D×rows×columns."""
        result: Tensor = self.proj(match_memory(self, images))
        return result


class VisionAttention(nn.Module):
    """timm's attention, under its names, on tensors of four dimensions at most, as ncnn has them; timm's have five.

    Args:
        dim: width of a token.
        heads: each of dim ÷ heads channels.
        dropout: of the output.
    """

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, **_: Any) -> Tensor:
        """B×(1 + N)×D → the same, every token attending to every token; newer releases of timm name a mask, of None."""
        query, key, value = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in self.qkv(tokens).chunk(3, dim=2)
        )
        attended = nn.functional.scaled_dot_product_attention(query, key, value)
        result: Tensor = self.proj_drop(self.proj(attended.transpose(1, 2).flatten(2)))
        return result


class VisionTrunk(nn.Module):
    """From images to the class token after the last layer norm."""

    def __init__(self, config: ViTConfig) -> None:
        """Args: configuration.

        Raises:
            UserError: timm is not installed.
        """
        super().__init__()
        optional_module("timm", "backbones", "use a system with a ResNet, such as model=compact")
        from vireid.models.vit_timm import build

        self.config = config
        self.network: Any = build(config)

    def forward(self, images: Tensor) -> Tensor:
        """B×3×H×W → B×D."""
        network = self.network
        patches = network.patch_embed(images)
        rows, columns = patches.shape[2:]
        token = network.cls_token.expand(patches.shape[0], -1, -1)
        tokens = torch.cat([token, patches.flatten(2).transpose(1, 2)], dim=1)
        tokens = network.pos_drop(tokens + self.positions(rows, columns))
        result: Tensor = network.norm(network.blocks(tokens))[:, 0]
        return result

    def positions(self, rows: int, columns: int) -> Tensor:
        """Position embeddings of class token and patches (1×(1 + N)×D): as learned, or interpolated to another grid."""
        learned: Tensor = self.network.pos_embed
        grid = self.config.grid(*self.config.image_size)
        if (rows, columns) == grid:
            return learned
        return resize_positions(learned, grid, (rows, columns), self.config.position_resize)

    def last_parameters(self) -> list[nn.Parameter]:
        """Those of the last block and the layer norm after it."""
        return [*self.network.blocks[-1].parameters(), *self.network.norm.parameters()]

    def load(self, path: Path) -> None:
        """Load timm's weights strictly, but for the file's classifier; position embeddings are brought to this grid.

        Their number says of which grid they are: this one's, else a square, as of the square images of ImageNet.

        Raises:
            UserError: unreadable file; keys missing, unknown or of another shape; positions of no square grid.
        """
        state = {key: value for key, value in read_state(path, SOURCE).items() if not key.startswith(_CLASSIFIER)}
        expected = self.network.state_dict()
        if _POSITIONS in state:
            state[_POSITIONS] = self._on_this_grid(path, state[_POSITIONS])
        faults = {
            "missing": [key for key in expected if key not in state],
            "unknown": [key for key in state if key not in expected],
            "of another shape": [key for key in state if key in expected and state[key].shape != expected[key].shape],
        }
        if problems := faulty_keys(faults):
            raise UserError(
                f"{SOURCE} {path}: keys {' and '.join(problems)}; dim, depth, heads and patch must be the file's, a "
                "ViT of timm with a class token, such as vit_base_patch16_224"
            )
        self.network.load_state_dict(state)

    def _on_this_grid(self, path: Path, positions: Tensor) -> Tensor:
        grid = self.config.grid(*self.config.image_size)
        count = positions.shape[1] - 1 if positions.dim() == 3 else 0
        if count == grid[0] * grid[1]:
            return positions
        side = round(count**0.5)
        if count < 1 or side * side != count:
            raise UserError(
                f"{SOURCE} {path}: {_POSITIONS} of shape {tuple(positions.shape)} is neither of this model's grid of "
                f"{grid[0]}×{grid[1]} patches and a class token nor of a square one; give timm's file of a ViT with "
                "one class token and square images"
            )
        return resize_positions(positions, (side, side), grid, self.config.position_resize)


def resize_positions(positions: Tensor, old: tuple[int, int], new: tuple[int, int], mode: str) -> Tensor:
    """Interpolate the patches' position embeddings between grids; the class token's stays.

    Args:
        positions: 1×(1 + rows·columns)×D of the old grid, the class token's first.
        old: rows, columns.
        new: rows, columns.
        mode: ``bilinear`` or ``bicubic``, corners not aligned, no smoothing before making smaller.

    Returns:
        1×(1 + rows·columns)×D of the new grid.
    """
    token, patches = positions[:, :1], positions[:, 1:]
    grid = patches.transpose(1, 2).reshape(1, -1, *old)
    grid = nn.functional.interpolate(grid, size=new, mode=mode, align_corners=False)
    return torch.cat([token, grid.flatten(2).transpose(1, 2)], dim=1)
