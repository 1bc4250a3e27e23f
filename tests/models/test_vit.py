"""The vision transformer: patches, positions, published weights, and what its cost is made of."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vireid.core.config import parse
from vireid.core.errors import UserError
from vireid.core.types import Modality
from vireid.models.vit import ViT
from vireid.models.vit_config import ViTConfig
from vireid.models.vit_trunk import resize_positions
from vireid.overrides import compose
from vireid.profiling.complexity import complexity
from vireid.training.schedules import lr_factor

TIMM = "a vision transformer needs the extra: make install EXTRAS=backbones"
SMALL: dict[str, Any] = {"dim": 48, "depth": 2, "heads": 3, "image_size": (64, 32), "dropout": 0.0, "drop_path": 0.0}
IMAGES = torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(0))


def built(**settings: Any) -> Any:
    pytest.importorskip("timm", reason=TIMM)
    torch.manual_seed(0)
    return ViT(ViTConfig(**{**SMALL, **settings}), 5).eval()


def timms(**settings: Any) -> Any:
    """timm's own network of the same shape."""
    timm = pytest.importorskip("timm", reason=TIMM)
    torch.manual_seed(1)
    shape = {"embed_dim": 48, "depth": 2, "num_heads": 3, "img_size": (64, 32), "num_classes": 9, **settings}
    network = timm.models.vision_transformer.VisionTransformer(**shape)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network.eval()


def saved(network: nn.Module, folder: Path) -> Path:
    file = folder / "vit.pth"
    torch.save(network.state_dict(), file)
    return file


@pytest.mark.parametrize(
    ("size", "patch", "stride", "grid"),
    [
        ((256, 128), 16, 12, (21, 10)),
        ((256, 128), 16, 16, (16, 8)),
        ((96, 48), 8, 6, (15, 7)),
        ((16, 16), 16, 12, (1, 1)),
    ],
)
def test_overlapping_patches_are_as_many_as_fit(
    size: tuple[int, int], patch: int, stride: int, grid: tuple[int, int]
) -> None:
    config = ViTConfig(patch=patch, stride=stride, image_size=size)
    starts = [sum(1 for start in range(0, pixels, stride) if start + patch <= pixels) for pixels in size]
    assert config.grid(*size) == tuple(starts) == grid
    trunk = built(patch=patch, stride=stride, image_size=size).embedder.trunk
    assert trunk.network.patch_embed(torch.zeros(1, 3, *size)).shape == (1, 48, *grid)
    assert trunk.network.pos_embed.shape == (1, 1 + grid[0] * grid[1], 48)


def test_the_full_size_has_210_patches() -> None:
    config = compose(["model=vit"], "test").model
    assert isinstance(config, ViTConfig)
    rows, columns = config.grid(*config.image_size)
    assert (rows, columns, rows * columns) == (21, 10, 210)
    assert config.model_copy(update={"weights": {}}) == ViTConfig()
    assert config.active_weights() == {"id": 2.0, "triplet": 1.0}


def test_without_overlap_it_computes_what_timm_computes_from_the_same_file(tmp_path: Path) -> None:
    public = timms()
    model = built(stride=16, pretrained=saved(public, tmp_path))
    with torch.no_grad():
        assert torch.allclose(model.embedder.both(IMAGES)[0], public.forward_features(IMAGES)[:, 0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_position_embeddings_of_a_square_are_resized_to_the_patches(mode: str, tmp_path: Path) -> None:
    public = timms(img_size=224)  # 14×14 patches
    model = built(position_resize=mode, pretrained=saved(public, tmp_path))
    positions = public.pos_embed[0]
    square = torch.empty(1, 48, 14, 14)
    for row in range(14):
        for column in range(14):
            square[0, :, row, column] = positions[1 + 14 * row + column]
    resized = nn.functional.interpolate(square, size=(5, 2), mode=mode)
    loaded = model.embedder.trunk.network.pos_embed[0]
    assert torch.equal(loaded[0], positions[0]), "the class token's stays"
    for row in range(5):
        for column in range(2):
            assert torch.allclose(loaded[1 + 2 * row + column], resized[0, :, row, column], rtol=0, atol=1e-6)
    for name, value in public.state_dict().items():
        if not name.startswith(("head.", "pos_embed")):
            assert torch.equal(model.embedder.trunk.network.state_dict()[name], value), name


def test_bilinear_resizing_by_hand() -> None:
    """Two patches in a column become three: the middle one lies half-way, the others on the outermost."""
    positions = torch.tensor([[[9.0], [0.0], [6.0]]])
    assert resize_positions(positions, (2, 1), (3, 1), "bilinear")[0, :, 0].tolist() == pytest.approx([9, 0, 3, 6])
    assert torch.equal(resize_positions(positions, (2, 1), (2, 1), "bilinear"), positions)


def test_images_of_another_size_get_interpolated_positions() -> None:
    model = built()
    larger = nn.functional.interpolate(IMAGES, size=(96, 48), mode="bilinear")
    with torch.no_grad():
        assert model.embedder(larger).shape == (2, 48)
        seen = model.embedder.trunk.positions(7, 3)
    learned = model.embedder.trunk.network.pos_embed
    assert seen.shape == (1, 22, 48)
    assert torch.equal(seen[:, 0], learned[:, 0])
    grid = learned[:, 1:].reshape(1, 5, 2, 48).permute(0, 3, 1, 2)
    expected = nn.functional.interpolate(grid, size=(7, 3), mode="bilinear").permute(0, 2, 3, 1).reshape(21, 48)
    assert torch.allclose(seen[0, 1:], expected, rtol=0, atol=1e-6)


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    state = timms(img_size=224).state_dict()
    cases: list[tuple[dict[str, Tensor], str]] = [
        ({**state, "norm.extra": torch.zeros(1)}, r"1 unknown \(norm\.extra\)"),
        ({key: value for key, value in state.items() if key != "cls_token"}, r"1 missing \(cls_token\)"),
        ({**state, "patch_embed.proj.weight": torch.zeros(48, 3, 8, 8)}, r"1 of another shape \(patch_embed\.proj"),
        ({**state, "pos_embed": torch.zeros(1, 8, 48)}, "neither of this model's grid of 5×2 patches"),
        ({key: value for key, value in state.items() if key != "pos_embed"}, r"1 missing \(pos_embed\)"),
    ]
    for content, message in cases:
        file = tmp_path / "broken.pth"
        torch.save(content, file)
        with pytest.raises(UserError, match=rf"broken\.pth: .*{message}"):
            built(pretrained=file)
    with pytest.raises(UserError, match="no such file"):
        built(pretrained=tmp_path / "absent.pth")


def test_impossible_shapes_are_named() -> None:
    for settings, message in (
        ({"dim": 50, "heads": 3}, "dim 50 does not divide among 3 heads"),
        ({"stride": 17}, "stride 17 exceeds patch 16"),
        ({"image_size": [256, 12]}, "image_size 256×12 is smaller than a patch of 16×16"),
        ({"pretrained": "trunk"}, "trunks are ResNets"),
        ({"weights": {"mslel": 1.0}}, "did you mean 'msel'"),
    ):
        with pytest.raises(UserError, match=message):
            parse(ViTConfig, settings, "test")


def test_without_timm_one_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)  # as if not installed
    with pytest.raises(
        UserError, match="needs the package 'timm', which is not installed: make install EXTRAS=backbones"
    ):
        ViT(ViTConfig(**SMALL), 5)


def test_a_block_by_hand() -> None:
    """One block in float64, written out head by head and token by token; weights are timm's, the arithmetic is not."""
    model = built(depth=1, heads=2, dim=8, patch=16, stride=16).double()
    block = model.embedder.trunk.network.blocks[0]
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    tokens = torch.randn(3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(3))

    def normed(row: Tensor, norm: Any) -> Tensor:
        centred = row - row.mean()
        return centred / (centred.square().mean() + 1e-6).sqrt() * norm.weight + norm.bias

    def linear(row: Tensor, layer: Any) -> Tensor:
        return layer.weight @ row + layer.bias

    with torch.no_grad():
        triples = [linear(normed(row, block.norm1), block.attn.qkv) for row in tokens]
        after = []
        for i, row in enumerate(tokens):
            heads = []
            for head in range(2):
                part = slice(4 * head, 4 * head + 4)
                query = triples[i][0:8][part]
                scores = [math.exp(float(query @ other[8:16][part]) / 2) for other in triples]  # 2 = √4
                values = [score * other[16:24][part] for score, other in zip(scores, triples, strict=True)]
                heads.append(sum(values, torch.zeros(4)) / sum(scores))
            row = row + linear(torch.cat(heads), block.attn.proj)
            hidden = linear(normed(row, block.norm2), block.mlp.fc1)
            gelu = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
            after.append(row + linear(gelu, block.mlp.fc2))
        assert torch.allclose(block(tokens[None])[0], torch.stack(after), rtol=0, atol=1e-10)


def test_every_counter_counts_the_products_that_a_hand_counts() -> None:
    dim, depth, patch, rows, columns = 48, 2, 16, 5, 2
    tokens = rows * columns + 1
    convolution = rows * columns * dim * 3 * patch * patch
    attention = tokens * dim * 3 * dim + 2 * tokens * tokens * dim + tokens * dim * dim  # projections, scores, values
    mlp = 2 * tokens * dim * 4 * dim
    result = complexity(built().deployable(Modality.VISIBLE), 64, 32)
    for row in result["counters"]:
        assert (row["status"], row["macs"], row["uncounted"]) == ("ok", convolution + depth * (attention + mlp), {})
    assert result["disagreement"] == 0


def test_blocks_learn_at_a_rate_of_their_own() -> None:
    model = built(trunk_lr_scale=0.5)
    trunk, heads = model.parameter_groups()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    slow = {names[id(parameter)].split(".")[3] for parameter in trunk["params"]}
    assert (trunk["lr_scale"], heads["lr_scale"], slow) == (0.5, 1.0, {"patch_embed", "blocks"})
    network = "embedder.trunk.network."
    assert {names[id(parameter)] for parameter in heads["params"]} == {
        *(f"{network}{name}" for name in ("cls_token", "pos_embed", "norm.weight", "norm.bias")),
        "embedder.neck.weight",
        "classifier.weight",
    }


def test_the_recipe_is_pmt_s_and_its_cosine_one_epoch_behind() -> None:
    """The code counts epochs from 1: 0.01 + 0.99·t/3 of the rate for t < 3, then the cosine at t of 24."""
    recipe = compose(["model=vit", "recipe=vit"], "test").recipe
    assert (recipe.optimiser.name, recipe.optimiser.lr, recipe.optimiser.weight_decay) == ("adamw", 3e-4, 1e-4)
    assert (recipe.batch_size, recipe.identities, recipe.total_epochs) == (64, 8, 24)

    def theirs(t: int) -> float:
        return 0.01 + 0.99 * t / 3 if t < 3 else 0.01 + 0.99 * (1 + math.cos(math.pi * t / 24)) / 2

    for epoch in (0, 1):
        assert lr_factor(recipe, epoch, 0, 100) == pytest.approx(theirs(epoch + 1), rel=0.02)
    for epoch in range(3, 24):
        assert lr_factor(recipe, epoch, 0, 100) == pytest.approx(theirs(epoch), rel=1e-9)


def test_blocks_can_be_recomputed() -> None:
    from vireid.training.recompute import Recomputation

    model = built(dropout=0.1, drop_path=0.3).train()
    gradients = []
    for recomputed in (False, True):
        recomputation = Recomputation(model) if recomputed else None
        model.zero_grad()
        torch.manual_seed(5)
        model.embedder.both(IMAGES)[0].square().sum().backward()
        gradients.append([parameter.grad for parameter in model.embedder.trunk.parameters()])
        if recomputation is not None:
            recomputation.release()
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))
