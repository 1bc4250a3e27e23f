"""Stages that train at a share of the resolution."""

from dataclasses import replace

import pytest
import torch

from tests.training.parts import TinyLoader, TinyModel, recipe, uncertainty
from vireid.core.config import parse
from vireid.core.errors import UserError
from vireid.training.config import RecipeConfig
from vireid.training.loop import fit
from vireid.training.resize import scaled


class HalvedLoader(TinyLoader):
    """The tiny loader's batches, averaged over squares of four pixels from the start."""

    def epoch(self, epoch, first_step=0):
        for batch in super().epoch(epoch, first_step):
            yield replace(batch, images=scaled(batch.images, 0.5))


def train(folder, stages, loader, **options):
    model = TinyModel()
    result = fit(
        model, loader, recipe(stages=stages, evaluate_every=1), uncertainty(), seed=3, directory=folder, resume_key="k",
        **options,
    )  # fmt: skip
    return model, result


def test_a_stage_at_half_size_is_a_run_on_halved_images(tmp_path):
    seen = []

    def evaluate(model, scale):
        seen.append(scale)
        return {"mAP": 0.0}

    small = [{"name": "half", "epochs": 2, "scale": 0.5}]
    model, result = train(tmp_path / "a", [*small, {"name": "full", "epochs": 1}], TinyLoader(), evaluate=evaluate)
    assert seen == [0.5, 0.5, 1.0]
    assert [entry.get("scale") for entry in result.curves] == [0.5, 0.5, None]

    scaled_model, _ = train(tmp_path / "b", small, TinyLoader())
    halved_model, _ = train(tmp_path / "c", [{"name": "half", "epochs": 2}], HalvedLoader())
    pairs = zip(scaled_model.state_dict().values(), halved_model.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(model.head.weight, scaled_model.head.weight)


def test_scaling_averages_where_it_shrinks():
    images = torch.zeros(1, 3, 8, 4)
    images[:, :, ::2] = 1.0  # rows of a grating that a smaller image cannot hold
    shrunk = scaled(images, 0.25)
    assert shrunk.shape == (1, 3, 2, 1)
    assert torch.allclose(shrunk, torch.full_like(shrunk, 0.5), atol=0.1)
    assert scaled(images, 1.0) is images


@pytest.mark.parametrize("scale", [0, 1.5])
def test_an_impossible_scale_is_named(scale):
    stages = [{"name": "a", "epochs": 1, "scale": scale}]
    with pytest.raises(UserError, match=r"stages\.0\.scale"):
        parse(RecipeConfig, {**recipe().model_dump(mode="json"), "stages": stages}, "test")
