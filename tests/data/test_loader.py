import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from vireid.core.errors import UserError
from vireid.core.types import ImageIndex, Modality
from vireid.data.augmentation import BaseAugmentation, FullAugmentation, NoAugmentation, normalise
from vireid.data.config import BaseConfig, FullConfig, NoConfig
from vireid.data.loader import EvaluationLoader, IdentitySampler, TrainingLoader

N = 48


@pytest.fixture
def index():
    rows = np.arange(N)
    modality = rows % 2
    return ImageIndex(
        Path(),
        tuple(f"{row}.jpg" for row in rows),
        identity=10 * (rows // 8) + 3,
        modality=modality,
        camera=np.where(modality == Modality.INFRARED, 3, 1),
        number=rows,
        captions=tuple(f"person {row}" for row in rows),
    )


@pytest.fixture
def array():
    return np.random.default_rng(0).integers(0, 256, (N, 3, 24, 12), dtype=np.uint8)


def make(array, index, augmentation=None, **options):
    sampler = IdentitySampler(index.labels(), index.modality, batch_size=12, identities=3, seed=5)
    return TrainingLoader(array, index, sampler, augmentation or BaseAugmentation(BaseConfig()), seed=5, **options)


def same(a, b):
    return all(torch.equal(getattr(a, n), getattr(b, n)) for n in ("images", "labels", "modality", "camera", "view"))


def test_batches_hold_what_the_index_says(array, index):
    loader = make(array, index, NoAugmentation(NoConfig()))
    rows = loader.sampler.rows(0, 2)
    batch = loader.batch(0, 2)
    assert torch.equal(batch.images, normalise(torch.from_numpy(array[rows])))
    assert batch.labels.tolist() == (rows // 8).tolist()
    assert batch.modality.tolist() == [1, 0] * 6
    assert batch.camera.tolist() == [3, 1] * 6
    assert batch.captions == tuple(f"person {row}" for row in rows)
    assert loader.num_classes == 6
    assert loader.steps_per_epoch == 4


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_an_epoch_is_its_batches_whatever_the_workers(array, index, workers):
    loader = make(array, index, workers=workers, prefetch=2)
    batches = list(loader.epoch(3))
    assert len(batches) == 4
    assert all(same(batch, loader.batch(3, step)) for step, batch in enumerate(batches))
    resumed = list(loader.epoch(3, first_step=2))
    assert all(same(a, b) for a, b in zip(resumed, batches[2:], strict=True))
    assert not same(batches[0], loader.batch(4, 0))


def loader_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("loader")]


def test_stopping_early_ends_the_threads(array, index):
    batches = make(array, index, workers=2).epoch(0)
    next(batches)
    assert loader_threads()
    batches.close()
    assert not loader_threads()


def test_an_error_surfaces_in_the_consumer_at_its_batch(array, index):
    class Broken(BaseAugmentation):
        def __call__(self, images, modality, key, strength=1.0):
            if key[-1] == 2:
                raise UserError("broken image at step 2")
            return super().__call__(images, modality, key, strength)

    batches = make(array, index, Broken(BaseConfig()), workers=2).epoch(0)
    assert [len(next(batches)), len(next(batches))] == [12, 12]
    with pytest.raises(UserError, match="broken image"):
        next(batches)
    assert not loader_threads()


def test_views_carry_the_labels_of_their_images(array, index):
    batch = make(array, index, FullAugmentation(FullConfig(visible_views=2))).batch(0, 0)
    assert len(batch) == 18
    assert torch.equal(batch.labels[12:], batch.labels[:12][batch.visible[:12]])
    assert batch.visible[12:].all()
    assert batch.view.tolist() == [0] * 12 + [1] * 6
    assert len(batch.captions) == 18


def test_strength_is_a_function_of_the_epoch(array, index):
    full = FullAugmentation(FullConfig(flip=0, pad=0))
    loader = make(array, index, full, strength=lambda epoch: float(epoch > 0))
    assert torch.equal(loader.batch(0, 0).images, normalise(torch.from_numpy(array[loader.sampler.rows(0, 0)])))
    assert not torch.equal(loader.batch(1, 0).images, normalise(torch.from_numpy(array[loader.sampler.rows(1, 0)])))


@pytest.mark.parametrize("batch_size", [7, 16, 48, 100])
def test_evaluation_sees_every_image_once_in_order(array, index, batch_size):
    loader = EvaluationLoader(array, index, batch_size=batch_size)
    batches = list(loader)
    assert len(batches) == len(loader)
    assert torch.equal(torch.cat([batch.images for batch in batches]), normalise(torch.from_numpy(array)))
    assert torch.cat([batch.labels for batch in batches]).tolist() == index.labels().tolist()
    assert torch.cat([batch.camera for batch in batches]).tolist() == index.camera.tolist()
    assert sum((batch.captions for batch in batches), ()) == index.captions


def test_cache_and_index_must_agree(array, index):
    with pytest.raises(ValueError, match="the cache holds 47 images, the index 48"):
        make(array[:-1], index)
