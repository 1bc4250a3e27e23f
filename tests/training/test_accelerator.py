"""What a CUDA device alone shows: each precision trains, fp32 is the CPU's, resumed and repeated fits are the same."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from safetensors.torch import load_file

from tests.training.parts import TinyLoader, TinyModel, recipe, uncertainty
from vireid.core.seeding import seed_everything
from vireid.core.types import Batch, Modality
from vireid.evaluation.extraction import extract
from vireid.models.idkl import IDKL, IDKLConfig
from vireid.training.loop import fit
from vireid.weighting.config import FixedConfig
from vireid.weighting.fixed import FixedWeighting

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason=f"needs a CUDA device, and PyTorch {torch.__version__} finds none"
)

DEVICE = "cuda"
CLASSES = 4
PRECISIONS = ("fp32", "bf16", "fp16")


class KilledError(Exception):
    """Stands for the end of the process."""


@contextmanager
def deterministic() -> Iterator[None]:
    """PyTorch's own switch; the suite has none."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when a stream first multiplies matrices
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


class People:
    """Random images of IDKL's batches, a function of (epoch, step)."""

    steps_per_epoch = 3

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        labels = torch.arange(CLASSES).repeat_interleave(2)
        zeros = torch.zeros_like(labels)
        modality = torch.tensor([int(Modality.INFRARED), int(Modality.VISIBLE)]).repeat(CLASSES)
        for step in range(first_step, self.steps_per_epoch):
            generator = torch.Generator().manual_seed(100 * epoch + step)
            yield Batch(torch.randn(len(labels), 3, 64, 32, generator=generator), labels, modality, zeros, zeros)


def small_idkl() -> IDKL:
    seed_everything("accelerator")
    return IDKL(IDKLConfig(backbone="resnet18", width=0.125), CLASSES)


def train_idkl(directory, precision="fp32", device=DEVICE, kill_after=None):
    """Fit for two epochs of three steps."""

    def progress(epoch, _epochs, step, _steps, _loss):
        if (epoch, step) == kill_after:
            raise KilledError

    model = small_idkl()
    result = fit(
        model,
        People(),
        recipe(epochs=2, precision=precision, channels_last=True, optimiser={"name": "adam", "lr": 1e-4}),
        FixedWeighting(FixedConfig(), model.default_weights()),
        seed=3,
        directory=directory,
        resume_key="k",
        device=device,
        progress=progress,
    )
    return model, result


def weights_of(result) -> dict[str, torch.Tensor]:
    return load_file(result.weights)


def same(one, other) -> bool:
    """Whether two results have the same weights, bit by bit."""
    left, right = weights_of(one), weights_of(other)
    assert left.keys() == right.keys()
    return all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_losses_are_finite(tmp_path, precision):
    model, result = train_idkl(tmp_path, precision)
    assert result.device == torch.cuda.get_device_name()
    assert next(model.parameters()).device.type == "cuda"
    for entry in result.curves:
        assert math.isfinite(entry["loss"])
        assert all(math.isfinite(value) for value in entry["terms"].values()), entry["terms"]
    assert all(torch.isfinite(value.float()).all() for value in weights_of(result).values())


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 0.01), ("bf16", 0.1), ("fp16", 0.1)])
def test_losses_of_the_first_epoch_are_the_cpus(tmp_path, precision, tolerance):
    """IDKL draws dropout, whose numbers differ between devices; the tiny model does not without its dropout."""
    losses = {}
    for device, asked in (("cpu", "fp32"), (DEVICE, precision)):
        model = TinyModel()
        model.trunk[3].p = 0.0
        options = {"seed": 3, "directory": tmp_path / device, "resume_key": "k", "device": device}
        result = fit(model, TinyLoader(), recipe(epochs=1, precision=asked), uncertainty(), **options)
        losses[device] = [result.curves[0]["loss"], *result.curves[0]["terms"].values()]
    assert losses[DEVICE] == pytest.approx(losses["cpu"], rel=tolerance)


def test_gradients_of_idkl_in_fp32_are_the_cpus():
    """One forward and backward without dropout: every term, and the direction of the whole gradient."""
    batch = next(People().epoch(0))
    terms, gradients = {}, {}
    for device in ("cpu", DEVICE):
        with tf32(allowed=False):
            model = small_idkl().to(device).train()
            for part in model.modules():
                if isinstance(part, torch.nn.Dropout):
                    part.p = 0.0
            found = model.loss_terms(model(batch.to(device)), batch.to(device))
            torch.stack(list(found.values())).sum().backward()
        terms[device] = {name: float(value.detach()) for name, value in found.items()}
        parts = [p.grad.double().flatten().cpu() for p in model.parameters() if p.grad is not None]
        gradients[device] = torch.cat(parts)
    assert terms[DEVICE] == pytest.approx(terms["cpu"], rel=1e-3, abs=1e-4)
    assert float(torch.cosine_similarity(gradients[DEVICE], gradients["cpu"], dim=0)) > 0.999


@pytest.mark.parametrize("precision", PRECISIONS)
def test_resumed_run_equals_the_uninterrupted_one(tmp_path, precision):
    with deterministic():
        _, whole = train_idkl(tmp_path / "whole", precision)
        with pytest.raises(KilledError):
            train_idkl(tmp_path / "parts", precision, kill_after=(2, 2))
        _, resumed = train_idkl(tmp_path / "parts", precision)
    assert resumed.resumed_from == 1
    assert same(whole, resumed)
    assert [entry["terms"] for entry in whole.curves] == [entry["terms"] for entry in resumed.curves]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_deterministic_algorithms_give_the_same_bits_twice(tmp_path, precision):
    with deterministic():
        _, first = train_idkl(tmp_path / "first", precision)
        _, second = train_idkl(tmp_path / "second", precision)
    assert same(first, second)
    assert [entry["loss"] for entry in first.curves] == [entry["loss"] for entry in second.curves]


def test_fp32_is_not_tf32_whatever_the_process_allows(tmp_path):
    """A fit gives the same bits whether the process allows TF32 or not, and leaves that as it was."""
    with deterministic():
        with tf32(allowed=True):
            _, first = train_idkl(tmp_path / "allowed")
            assert torch.backends.cudnn.allow_tf32
            assert torch.backends.cuda.matmul.allow_tf32
        with tf32(allowed=False):
            _, second = train_idkl(tmp_path / "forbidden")
    assert same(first, second)


def test_tf32_would_be_noticed():
    """The comparison above would see it: on this device TF32 changes a convolution and a product."""
    if torch.cuda.get_device_capability() < (8, 0):
        pytest.skip(f"{torch.cuda.get_device_name()} has no TF32")
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(8, 64, 32, 32, generator=generator).to(DEVICE)
    kernel = torch.randn(64, 64, 3, 3, generator=generator).to(DEVICE)
    rows = images.flatten(1)
    results = {}
    for allowed in (True, False):
        with tf32(allowed):
            results[allowed] = torch.nn.functional.conv2d(images, kernel), rows @ rows.T
    reference = torch.nn.functional.conv2d(images.double(), kernel.double())
    errors = {allowed: float((found[0].double() - reference).abs().max()) for allowed, found in results.items()}
    assert errors[True] > 3 * errors[False]
    assert not torch.equal(results[True][1], results[False][1])


def test_features_are_the_cpus():
    model, batches = small_idkl(), list(People().epoch(0))
    with tf32(allowed=True):
        found = {device: extract(model, batches, device=device) for device in ("cpu", DEVICE)}
    scale = float((found["cpu"] ** 2).mean() ** 0.5)
    assert abs(found[DEVICE] - found["cpu"]).max() < 1e-4 * scale


def test_half_precision_computes_in_it(tmp_path):
    """A training in bf16 is none in fp32 under another name."""
    with deterministic():
        results = [train_idkl(tmp_path / precision, precision)[1] for precision in PRECISIONS]
    assert not same(results[0], results[1])
    assert not same(results[0], results[2])
