"""What can be said of a person in a spectrum, as phrases that a sentence is made of.

Colours are named in the visible alone. In the infrared a pattern is named where its ink shows: in the near infrared
unless it vanishes there, in the thermal if it is strong (a thick print holds warmth).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from vireid.data.synthetic.render import Person, Spectrum
from vireid.data.synthetic.wardrobe import Garment

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
        looks.append(with_article(_words(seen and person.headwear_colour, person.headwear)))
    clothes = [_upper(person, spectrum)]
    if person.lower.kind != "dress":
        clothes.append(_garment(person.lower, spectrum))
    clothes.append(_words(seen and person.footwear_colour, person.footwear))
    carried = [] if person.bag == "none" else [_words(person.bag_size, seen and person.bag_colour, person.bag)]
    return Clause(
        with_article(" ".join([*who, "person"])), tuple(looks), tuple(clothes), tuple(map(with_article, carried))
    )


def _hair(person: Person, seen: bool) -> str:
    colour = seen and person.hair_colour
    match person.hair_style:
        case "bald":
            return "a bald head"
        case "bob" | "ponytail":
            return with_article(_words(colour, person.hair_style))
        case "bun":
            return f"{_words(colour, 'hair')} in a bun"
        case style:
            return _words(style, colour, "hair")


def _upper(person: Person, spectrum: Spectrum) -> str:
    upper = person.upper
    first = ["open"] if person.open_front else ["tucked-in"] if person.tucked else []
    if upper.kind in _SLEEVES_SAID_OF:
        first.append(_SLEEVES[upper.sleeves])
    phrase = _garment(upper, spectrum, *first)
    if person.open_front:
        below = with_article(_words(spectrum == "visible" and person.inner_colour, "top"))
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
    phrase = _words(*adjectives, *cut, colour, noun)
    return (phrase if garment.kind in _PLURAL else with_article(phrase)) + after


def _words(*words: str | bool) -> str:
    """Join words, leaving out what is empty or False."""
    return " ".join(str(word) for word in words if word)
