from __future__ import annotations

from collections import Counter

from vireid.data.synthetic.attributes import COLOURS, MATERIALS, STYLES, draw_person, wardrobe

PEOPLE = [draw_person(7, identity) for identity in range(300)]


def test_people_are_a_function_of_seed_and_identity() -> None:
    draw_person.cache_clear()
    assert draw_person(7, 11) == PEOPLE[11]
    assert draw_person(8, 11) != PEOPLE[11]


def test_the_wardrobe_is_limited_so_similar_outfits_occur() -> None:
    uppers = Counter(person.upper for person in PEOPLE)
    assert uppers.most_common(1)[0][1] >= 3
    assert len(uppers) > 30
    assert sum(len(part) for style in STYLES for part in wardrobe(7)[style]) >= len(set(uppers))


def test_shared_attributes_tell_nearly_everybody_apart_in_a_gallery_of_fifty() -> None:
    for start in range(0, 300, 50):
        tuples = Counter(person.shared_attributes() for person in PEOPLE[start : start + 50])
        assert sum(1 for number in tuples.values() if number == 1) >= 45


def test_attributes_name_only_what_their_modality_shows() -> None:
    for person in PEOPLE:
        shared = " ".join(person.shared_attributes())
        infrared = " ".join(person.infrared_attributes())
        visible = " ".join(person.visible_attributes())
        assert not any(colour in f"{shared} {infrared}".replace("carbon-dyed", "").split() for colour in COLOURS)
        assert not any(material in f"{shared} {visible}".split() for material in MATERIALS)


def test_a_dress_is_one_garment() -> None:
    dresses = [person for person in PEOPLE if person.upper.kind == "dress"]
    assert dresses
    assert all(person.lower == person.upper for person in dresses)


def test_every_attribute_value_occurs() -> None:
    for name, least in (("build", 3), ("height", 3), ("hair_style", 7), ("headwear", 5), ("bag", 4), ("footwear", 3)):
        assert len({getattr(person, name) for person in PEOPLE}) == least
