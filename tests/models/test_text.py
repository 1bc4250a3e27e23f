"""CLIP text towers beside the libraries' own forward passes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from vireid.core.errors import UserError
from vireid.models.text import TextEncoder, TowerShape, resized, tokenize

WHY = "text needs open_clip and transformers, which belong to every installation"
CAPTIONS = ["a person in a red t-shirt", "a tall person with a backpack, wearing trousers and sneakers"]
LONG = " ".join(["word"] * 200)


def test_a_missing_library_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    from vireid.models.text import text_library

    monkeypatch.setitem(sys.modules, "open_clip", None)
    monkeypatch.setitem(sys.modules, "open_clip.transformer", None)
    with pytest.raises(UserError, match=r"open_clip_torch.*make install, .*fusion=none"):
        text_library("open_clip.transformer")


def test_tokens_are_those_of_clip() -> None:
    library = pytest.importorskip("open_clip", reason=WHY)
    expected = library.tokenize([*CAPTIONS, LONG])
    mine = tokenize([*CAPTIONS, LONG], 77)
    assert torch.equal(mine, expected)
    short = tokenize(CAPTIONS, 77)
    assert torch.equal(short, expected[:2, : short.shape[1]])
    assert not expected[:2, short.shape[1] :].any()
    with pytest.raises(UserError, match="caption 1 of 2 is empty"):
        tokenize(["a person", " "], 77)


def shape(library: str) -> TowerShape:
    return TowerShape(library=library, width=32, layers=2, heads=4)  # type: ignore[arg-type]


def test_the_open_clip_tower_equals_the_library_on_the_whole_context() -> None:
    library = pytest.importorskip("open_clip", reason=WHY)
    torch.manual_seed(0)
    encoder = TextEncoder(shape("open_clip"), 24).eval()
    with torch.no_grad():
        expected = encoder.tower.text(library.tokenize(CAPTIONS))
        assert torch.allclose(encoder(CAPTIONS), expected, atol=1e-6)


def test_the_transformers_tower_equals_the_library_on_the_whole_context() -> None:
    pytest.importorskip("transformers", reason=WHY)
    library = pytest.importorskip("open_clip", reason=WHY)
    torch.manual_seed(0)
    encoder = TextEncoder(shape("transformers"), 24).eval()
    with torch.no_grad():
        expected = encoder.tower.text(input_ids=library.tokenize(CAPTIONS)).text_embeds
        assert torch.allclose(encoder(CAPTIONS), expected, atol=1e-6)


def test_weights_load_strictly_and_the_projection_is_resized_as_published(tmp_path: Path) -> None:
    pytest.importorskip("open_clip", reason=WHY)
    source = TextEncoder(shape("open_clip"), 24)
    state = {name: value.contiguous() for name, value in source.tower.text.state_dict().items()}
    save_file(
        {**state, "visual.conv1.weight": torch.zeros(1), "logit_scale": torch.zeros(1)}, tmp_path / "clip.safetensors"
    )
    loaded = TextEncoder(shape("open_clip"), 40, tmp_path / "clip.safetensors").tower.text
    assert torch.equal(loaded.token_embedding.weight, source.tower.text.token_embedding.weight)
    image = state["text_projection"].reshape(1, 1, 32, 24).permute(0, 2, 1, 3)
    published = F.interpolate(image, size=(1, 40), mode="bilinear").permute(0, 2, 1, 3).squeeze()
    assert torch.allclose(loaded.text_projection, published, atol=1e-6)
    save_file({k: v for k, v in state.items() if k != "ln_final.bias"}, tmp_path / "short.safetensors")
    with pytest.raises(UserError, match=r"short\.safetensors lacks ln_final\.bias"):
        TextEncoder(shape("open_clip"), 24, tmp_path / "short.safetensors")
    with pytest.raises(UserError, match=r"of shape .* the model has"):
        TextEncoder(TowerShape(width=64, layers=2, heads=4), 24, tmp_path / "clip.safetensors")


def test_transformers_weights_come_from_a_folder_of_the_same_shape(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason=WHY)
    pytest.importorskip("open_clip", reason=WHY)
    source = TextEncoder(shape("transformers"), 24)
    source.tower.text.save_pretrained(tmp_path / "clip")
    loaded = TextEncoder(shape("transformers"), 40, tmp_path / "clip").eval()
    weight = source.tower.text.text_projection.weight
    assert torch.allclose(loaded.tower.text.text_projection.weight.T, resized(weight.T, 40), atol=1e-6)
    assert loaded(CAPTIONS).shape == (2, 40)
    with pytest.raises(UserError, match=r"set model\.text_layers=2"):
        TextEncoder(TowerShape("transformers", 32, 3, 4), 24, tmp_path / "clip")
    with pytest.raises(UserError, match="no CLIP model"):
        TextEncoder(shape("transformers"), 24, tmp_path / "nothing")
