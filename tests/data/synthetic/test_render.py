from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vireid.data.synthetic.cameras import Camera
from vireid.data.synthetic.places import FRAME
from vireid.data.synthetic.render import Person, Rendering, cameras_for, draw_person, render

SYSU = cameras_for("sysu", 3)
THERMAL = cameras_for("regdb", 3)["thermal", 1]


def shoot(person: Person, camera: Camera, shot: int = 1, height: int = 96, width: int = 48) -> Rendering:
    return render(person, camera, seed=3, shot=shot, height=height, width=width)


def patterned_person() -> Person:
    people = (draw_person(3, identity) for identity in range(100))
    return next(p for p in people if p.upper.pattern == "checks" and p.bag != "none" and p.upper.ink == "strong")


def recoloured(person: Person) -> Person:
    return replace(
        person,
        upper=replace(person.upper, colour="pink", second_colour="green"),
        lower=replace(person.lower, colour="olive", second_colour="sky blue"),
        hair_colour="grey" if person.hair_colour != "grey" else "red",
        headwear_colour="orange",
        inner_colour="purple",
        footwear_colour="white" if person.footwear_colour != "white" else "red",
        bag_colour="yellow",
    )


def in_other_material(person: Person) -> Person:
    return replace(
        person,
        upper=replace(person.upper, material="carbon-dyed", ink="vanishing"),
        lower=replace(person.lower, material="polyester", ink="vanishing"),
        headwear_material="leather",
        inner_material="polyester",
        footwear_material="polyester",
        bag_material="carbon-dyed",
        reflectance_shift=0.03,
    )


@pytest.mark.parametrize("camera", [SYSU["visible", 1], SYSU["nir", 6], THERMAL], ids=lambda c: c.name)
def test_a_shot_is_a_pure_function_of_its_arguments(camera: Camera) -> None:
    person = draw_person(3, 5)
    first, other = shoot(person, camera), shoot(person, camera, shot=2)
    shoot(draw_person(3, 6), camera)
    again = shoot(person, camera)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.mask, again.mask)
    assert first.box == again.box
    assert not np.array_equal(first.image, other.image)
    assert first.box != other.box


def test_other_seed_identity_and_camera_give_other_images() -> None:
    person, camera = draw_person(3, 5), SYSU["visible", 1]
    images = [
        shoot(person, camera).image,
        render(person, camera, seed=4, shot=1, height=96, width=48).image,
        shoot(draw_person(3, 6), camera).image,
        shoot(person, SYSU["visible", 2]).image,
    ]
    assert len({image.tobytes() for image in images}) == len(images)


@pytest.mark.parametrize("camera", [SYSU["nir", 3], SYSU["nir", 6], THERMAL], ids=lambda c: c.name)
def test_infrared_is_grey_and_knows_no_colour(camera: Camera) -> None:
    person = patterned_person()
    for shot in range(4):
        image = shoot(person, camera, shot).image
        assert np.array_equal(image[..., 0], image[..., 1])
        assert np.array_equal(image[..., 0], image[..., 2])
        assert np.array_equal(image, shoot(recoloured(person), camera, shot).image)


def test_visible_knows_no_material() -> None:
    person = patterned_person()
    for number in (1, 2, 4, 5):
        camera = SYSU["visible", number]
        assert np.array_equal(shoot(person, camera).image, shoot(in_other_material(person), camera).image)


def test_each_modality_does_show_what_it_alone_knows() -> None:
    person = patterned_person()
    visible = [shoot(p, SYSU["visible", 1]).image.astype(int) for p in (person, recoloured(person))]
    assert np.abs(visible[0] - visible[1]).mean() > 2
    for camera in (SYSU["nir", 3], THERMAL):
        infrared = [shoot(p, camera).image.astype(int) for p in (person, in_other_material(person))]
        assert np.abs(infrared[0] - infrared[1]).mean() > 1


def test_pattern_fades_in_the_near_infrared_with_its_ink() -> None:
    person, camera = replace(patterned_person(), reflectance_shift=0.0), SYSU["nir", 3]

    def contrast(ink: str) -> float:
        change = 0.0
        plain = replace(person, upper=replace(person.upper, pattern="plain"))
        inked = replace(person, upper=replace(person.upper, ink=ink))
        for shot in range(3):
            pair = [shoot(p, camera, shot).image.astype(float) for p in (plain, inked)]
            change += float(np.abs(pair[0] - pair[1]).mean())
        return change

    assert contrast("strong") > 2 * contrast("faint") > 0
    assert contrast("vanishing") == 0


def test_masks_boxes_and_shapes_are_sensible() -> None:
    cameras = [*SYSU.values(), *cameras_for("regdb", 3).values(), *cameras_for("llcm", 3).values()]
    shares: list[float] = []
    for number, camera in enumerate(cameras):
        rendering = shoot(draw_person(3, number), camera, shot=number, height=144, width=72)
        assert rendering.image.shape == (144, 72, 3)
        assert rendering.image.dtype == np.uint8
        assert rendering.mask.shape == (144, 72)
        x0, y0, x1, y1 = rendering.box
        assert 0 <= x0 < x1 <= FRAME[0]
        assert 0 <= y0 < y1 <= FRAME[1]
        assert (x1 - x0) / (y1 - y0) == pytest.approx(0.5, abs=0.02)
        shares.append(float(rendering.mask.mean()))
    assert all(0.10 < share < 0.70 for share in shares)
    assert 0.2 < np.mean(shares) < 0.45


def test_size_of_the_file_changes_sampling_not_the_picture() -> None:
    person, camera = draw_person(3, 2), SYSU["visible", 4]
    small = shoot(person, camera, height=96, width=48)
    large = shoot(person, camera, height=288, width=144)
    assert small.box == large.box
    reduced = large.image.reshape(96, 3, 48, 3, 3).mean(axis=(1, 3))
    assert np.abs(reduced - small.image).mean() < 5


def test_the_background_is_drawn_per_shot_not_per_identity() -> None:
    camera = SYSU["visible", 2]
    lefts = np.array([[shoot(draw_person(3, i), camera, s).box[0] for s in range(8)] for i in range(12)], dtype=float)
    assert lefts.mean(axis=1).std() < 0.75 * lefts.std(axis=1).mean()
    assert len(np.unique(lefts)) > 80


def test_cameras_of_the_layouts() -> None:
    assert set(SYSU) == {("visible", 1), ("visible", 2), ("nir", 3), ("visible", 4), ("visible", 5), ("nir", 6)}
    assert set(cameras_for("regdb", 0)) == {("visible", 1), ("thermal", 1)}
    llcm = set(cameras_for("llcm", 0))
    assert {n for s, n in llcm if s == "visible"} == set(range(1, 10))
    assert {n for s, n in llcm if s == "nir"} == {1, 2, 4, 5, 6, 7, 8, 9}
