from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from vireid.core.errors import UserError
from vireid.core.types import Batch, Modality
from vireid.evaluation import extraction
from vireid.evaluation.extraction import extract


class TwoStems(nn.Module):
    def __init__(self):
        super().__init__()
        self.stems = nn.ModuleList(nn.Conv2d(3, 5, 3, bias=False) for _ in Modality)
        self.shared = nn.Sequential(nn.BatchNorm2d(5), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5))

    def deployable(self, modality):
        return nn.Sequential(self.stems[int(modality)], self.shared)


def batch(modality, seed=0):
    n = len(modality)
    images = torch.randn(n, 3, 8, 4, generator=torch.Generator().manual_seed(seed))
    zeros = torch.zeros(n, dtype=torch.int64)
    return Batch(images, zeros, torch.tensor(modality), zeros, zeros)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return TwoStems()


def test_each_row_goes_through_its_modality_in_order(model):
    batches = [batch([0, 1, 1, 0, 1]), batch([1, 1], 1), batch([0], 2)]
    found = extract(model, batches)
    assert found.dtype == np.float32
    model.eval()
    with torch.no_grad():
        expected = [
            model.deployable(Modality(int(m)))(image[None])[0]
            for b in batches
            for image, m in zip(b.images, b.modality, strict=True)
        ]
    np.testing.assert_allclose(found, torch.stack(expected).numpy(), atol=1e-6)


def test_training_modes_and_statistics_come_back_untouched(model):
    model.train()
    model.stems[0].eval()  # a frozen part stays frozen, the rest keeps training
    before = {name: value.clone() for name, value in model.state_dict().items()}
    flags = [part.training for part in model.modules()]
    extract(model, [batch([0, 1])])
    assert [part.training for part in model.modules()] == flags
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_modes_come_back_after_an_error(model):
    model.train()
    model.stems[1].weight.data.fill_(float("nan"))
    with pytest.raises(UserError, match=r"feature of image 3 \(from 0.*not finite at precision fp32"):
        extract(model, [batch([0, 0]), batch([0, 1])])
    assert all(part.training for part in model.modules())


def test_reduced_precision_gives_float32_nearby(model):
    full = extract(model, [batch([0, 1, 1])])
    reduced = extract(model, [batch([0, 1, 1])], precision="bf16", emulate=True)
    assert reduced.dtype == np.float32
    assert not np.array_equal(full, reduced)
    np.testing.assert_allclose(reduced, full, atol=0.05)


def test_a_precision_that_the_processor_would_emulate_is_refused(model, monkeypatch):
    monkeypatch.setattr(extraction, "emulated", lambda precision: None if precision == "fp32" else "Some CPU lacks it")
    with pytest.raises(UserError, match="precision=bf16: Some CPU lacks it: use precision=fp32, or emulate=True"):
        extract(model, [batch([0, 1])], precision="bf16")
    extract(model, [batch([0, 1])])


def test_functions_per_modality(model):
    functions = {m: lambda images, m=m: images.flatten(1)[:, :2] * (1 + int(m)) for m in Modality}
    one = batch([0, 1])
    expected = one.images.flatten(1)[:, :2] * torch.tensor([[1.0], [2.0]])
    np.testing.assert_array_equal(extract(functions, [one]), expected.numpy())
    with pytest.raises(UserError, match="holds infrared images"):
        extract({Modality.VISIBLE: functions[Modality.VISIBLE]}, [one])


def test_no_images_is_an_error(model):
    with pytest.raises(UserError, match="no images"):
        extract(model, [])
