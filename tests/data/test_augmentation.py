import numpy as np
import pytest
import torch

from vireid.core.config import parse
from vireid.core.errors import UserError
from vireid.core.types import Modality
from vireid.data import AUGMENTATIONS
from vireid.data.augmentation_full import FullAugmentation, FullConfig
from vireid.data.transforms import LUMINANCE, normalise

KEY = (7, "augmentation", 0, 0)


def build(name, **fields):
    augmentation = AUGMENTATIONS.load(name)
    return augmentation(augmentation.Config(**fields))


def batch(count=8, height=32, width=16):
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, 3, height, width), dtype=np.uint8))
    return images, torch.tensor([int(Modality.INFRARED), int(Modality.VISIBLE)] * (count // 2))


@pytest.mark.parametrize("name", AUGMENTATIONS.names())
def test_contract(name):
    images, modality = batch()
    before = images.clone()
    first, again = build(name)(images, modality, KEY), build(name)(images, modality, KEY)
    assert torch.equal(images, before)  # the input may be a shared cache
    assert first.images.dtype == torch.float32
    assert first.images.shape == images.shape
    assert first.view.tolist() == [0] * 8
    assert first.rows.tolist() == list(range(8))
    assert torch.equal(first.images, again.images)
    assert torch.isfinite(first.images).all()
    assert AUGMENTATIONS.load(name).Config().name == name


@pytest.mark.parametrize("name", ["base", "full"])
@pytest.mark.parametrize("modality", Modality)
def test_eight_equal_images_come_out_different(name, modality):
    images = batch(1 * 2)[0][:1].repeat(8, 1, 1, 1)
    result = build(name)(images, torch.full((8,), int(modality)), KEY).images
    assert len({image.numpy().tobytes() for image in result}) == 8
    other = build(name)(images, torch.full((8,), int(modality)), (7, "augmentation", 0, 1)).images
    assert not torch.equal(result, other)


def test_none_and_everything_off_are_normalisation():
    images, modality = batch()
    assert torch.equal(build("none")(images, modality, KEY).images, normalise(images))
    off = build("base", flip=0, pad=0, erasing={"probability": 0})
    assert torch.equal(off(images, modality, KEY).images, normalise(images))
    still = build("full", flip=0, pad=0)
    assert torch.equal(still(images, modality, KEY, strength=0.0).images, normalise(images))


@pytest.mark.parametrize("name", ["base", "full"])
def test_erasing_changes_one_box_and_leaves_the_other_draws_alone(name):
    images, modality = batch()
    calm = {} if name == "base" else {"second_view": 0, "infrared_channel": 0, "infrared_gray": 0}
    before = build(name, erasing={"probability": 0}, **calm)(images, modality, KEY).images
    after = build(name, erasing={"probability": 1, "value": (7, 8, 9)}, **calm)(images, modality, KEY).images
    for plain, image in zip(before, after, strict=True):
        changed = (plain != image).any(dim=0)
        ys, xs = torch.nonzero(changed, as_tuple=True)
        box = image[:, ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
        assert torch.equal(box, torch.tensor([7.0, 8.0, 9.0]).view(3, 1, 1).expand_as(box))
        assert changed.sum() == box[0].numel()


def test_channels_are_exchanged_after_erasing():
    images, modality = batch()
    options = {"flip": 0, "pad": 0, "jitter": 0, "infrared_channel": 1, "second_view": 1}
    erased = build("full", erasing={"probability": 1, "value": (7, 8, 9)}, **options)(images, modality, KEY).images
    assert torch.equal(erased, erased[:, :1].expand_as(erased))
    assert {image[0].max().item() for image in erased} <= {7.0, 8.0, 9.0}


def quiet(**fields):
    """``full`` without flip, shift, erasing and jitter, so that the channel operations are visible."""
    return FullAugmentation(FullConfig(flip=0, pad=0, erasing={"probability": 0}, jitter=0, **fields))


def kind(image, plain):
    """What happened to an image: 'r', 'g', 'b' (one channel thrice), 'luminance' or 'plain'."""
    if torch.equal(image, plain):
        return "plain"
    for channel, name in enumerate("rgb"):
        if torch.equal(image, plain[channel].expand_as(image)):
            return name
    luminance = sum(w * c for w, c in zip(LUMINANCE, plain, strict=True))
    assert torch.allclose(image, luminance.expand_as(image), atol=1e-5)
    return "luminance"


def test_channel_operations_have_the_probabilities_of_caj():
    images, modality = batch(4000, 2, 2)
    plain, result = normalise(images), quiet()(images, modality, KEY)
    shares = {}
    for name in Modality:
        kinds = [kind(i, p) for i, p, m in zip(result.images, plain, modality, strict=True) if m == name]
        shares[name] = {k: kinds.count(k) / len(kinds) for k in ("r", "g", "b", "luminance", "plain")}
    assert shares[Modality.INFRARED] == pytest.approx(
        {"r": 0.25, "g": 0.25, "b": 0.25, "luminance": 0.125, "plain": 0.125}, abs=0.035
    )
    assert shares[Modality.VISIBLE] == pytest.approx(
        {"r": 1 / 6, "g": 1 / 6, "b": 1 / 6, "luminance": 0, "plain": 0.5}, abs=0.035
    )


def test_two_visible_views_extend_the_batch():
    images, modality = batch()
    plain, result = normalise(images), quiet(visible_views=2)(images, modality, KEY)
    assert result.rows.tolist() == [*range(8), 1, 3, 5, 7]
    assert result.view.tolist() == [0] * 8 + [1] * 4
    for image, view, row in zip(result.images, result.view, result.rows, strict=True):
        if modality[row] == Modality.VISIBLE:
            assert (kind(image, plain[row]) in "rgb") == bool(view)


def test_config_is_strict():
    with pytest.raises(UserError, match="did you mean 'visible_views'"):
        parse(FullConfig, {"name": "full", "visible_view": 2}, "augmentation")
