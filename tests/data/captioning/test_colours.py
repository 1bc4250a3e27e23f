import re

import pytest

from vireid.data.captioning.generators import COLOURS, without_colours


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a man in a red and white striped shirt", "a man in a striped shirt"),
        ("a person wearing an orange jacket", "a person wearing a jacket"),
        ("a black umbrella", "an umbrella"),
        ("a navy-blue uniform", "a uniform"),
        ("a person in black", "a person"),
        ("Black shoes match.", "Shoes match."),
        ("a tall person in a red, long shirt", "a tall person in a long shirt"),
        ("a t-shirt that is white in color, and jeans", "a t-shirt, and jeans"),
        ("wearing a black colour full sleeves top", "wearing a full sleeves top"),
        ("a half-red and half-blue coat", "a coat"),
        ("shoes in gray, black and white.", "shoes."),
        ("a man with dark brown hair and a light jacket", "a man with hair and a light jacket"),
        ("a bordered, tanned, reduced two-tone jacket", "a bordered, tanned, reduced two-tone jacket"),
        ("black and white", ""),
    ],
)
def test_colours_go_and_sentences_stay(text: str, expected: str) -> None:
    assert without_colours(text) == expected


def test_no_colour_survives() -> None:
    for colour in COLOURS:
        for text in (f"a {colour} coat", f"Shoes in {colour}.", f"a {colour}-colored bag and {colour} hair"):
            assert not set(re.findall(r"\w+", without_colours(text).lower())) & COLOURS, text
