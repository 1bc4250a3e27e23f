"""timm's vision transformer with the suite's patches and attention; the one module of the models that imports timm."""

from functools import partial
from typing import Any

from timm.models.vision_transformer import Block, VisionTransformer

from vireid.models.vit_config import ViTConfig
from vireid.models.vit_trunk import OverlappingPatches, VisionAttention


class VisionBlock(Block):
    """timm's block: attention and MLP, each behind a layer norm and beside a residual path."""

    recomputable = True  # may run again in backward instead of keeping its activations

    def __init__(self, dim: int, num_heads: int, **settings: Any) -> None:
        """Args: as timm names them."""
        super().__init__(dim, num_heads, **settings)
        self.attn = VisionAttention(dim, num_heads, settings["proj_drop"])


def build(config: ViTConfig) -> VisionTransformer:
    """The network with random weights, without a classifier."""
    return VisionTransformer(
        img_size=config.image_size,
        patch_size=config.patch,
        embed_dim=config.dim,
        depth=config.depth,
        num_heads=config.heads,
        num_classes=0,
        pos_drop_rate=config.dropout,
        proj_drop_rate=config.dropout,
        drop_path_rate=config.drop_path,
        embed_layer=partial(OverlappingPatches, config),
        block_fn=VisionBlock,
    )
