"""Every batched operation against a naive loop over pixels or torchvision's own function on one image."""

import math

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as tvf

from vireid.data.augmentation import (
    MEAN,
    STD,
    draw_boxes,
    draw_flip_and_shift,
    erase,
    flip_and_shift,
    jitter,
    normalise,
    replicate_channel,
)
from vireid.data.config import Erasing


def images(count=6, height=17, width=11, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (count, 3, height, width), dtype=np.uint8))


def test_normalise_equals_torchvision():
    batch = images()
    expected = torch.stack([tvf.normalize(image.float() / 255, MEAN, STD) for image in batch])
    assert torch.allclose(normalise(batch), expected, atol=2e-6)


def test_flip_and_shift_equals_flip_pad_crop():
    batch = images(40)
    flip, shift = draw_flip_and_shift(np.random.default_rng(1), 40, 0.5, 4)
    assert shift.min() == -4
    assert shift.max() == 4
    assert 0 < flip.sum() < 40
    result = flip_and_shift(batch, flip, shift, 127)
    for row in range(40):
        image = tvf.hflip(batch[row]) if flip[row] else batch[row]
        expected = tvf.crop(tvf.pad(image, [4], fill=127), 4 + int(shift[row, 0]), 4 + int(shift[row, 1]), 17, 11)
        assert torch.equal(result[row], expected)


@pytest.mark.parametrize("law", ["log-uniform", "uniform"])
def test_boxes_follow_the_law(law):
    config = Erasing(probability=0.5, ratio_law=law)
    H, W = 288, 144
    boxes = draw_boxes(np.random.default_rng(2), 20000, H, W, config)
    drawn = boxes[boxes[:, 2] > 0]
    assert abs(len(drawn) / 20000 - 0.5) < 0.02
    top, left, h, w = drawn.T
    assert (h < H).all()
    assert (w < W).all()
    assert top.min() == left.min() == 0
    assert ((top + h) <= H).all()
    assert ((left + w) <= W).all()
    assert (top + h).max() == H
    area, ratio = h * w / (H * W), h / w
    assert 0.018 < area.min() < 0.025
    assert 0.32 < area.max() < 0.34
    assert abs(np.quantile(area[area < 0.1], 0.5) - 0.06) < 0.003  # uniform where every box fits
    small = area < 0.06
    middle = 1.0 if law == "log-uniform" else (0.3 + 3.3) / 2
    assert abs(math.log(np.median(ratio[small]) / (math.sqrt(0.3 * 3.3) if middle == 1.0 else middle))) < 0.1


def test_boxes_of_strength_zero_and_impossible_boxes():
    random = np.random.default_rng(3)
    assert not draw_boxes(random, 100, 20, 10, Erasing(probability=1), strength=0.0)[:, 2:].any()
    assert not draw_boxes(random, 100, 20, 10, Erasing(probability=1, area=(2, 3)))[:, 2:].any()


def test_erase_writes_only_the_box():
    batch = normalise(images(5))
    boxes = np.array([[0, 0, 3, 4], [2, 3, 0, 0], [10, 5, 7, 6], [16, 10, 1, 1], [0, 0, 16, 10]])
    expected = batch.clone()
    for row, (top, left, h, w) in enumerate(boxes):
        for y in range(top, top + h):
            for x in range(left, left + w):
                expected[row, :, y, x] = torch.tensor([0.1, 0.2, 0.3])
    erase(batch, boxes, (0.1, 0.2, 0.3))
    assert torch.equal(batch, expected)


def test_replicate_channel():
    batch = normalise(images(5))
    before = batch.clone()
    replicate_channel(batch, np.array([-1, 0, 1, 2, 3]))
    assert torch.equal(batch[0], before[0])
    for row in (1, 2, 3):
        for channel in range(3):
            assert torch.equal(batch[row, channel], before[row, row - 1])
    luminance = 0.2989 * before[4, 0] + 0.5870 * before[4, 1] + 0.1140 * before[4, 2]
    assert torch.allclose(batch[4], luminance.expand(3, -1, -1), atol=1e-6)


def test_jitter_equals_torchvision_where_nothing_is_clipped():
    # mid-range pixels: torchvision clips and rounds after each of the three operations
    batch = (images(12).float() * 0.4 + 70).to(torch.uint8)
    factors = np.random.default_rng(4).uniform(0.8, 1.2, (12, 3))
    result = jitter(batch, factors)
    for row, (brightness, contrast, saturation) in enumerate(factors):
        image = batch[row].float() / 255
        image = tvf.adjust_brightness(image, brightness)
        image = tvf.adjust_contrast(image, contrast)
        image = tvf.adjust_saturation(image, saturation)
        assert (result[row].float() - image * 255).abs().max() <= 0.51
    assert torch.equal(jitter(batch, np.ones((12, 3))), batch)
    assert jitter(images(), np.full((6, 3), 1.9)).float().std() > 0
