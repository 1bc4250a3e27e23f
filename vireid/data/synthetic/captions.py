"""Captions of synthetic images from the attributes that were drawn, in the ``Text/`` layout of TVI-LFM.

Hu et al., "Empowering Visible-Infrared Person Re-Identification with Large Foundation Models", NeurIPS 2024. There a
captioner describes each image and a language model rephrases it; here a grammar does both. What a modality cannot show
is not said: infrared captions know no colour, and a pattern only where its ink shows, in the near infrared unless it
vanishes there, in the thermal if it is strong (a thick print holds warmth). The folder names of that release are kept
because readers look for them, and so is a root in front of the paths, which a reader has to replace.

``Text/Witness_IR`` is the suite's own: what somebody who saw the person by daylight says of the one on an infrared
image. A witness knows colours, and finds words of their own: they are drawn anew, not taken from a visible image.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from vireid.core.seeding import generator
from vireid.core.types import Modality
from vireid.data.synthetic.attributes import Garment
from vireid.data.synthetic.config import SyntheticConfig
from vireid.data.synthetic.render import Person, Spectrum, draw_person
from vireid.data.synthetic.shots import Shot

_PLURAL = ("trousers", "wide trousers", "shorts")
_CUTS = ("wide trousers", "short skirt", "long skirt")  # the cut goes before the colour: a long red skirt
_SLEEVES = {"short": "short-sleeved", "long": "long-sleeved", "none": "sleeveless"}
_SLEEVES_SAID_OF = ("shirt", "dress")  # the other names imply their sleeves
_INKS_SEEN = {"nir": ("strong", "faint"), "thermal": ("strong",)}
_PATTERNS = {"print": "a {}print", "side stripe": "a {}side stripe"}


@dataclass(frozen=True, slots=True)
class Clause:
    """Phrases about one person, each complete with its article.

    ``looks`` are what a person has (hair, headwear), ``clothes_worn`` upper garment first, ``carried`` bags.
    """

    who: str
    looks: tuple[str, ...]
    clothes_worn: tuple[str, ...]
    carried: tuple[str, ...]

    def some(self, rng: np.random.Generator) -> Self:
        """Leave out a few phrases, as a captioner does; the first two garments always stay."""
        return replace(
            self,
            looks=tuple(phrase for phrase in self.looks if rng.random() < 0.7),
            clothes_worn=self.clothes_worn[:2] + tuple(p for p in self.clothes_worn[2:] if rng.random() < 0.6),
            carried=tuple(phrase for phrase in self.carried if rng.random() < 0.9),
        )

    def reordered(self, rng: np.random.Generator) -> Self:
        """Say the same in another order."""
        return replace(
            self,
            looks=tuple(self.looks[i] for i in rng.permutation(len(self.looks))),
            clothes_worn=tuple(self.clothes_worn[i] for i in rng.permutation(len(self.clothes_worn))),
        )

    def person(self) -> str:
        """Who it is, with looks: ``a tall person with long hair and a cap``."""
        return f"{self.who} with {join(self.looks)}" if self.looks else self.who

    def clothes(self) -> str:
        """What is worn: ``a striped t-shirt and trousers``."""
        return join(self.clothes_worn)

    def carrying(self) -> str:
        """What is carried, with its comma, or nothing."""
        return f", carrying {join(self.carried)}" if self.carried else ""


def join(phrases: Sequence[str]) -> str:
    """List phrases in English: ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(phrases[:-1]), *phrases[-1:]]))


def with_article(phrase: str) -> str:
    """Put ``a`` or ``an`` in front."""
    return f"{'an' if phrase[0].lower() in 'aeio' else 'a'} {phrase}"


def wording(person: Person, spectrum: Spectrum) -> Clause:
    """Phrases for what an image of ``person`` in ``spectrum`` shows."""
    seen = spectrum == "visible"
    who = [word for word in (person.height, person.build) if word not in ("medium", "average")]
    looks = [] if person.headwear == "hood" else [_hair(person, seen)]
    if person.headwear == "hood":
        looks.append("the hood up")
    elif person.headwear != "none":
        looks.append(with_article(_joined(seen and person.headwear_colour, person.headwear)))
    clothes = [_upper(person, spectrum)]
    if person.lower.kind != "dress":
        clothes.append(_garment(person.lower, spectrum))
    clothes.append(_joined(seen and person.footwear_colour, person.footwear))
    carried = [] if person.bag == "none" else [_joined(person.bag_size, seen and person.bag_colour, person.bag)]
    return Clause(
        with_article(" ".join([*who, "person"])), tuple(looks), tuple(clothes), tuple(map(with_article, carried))
    )


def _hair(person: Person, seen: bool) -> str:
    colour = seen and person.hair_colour
    match person.hair_style:
        case "bald":
            return "a bald head"
        case "bob" | "ponytail":
            return with_article(_joined(colour, person.hair_style))
        case "bun":
            return f"{_joined(colour, 'hair')} in a bun"
        case style:
            return _joined(style, colour, "hair")


def _upper(person: Person, spectrum: Spectrum) -> str:
    upper = person.upper
    first = ["open"] if person.open_front else ["tucked-in"] if person.tucked else []
    if upper.kind in _SLEEVES_SAID_OF:
        first.append(_SLEEVES[upper.sleeves])
    phrase = _garment(upper, spectrum, *first)
    if person.open_front:
        below = with_article(_joined(spectrum == "visible" and person.inner_colour, "top"))
        phrase = f"{phrase} over {below}"
    return phrase


def _garment(garment: Garment, spectrum: Spectrum, *adjectives: str) -> str:
    """A garment with its article, colours where they show, and pattern where it shows."""
    seen = spectrum == "visible"
    shows = garment.pattern != "plain" and (seen or garment.ink in _INKS_SEEN[spectrum])
    colour = garment.colour if seen else ""
    after = ""
    if shows and garment.pattern == "two-tone":
        colour = f"{garment.colour} and {garment.second_colour}" if seen else "two-tone"
    elif shows:
        second = f"{garment.second_colour} " if seen else ""
        after = " with " + _PATTERNS.get(garment.pattern, f"{{}}{garment.pattern}").format(second)
        after = after.replace(" a orange", " an orange").replace(" a olive", " an olive")
    *cut, noun = garment.kind.split() if garment.kind in _CUTS else [garment.kind]
    phrase = _joined(*adjectives, *cut, colour, noun)
    return (phrase if garment.kind in _PLURAL else with_article(phrase)) + after


def _joined(*terms: str | bool) -> str:
    """Join words, leaving out what is empty or False."""
    return " ".join(str(term) for term in terms if term)


CAPTIONER = "Blip"
WITNESS = "Witness"
KEY_ROOT = {"sysu": "datasets/SYSU-MM01/", "regdb": "datasets/RegDB/", "llcm": "datasets/LLCM/"}
_FOLDER = {Modality.VISIBLE: "RGB", Modality.INFRARED: "IR"}

_DESCRIPTIONS = (
    "{person} wearing {clothes}{carrying}",
    "{person} in {clothes}{carrying}",
    "there is {person} who is wearing {clothes}{carrying}",
    "{person} walking in {clothes}{carrying}",
    "a full body picture of {person} wearing {clothes}{carrying}",
    "{person} dressed in {clothes}{carrying}",
)
_REPHRASINGS = (
    "The image shows {person}, dressed in {clothes}{carrying}.",
    "Pictured is {person} who has {clothes} on{carrying}.",
    "Seen here is {person} whose outfit is {clothes}{carrying}.",
    "Dressed in {clothes}, {person} is moving through the scene{carrying}.",
    "This pedestrian is {person}, outfitted with {clothes}{carrying}.",
)
_OTHER_WORDS = (
    ("trousers", "pants"),
    ("backpack", "rucksack"),
    ("handbag", "purse"),
    ("t-shirt", "tee"),
    ("dots", "spots"),
    ("sneakers", "trainers"),
    ("shoes", "footwear"),
    ("slim", "slender"),
    ("broad", "heavily built"),
    ("carrying", "holding"),
    ("person", "figure"),
)


def caption(clause: Clause, rng: np.random.Generator) -> tuple[str, str]:
    """A description as a captioner would give it, and a rephrasing of the same facts."""
    chosen = clause.some(rng)
    description = _fill(_DESCRIPTIONS, chosen, rng)
    rephrasing = _fill(_REPHRASINGS, chosen.reordered(rng), rng)
    for word, other in _OTHER_WORDS:
        if rng.random() < 0.5:
            rephrasing = re.sub(rf"\b{word}\b", other, rephrasing)
    return description, rephrasing


def _fill(templates: Sequence[str], clause: Clause, rng: np.random.Generator) -> str:
    template = templates[int(rng.integers(len(templates)))]
    return template.format(person=clause.person(), clothes=clause.clothes(), carrying=clause.carrying())


def caption_files(config: SyntheticConfig, shots: Sequence[Shot]) -> dict[str, str]:
    """Content of the caption files by relative path.

    Under ``Text/Blip_RGB`` and ``Text/Blip_IR``, with ``<N>`` the folder's name: ``caption_dict_<N>.json`` maps a path
    to its identity and ``description``, ``caption_llm_dict_<N>.json`` adds ``aug_description``, and
    ``id_caption_map_<N>.json`` maps an identity to the descriptions of its images.
    """
    people = {identity: draw_person(config.seed, identity) for identity in sorted({s.identity for s in shots})}
    files: dict[str, str] = {}
    for modality, suffix in _FOLDER.items():
        seen = [shot for shot in shots if shot.modality is modality]
        clauses = [wording(people[shot.identity], shot.spectrum) for shot in seen]
        files |= _folder(config, f"{CAPTIONER}_{suffix}", "synthetic/caption", seen, clauses)
    return files | witness_files(config, shots)


def witness_files(config: SyntheticConfig, shots: Sequence[Shot]) -> dict[str, str]:
    """Content of the files of ``Text/Witness_IR`` by relative path."""
    people = {identity: draw_person(config.seed, identity) for identity in sorted({s.identity for s in shots})}
    seen = [shot for shot in shots if shot.modality is Modality.INFRARED]
    clauses = [wording(people[shot.identity], "visible") for shot in seen]
    return _folder(config, f"{WITNESS}_{_FOLDER[Modality.INFRARED]}", "synthetic/witness", seen, clauses)


def _folder(
    config: SyntheticConfig, name: str, stream: str, shots: Sequence[Shot], clauses: Sequence[Clause]
) -> dict[str, str]:
    plain: dict[str, dict[str, str]] = {}
    rephrased: dict[str, dict[str, str]] = {}
    by_identity: dict[str, list[str]] = {}
    for shot, clause in zip(shots, clauses, strict=True):
        rng = generator(config.seed, stream, shot.identity, shot.spectrum, shot.camera, shot.number)
        description, rephrasing = caption(clause, rng)
        key, identity = KEY_ROOT[config.layout] + shot.path, str(shot.identity)
        plain[key] = {"id": identity, "description": description}
        rephrased[key] = {"id": identity, "description": description, "aug_description": rephrasing}
        by_identity.setdefault(identity, []).append(description)
    return {
        f"Text/{name}/caption_dict_{name}.json": _json(plain),
        f"Text/{name}/caption_llm_dict_{name}.json": _json(rephrased),
        f"Text/{name}/id_caption_map_{name}.json": _json(by_identity),
    }


def _json(content: Any) -> str:
    return json.dumps(content, indent=1) + "\n"
