import json
import re

import pytest

from vireid.core.seeding import generator
from vireid.data.synthetic.attributes import COLOURS, HAIR_COLOURS
from vireid.data.synthetic.captions import KEY_ROOT, caption, join, with_article, wording
from vireid.data.synthetic.render import draw_person

OTHER_COLOURS = """colour coloured color colored dark light bright pale gray blonde violet gold golden silver cream tan
turquoise maroon khaki crimson teal magenta cyan lime scarlet burgundy lilac mauve"""
COLOUR_WORDS = set(" ".join([*COLOURS, *HAIR_COLOURS, OTHER_COLOURS]).split())


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower()))


def captions_of(spectrum: str, people: int = 200) -> list[tuple[int, str, str]]:
    return [
        (i, *caption(wording(draw_person(3, i), spectrum), generator(3, "test", spectrum, i))) for i in range(people)
    ]


@pytest.mark.parametrize("spectrum", ["nir", "thermal"])
def test_infrared_captions_know_no_colour(spectrum):
    for _, *texts in captions_of(spectrum):
        for text in texts:
            assert not words(text) & COLOUR_WORDS, text


def test_visible_captions_name_the_garments_and_their_true_colours():
    for identity, description, rephrasing in captions_of("visible"):
        person = draw_person(3, identity)
        for text in (description, rephrasing):
            assert person.upper.colour in text
            assert person.lower.colour in text
        assert person.upper.kind in description
        if person.bag == "none":
            assert not words(description) & {"carrying", "backpack", "handbag", "bag"}


@pytest.mark.parametrize(("spectrum", "inks"), [("nir", {"strong", "faint"}), ("thermal", {"strong"})])
def test_infrared_captions_name_a_pattern_only_where_its_ink_shows(spectrum, inks):
    people = [p for p in (draw_person(3, i) for i in range(400)) if p.upper.pattern != "plain"]
    assert {person.upper.ink for person in people} == {"strong", "faint", "vanishing"}
    for person in people:
        phrase = wording(person, spectrum).clothes_worn[0]
        assert (person.upper.pattern in phrase) == (person.upper.ink in inks), phrase


def test_sentences_vary_and_rephrasings_differ():
    texts = captions_of("visible")
    assert len({" ".join(description.split()[:3]) for _, description, _ in texts}) > 10
    assert all(description.lower() != rephrasing.lower().rstrip(".") for _, description, rephrasing in texts)


def test_articles_are_right_and_no_gap_is_left():
    for spectrum in ("visible", "nir", "thermal"):
        for _, *texts in captions_of(spectrum):
            for text in texts:
                assert not re.search(r"\ba [aeio]", text), text
                assert not re.search(r"\ban [^aeio]", text), text
                assert not re.search(r"\b(a|an|the) (a|an|the)\b", text), text
                assert "  " not in text
                assert " ," not in text
                assert "{" not in text


def test_listing():
    assert join([]) == ""
    assert join(["a"]) == "a"
    assert join(["a", "b"]) == "a and b"
    assert join(["a", "b", "c"]) == "a, b and c"
    assert with_article("open jacket") == "an open jacket"


@pytest.mark.parametrize("layout", ["sysu", "regdb", "llcm"])
def test_files_follow_the_text_layout(layout, datasets):
    root = datasets[layout]
    folders = {"RGB": ("cam1", "cam2", "cam4", "cam5", "Visible", "vis"), "IR": ("cam3", "cam6", "Thermal", "nir")}
    described = set()
    for suffix, places in folders.items():
        name = f"Blip_{suffix}"
        folder = root / "Text" / name
        plain, rephrased, by_identity = (
            json.loads((folder / f"{kind}_{name}.json").read_text())
            for kind in ("caption_dict", "caption_llm_dict", "id_caption_map")
        )
        assert plain.keys() == rephrased.keys()
        for key, row in plain.items():
            path = key.removeprefix(KEY_ROOT[layout])
            assert path != key
            assert path.split("/")[0] in places
            assert (root / path).is_file()
            assert rephrased[key]["description"] == row["description"]
            assert rephrased[key]["aug_description"] != row["description"]
            assert row["description"] in by_identity[row["id"]]
            assert int(row["id"]) == int(path.split("/")[1])
            described.add(path)
        assert sum(map(len, by_identity.values())) == len(plain)
    images = {path.relative_to(root).as_posix() for path in root.glob("**/*.jpg")}
    assert described == {path for path in images if not path.startswith("test_")}


def test_a_witness_names_the_true_colours_of_whoever_is_on_an_infrared_image(datasets):
    folder = datasets["sysu"] / "Text" / "Witness_IR"
    said = json.loads((folder / "caption_dict_Witness_IR.json").read_text())
    infrared = json.loads((datasets["sysu"] / "Text/Blip_IR/caption_dict_Blip_IR.json").read_text())
    assert said.keys() == infrared.keys()
    for key, row in said.items():
        person = draw_person(5, int(row["id"]))
        assert person.upper.colour in row["description"], key
        assert not words(infrared[key]["description"]) & COLOUR_WORDS
