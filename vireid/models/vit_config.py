"""Configuration of the vision transformer: its shape, its patches, and what trains it."""

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from vireid.models.base import ModelConfig
from vireid.models.trunk import TRUNK


class ViTConfig(ModelConfig):
    """Configuration of a vision transformer. Defaults are ViT-B/16 with the patches, rates and margin of PMT's code."""

    term_weights: ClassVar[dict[str, float]] = {"id": 1.0, "triplet": 1.0, "msel": 0.0, "dcl": 0.0}
    """``msel`` and ``dcl``, of PMT, are off unless weighted; its weight of either is 0.5."""
    identity_head: ClassVar[str | None] = "classifier"

    name: str = "vit"
    dim: int = Field(default=768, ge=1)
    """Width D of a token, and of the embedding."""
    depth: int = Field(default=12, ge=1)
    """Blocks."""
    heads: int = Field(default=12, ge=1)
    """Of every block's attention."""
    patch: int = Field(default=16, ge=1)
    """Side of a patch, pixels."""
    stride: int = Field(default=12, ge=1)
    """Pixels from one patch to the next; below ``patch`` they overlap (He et al., TransReID, ICCV 2021)."""
    image_size: tuple[int, int] = (256, 128)
    """Height and width, in pixels, of the images that position embeddings are learned for, one for each patch. Images
    of another size get them interpolated."""
    position_resize: Literal["bilinear", "bicubic"] = "bilinear"
    """How position embeddings are interpolated: bilinear as TransReID and PMT do it, bicubic as timm does."""
    dropout: float = Field(default=0.03, ge=0, lt=1)
    """After position embeddings, projections and both layers of every MLP."""
    drop_path: float = Field(default=0.1, ge=0, lt=1)
    """Share of images that skip a residual branch in the last block, growing linearly from 0 in the first (Huang et
    al., ECCV 2016)."""
    margin: float = Field(default=0.1, ge=0)
    """Of the triplet, un-normalised Euclidean."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Of the identity term."""
    trunk_lr_scale: float = Field(default=0.5, gt=0)
    """Of patch embedding and blocks; for ImageNet weights."""
    pretrained: Path | None = None
    """timm's ImageNet weights of a ViT of this shape."""

    @model_validator(mode="after")
    def _shape_is_possible(self) -> Self:
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} does not divide among {self.heads} heads: give a multiple of heads")
        if self.stride > self.patch:
            raise ValueError(
                f"stride {self.stride} exceeds patch {self.patch}, which leaves pixels between patches unseen: give a "
                f"stride of 1 to {self.patch}"
            )
        if min(self.image_size) < self.patch:
            height, width = self.image_size
            raise ValueError(f"image_size {height}×{width} is smaller than a patch of {self.patch}×{self.patch}")
        if self.pretrained == TRUNK:
            raise ValueError("pretrained=trunk: the suite's trunks are ResNets, not a vision transformer")
        return self

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of patches in an image of that many pixels; pixels beyond the last whole patch are unseen.

        256×128 in patches of 16 at stride 12 gives 21×10.
        """
        return (height - self.patch) // self.stride + 1, (width - self.patch) // self.stride + 1
