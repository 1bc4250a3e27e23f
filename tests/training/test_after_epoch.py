"""The pass after an epoch, for models that learn from its batches once more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import torch

from tests.training.parts import TinyLoader, TinyModel, recipe, uncertainty
from vireid.core.types import Batch
from vireid.training.loop import fit


class Watching(TinyModel):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(8))
        self.seen: list[list[torch.Tensor]] = []

    def after_epoch(self, batches: Iterable[Batch]) -> None:
        assert self.training
        assert not torch.is_grad_enabled()
        taken = list(batches)
        self.seen.append([batch.images for batch in taken])
        self.mean.copy_(torch.cat([self(batch).features["shared"] for batch in taken]).mean(dim=0))


def train(directory: Any, epochs: int = 2) -> tuple[Watching, TinyLoader, Any]:
    model, loader = Watching(), TinyLoader(steps=3)
    result = fit(model, loader, recipe(epochs=epochs), uncertainty(), seed=1, directory=directory, resume_key="k")
    return model, loader, result


def test_sees_every_batch_of_the_epoch_again(tmp_path: Any) -> None:
    model, loader, result = train(tmp_path)
    assert loader.opened == [0, 0, 1, 1]
    for epoch, images in enumerate(model.seen):
        expected = [batch.images for batch in TinyLoader(steps=3).epoch(epoch)]
        assert all(torch.equal(a, b) for a, b in zip(images, expected, strict=True))
    assert all(entry["seconds"] > entry["data_seconds"] for entry in result.curves)


def test_what_it_learned_is_in_the_checkpoint(tmp_path: Any) -> None:
    class Stop(Exception):  # noqa: N818 - stands for the end of the process
        pass

    def stop(entry: dict[str, Any]) -> None:
        raise Stop

    model, _, _ = train(tmp_path / "whole")
    half = Watching(), TinyLoader(steps=3), recipe(epochs=2), uncertainty()
    with pytest.raises(Stop):
        fit(*half, seed=1, directory=tmp_path / "parts", resume_key="k", on_epoch=stop)
    again, loader, result = train(tmp_path / "parts")
    assert result.resumed_from == 1
    assert loader.opened == [1, 1]
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_an_ordinary_model_costs_no_second_pass(tmp_path: Any) -> None:
    loader = TinyLoader(steps=3)
    fit(TinyModel(), loader, recipe(epochs=2), uncertainty(), seed=1, directory=tmp_path, resume_key="k")
    assert loader.opened == [0, 1]
