"""Taking colour words out of sentences on infrared images, which show none (TVI-LFM, Hu et al., NeurIPS 2024)."""

import re

_NAMES = """
    amber apricot aqua aquamarine auburn azure beige black blonde blond blue bluish bronze brown brownish brunette
    burgundy camel caramel charcoal chocolate cobalt colourful colorful copper coral cream crimson cyan emerald fuchsia
    ginger gold golden gray grayish green greenish grey greyish indigo ivory jade khaki lavender lilac lime magenta
    mahogany maroon mauve multicolored multicoloured multicolor mustard navy neon ochre olive orange orangish pastel
    peach pink pinkish plum purple purplish red reddish rose ruby rust saffron salmon scarlet silver tan taupe teal
    terracotta turquoise vermilion violet white whitish yellow yellowish
"""
COLOURS = frozenset(_NAMES.split())
_SHADES = "bright|dark|deep|half|light|pale|royal|sky|sea|baby|forest|mint"  # go with the colour that they shade
_COLOUR = (
    rf"(?:(?:{_SHADES})[\s-]+)*(?:{'|'.join(sorted(COLOURS, key=len, reverse=True))})"
    r"(?:[\s-]+colou?r(?:ed|s)?)?"
)
_LINK = r"(?:\s*,\s*(?:and\s+)?|\s*/\s*|[\s-]+(?:and|or)[\s-]+|[\s-]+)"
_FOUND = re.compile(
    rf"(?P<article>\b(?:a|an)\s+)?\b{_COLOUR}(?:{_LINK}{_COLOUR})*\b(?(article)\s*,?)[\s-]*(?P<next>\w*)", re.IGNORECASE
)
_LEFT_ALONE = re.compile(
    r"\s+(?:in|of|with|and|or|(?:that|which)\s+(?:is|are))(?:\s+colou?rs?)?(?=\s*(?:[.,;:!?]|$))", re.IGNORECASE
)
_IN_COLOUR = re.compile(r"\s+in\s+colou?rs?\b", re.IGNORECASE)
_CONSONANT_SOUND = ("uni", "use", "eu", "one")  # begin with a vowel that is not heard as one


def without_colours(text: str) -> str:
    """Delete colour words with their shades and conjunctions; repair articles, spaces and the first letter.

    What stays empty is returned as an empty string.
    """
    result = _IN_COLOUR.sub("", _FOUND.sub(_replaced, text))
    result = _LEFT_ALONE.sub("", result)
    result = re.sub(r"\s+([.,;:!?])", r"\1", re.sub(r"\s{2,}", " ", result))
    result = re.sub(r"([,;:])(?=[.,;:!?])", "", result).strip(" ,;:-")
    if not re.search(r"\w", result):
        return ""
    return result[0].upper() + result[1:] if text[:1].isupper() else result


def _replaced(found: re.Match[str]) -> str:
    following = found["next"]
    if not found["article"]:
        return following
    if not following:
        return ""
    word = following.lower()
    vowel = word[0] in "aeiou" and not word.startswith(_CONSONANT_SOUND)
    article = "an " if vowel else "a "
    return (article.capitalize() if found["article"][0].isupper() else article) + following
