"""Images per second of the training loader on one core, beside torchvision's per-image pipeline on the same cache.

Run: ``pytest benchmarks/bench_loader.py --benchmark-only``. The goal is 1,000 images/s at 288×144 with ``base``.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.transforms as tv
from PIL import Image

from vireid.core.types import ImageIndex
from vireid.data import AUGMENTATIONS
from vireid.data.augmentation import MEAN, STD
from vireid.data.loader import IdentitySampler, TrainingLoader

IMAGES, HEIGHT, WIDTH, BATCH = 1024, 288, 144, 64


@pytest.fixture(scope="module")
def array(tmp_path_factory):
    file = tmp_path_factory.mktemp("cache") / "images.npy"
    np.save(file, np.random.default_rng(0).integers(0, 256, (IMAGES, 3, HEIGHT, WIDTH), dtype=np.uint8))
    return np.load(file, mmap_mode="r")


@pytest.fixture(autouse=True)
def one_core():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_loader(array, name):
    rows = np.arange(IMAGES)
    index = ImageIndex(Path(), tuple(map(str, rows)), rows // 16, rows % 2, rows % 6, rows)
    sampler = IdentitySampler(index.labels(), index.modality, batch_size=BATCH, identities=8, seed=0)
    augmentation = AUGMENTATIONS.load(name)
    return TrainingLoader(array, index, sampler, augmentation(augmentation.Config()), seed=0, workers=0)


def report(benchmark):
    benchmark.extra_info["images_per_second"] = round(BATCH / benchmark.stats.stats.median)
    print(f"\n{benchmark.name}: {benchmark.extra_info['images_per_second']} images/s")


@pytest.mark.parametrize("name", ["none", "base", "full"])
def test_loader(benchmark, array, name):
    loader = make_loader(array, name)
    steps = iter(range(10**6))
    benchmark.pedantic(
        lambda: loader.batch(*divmod(next(steps), loader.steps_per_epoch)), rounds=40, warmup_rounds=4, iterations=1
    )
    report(benchmark)


def test_torchvision_per_image(benchmark, array):
    pipeline = tv.Compose(
        [
            tv.RandomHorizontalFlip(),
            tv.Pad(10, fill=127),
            tv.RandomCrop((HEIGHT, WIDTH)),
            tv.ToTensor(),
            tv.Normalize(MEAN, STD),
            tv.RandomErasing(),
        ]
    )
    sampler = make_loader(array, "none").sampler
    steps = iter(range(10**6))

    def batch():
        rows = sampler.rows(*divmod(next(steps), sampler.steps_per_epoch))
        return torch.stack([pipeline(Image.fromarray(array[row].transpose(1, 2, 0))) for row in rows])

    benchmark.pedantic(batch, rounds=20, warmup_rounds=2, iterations=1)
    report(benchmark)
