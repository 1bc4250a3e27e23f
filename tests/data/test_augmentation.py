import numpy as np
import pytest
import torch
import torchvision.transforms.functional as tvf

from vireid.core.config import parse
from vireid.core.errors import UserError
from vireid.core.seeding import generator
from vireid.core.types import Modality
from vireid.data import AUGMENTATIONS
from vireid.data.augmentation import LUMINANCE, MEAN, STD, FullAugmentation, draw_flip_and_shift, normalise
from vireid.data.config import ForkConfig, FullConfig

FORK_SECOND = ForkConfig().channel_erasing.model_dump()
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


@pytest.mark.parametrize("name", [name for name in AUGMENTATIONS.names() if name != "none"])
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
    for name in ("base", "full", "fork"):
        still = build(name, flip=0, pad=0)
        assert torch.equal(still(images, modality, KEY, strength=0.0).images, normalise(images))


UNERASED = {"probability": 0}
OPTIONAL = {  # every operation that a curriculum may ramp, switched off
    "none": {},
    "base": {"erasing": UNERASED},
    "full": {"erasing": UNERASED, "jitter": 0, "exchange": 0, "infrared_channel": 0, "infrared_gray": 0},
    "fork": {"erasing": UNERASED, "channel_erasing": UNERASED, "jitter": 0},
    "deen": {"erasing": UNERASED, "gray": 0},
    "tvi_lfm": {"visible_erasing": 0, "infrared_erasing": 0, "gray": 0}
    | {"exchange": 0, "adaptive_channel": 0, "adaptive_gray": 0},
}


@pytest.mark.parametrize("name", AUGMENTATIONS.names())
def test_strength_zero_leaves_flip_and_crop_alone(name):
    images, modality = batch(16)
    calm = build(name)(images, modality, KEY, strength=0.0).images
    assert torch.equal(calm, build(name, **OPTIONAL[name])(images, modality, KEY).images)
    assert torch.equal(calm, normalise(images)) == (name == "none")


@pytest.mark.parametrize(("name", "share"), [("base", 0.5), ("full", 0.5), ("fork", 0.75)])
def test_strength_scales_probabilities(name, share):
    """Half the strength erases half as many images (with two erasings: 1 − (1 − p/2)² of them)."""
    images, modality = batch(4000, 8, 8)
    still = {"flip": 0, "pad": 0} | {key: 0 for key in OPTIONAL[name] if key not in ("erasing", "channel_erasing")}
    plain = normalise(images)

    def erased(strength):
        result = build(name, **still)(images, modality, KEY, strength).images
        return (result != plain).flatten(1).any(1).float().mean().item()

    half = share / 2 if name != "fork" else 1 - 0.75**2
    assert [erased(0.0), erased(0.5), erased(1.0)] == pytest.approx([0, half, share], abs=0.03)


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


def test_fork_jitters_the_picture_and_not_its_padding():
    images, modality = batch(6, 24, 12)
    images = (images * 0.4 + 70).to(torch.uint8)  # torchvision clips after each of the three operations
    plain = {"erasing": {"probability": 0}, "channel_erasing": {"probability": 0}}
    result = build("fork", **plain)(images, modality, KEY).images
    random = generator(*KEY)
    flip, shift = draw_flip_and_shift(random, 6, 0.5, 10)
    random.random(6)
    factors = 1 + 0.1 * random.uniform(-1, 1, (6, 3))
    for row, (brightness, contrast, saturation) in enumerate(factors):
        image = tvf.hflip(images[row]) if flip[row] else images[row]
        image = tvf.adjust_brightness(image.float() / 255, brightness)
        image = tvf.adjust_saturation(tvf.adjust_contrast(image, contrast), saturation)
        image = tvf.pad(image, [10], fill=127 / 255)
        expected = tvf.crop(image, 10 + int(shift[row, 0]), 10 + int(shift[row, 1]), 24, 12)
        pixels = result[row] * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
        assert (pixels - expected).abs().max() < 0.51 / 255
        padding = tvf.crop(tvf.pad(torch.zeros(1, 24, 12), [10], fill=1), *(10 + int(s) for s in shift[row]), 24, 12)
        assert torch.allclose(pixels[:, padding[0] == 1], torch.tensor(127 / 255), atol=1e-6)


def test_fork_erases_twice_with_the_second_on_top():
    images, modality = batch(4000, 16, 8)
    still = {"flip": 0, "pad": 0, "jitter": 0}
    values = {"erasing": {"value": (7, 7, 7), "area": (0.02, 0.4)}}
    second = {**FORK_SECOND, "value": (9, 9, 9)}
    result = build("fork", **still, **values, channel_erasing=second)(images, modality, KEY).images
    first, last = ((result == value).flatten(1).any(1) for value in (7.0, 9.0))
    assert last.float().mean().item() == pytest.approx(0.5, abs=0.03)
    both = build("fork", **still, erasing={**values["erasing"], "probability": 1}, channel_erasing=second)
    assert (both(images, modality, KEY).images == 7).flatten(1).any(1)[~last].all()
    assert first[~last].float().mean().item() == pytest.approx(0.5, abs=0.03)
    area = (result[last] == 9).float().mean(dim=(1, 2, 3))
    assert area.max() < 0.48
    assert area.mean().item() == pytest.approx(0.2, abs=0.03)


def test_fork_defaults_are_the_released_ones():
    config = ForkConfig()
    assert (config.erasing.probability, config.erasing.area, config.erasing.value) == (0.5, (0.02, 0.4), (0, 0, 0))
    assert (config.erasing.ratio, config.erasing.ratio_law, config.erasing.attempts) == ((0.3, 3.3), "log-uniform", 10)
    second = config.channel_erasing
    assert (second.probability, second.area, second.value) == (0.5, (0.02, 0.4), (0.4914, 0.4822, 0.4465))
    assert (second.ratio, second.ratio_law, second.attempts) == ((0.3, 1 / 0.3), "uniform", 100)


def test_config_is_strict():
    with pytest.raises(UserError, match="did you mean 'visible_views'"):
        parse(FullConfig, {"name": "full", "visible_view": 2}, "augmentation")


def test_tvi_lfm_shows_every_visible_image_twice():
    images, modality = batch(count=400, height=16, width=8)
    still = build("tvi_lfm", visible_views=2, flip=0, pad=0, visible_erasing=0, infrared_erasing=0)
    result, visible = still(images, modality, KEY), modality == int(Modality.VISIBLE)
    assert result.rows.tolist() == [*range(400), *visible.nonzero()[:, 0].tolist()]
    assert result.view.tolist() == [0] * 400 + [1] * 200
    plain = normalise(images)[result.rows]
    changed = (result.images != plain).flatten(1).any(1)
    alike = (result.images[:, :1] == result.images).flatten(1).all(1)  # every channel the same
    first, second = changed[:400][visible], changed[400:]
    assert 0.03 < first.float().mean() < 0.2  # gray 0.1
    assert not alike[:400][visible].any()  # grey pixels, normalised per channel
    assert 0.4 < second.float().mean() < 0.6  # exchange 0.5
    assert torch.equal(second, alike[400:])
    infrared = changed[:400][~visible]
    assert 0.85 < infrared.float().mean() < 0.95  # 0.75 one channel, 0.15 luminance
    assert torch.equal(infrared, alike[:400][~visible])


def test_tvi_lfm_erases_by_modality():
    images, modality = batch(count=400, height=16, width=8)
    quiet_one = {"flip": 0, "pad": 0, "gray": 0, "exchange": 0, "adaptive_channel": 0, "adaptive_gray": 0}
    result = build("tvi_lfm", **quiet_one)(images, modality, KEY)
    changed = (result.images != normalise(images)).flatten(1).any(1)
    visible = modality == int(Modality.VISIBLE)
    assert 0.5 < changed[visible].float().mean() < 0.7
    assert 0.4 < changed[~visible].float().mean() < 0.6


def test_deen_s_gray_is_the_luminance_of_half_of_the_images():
    images, modality = batch(64)
    off = {"flip": 0, "pad": 0, "erasing": UNERASED}
    gray = build("deen", gray=1, **off)(images, modality, KEY).images
    weights = torch.tensor(LUMINANCE).view(1, 3, 1, 1)
    expected = (images * weights).sum(1, keepdim=True).round().to(torch.uint8).expand_as(images)
    assert torch.allclose(gray, normalise(expected), atol=1.01 / 255 / min(STD))  # a level where .5 is rounded
    half = build("deen", **off)(images, modality, KEY).images
    turned = ~torch.isclose(half, normalise(images)).flatten(1).all(1)
    assert 20 <= int(turned.sum()) <= 44


def test_caj_s_second_view_has_one_channel_and_infrared_one_luminance_or_its_own():
    from vireid.overrides import compose

    config = compose(
        ["model=caj_small", "augmentation=caj", "augmentation.pad=1", "augmentation.erasing.probability=0"]
    ).augmentation
    images, modality = batch(512, 8, 4)
    result = FullAugmentation(config)(images, modality, KEY)
    equal = (result.images == result.images[:, :1]).flatten(1).all(1)
    infrared = modality[result.rows] == int(Modality.INFRARED)
    first, second = ~infrared & (result.view == 0), result.view == 1
    assert int(second.sum()) == int(first.sum()) == 256
    assert equal[second].all()
    assert not equal[first].any()
    assert equal[infrared].float().mean().item() == pytest.approx(7 / 8, abs=0.07)
