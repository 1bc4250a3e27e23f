"""Two-level fractions of a factorial: fewer cells, from which the effects that matter can still be told apart.

A fraction crosses the first k−p factors and sets every further one by the product of some of these (its generator), so
that 2^(k−p) cells stand for 2^k. Its resolution is the shortest product of factors that is constant over all cells: at
5, every main effect and every pair stands apart from every other, and is mixed up with products of three or more alone.
"""

from itertools import combinations, product

# (resolution, factors) -> generators of the last factors, by position: Box, Hunter and Hunter, Statistics for
# Experimenters (1978), table 12.15; Montgomery, Design and Analysis of Experiments, table 8.14.
_GENERATORS: dict[tuple[int, int], list[str]] = {
    (3, 3): ["AB"],
    (3, 5): ["AB", "AC"],
    (3, 6): ["AB", "AC", "BC"],
    (3, 7): ["AB", "AC", "BC", "ABC"],
    (4, 4): ["ABC"],
    (4, 6): ["ABC", "BCD"],
    (4, 7): ["ABC", "BCD", "ACD"],
    (4, 8): ["BCD", "ACD", "ABC", "ABD"],
    (5, 5): ["ABCD"],
    (5, 6): ["ABCDE"],
    (5, 7): ["ABCDEF"],
    (5, 8): ["ABCD", "ABEF"],
}

Effect = frozenset[int]  # positions of the factors whose product it is


def check_fraction(factors: int, resolution: int) -> None:
    """Raise ValueError where no fraction of that resolution is tabulated for so many factors."""
    if (resolution, factors) not in _GENERATORS:
        known = ", ".join(f"{count} at resolution {level}" for level, count in _GENERATORS)
        raise ValueError(
            f"fractional_factorial: no fraction of {factors} factors at resolution {resolution}; there are {known}; "
            "use full_factorial, or another resolution"
        )


def fraction(factors: int, resolution: int) -> list[list[bool]]:
    """Cells × factors, True at a factor's second level. The cell with every factor at its first level is among them.

    A generated factor is on where an odd number of its generator's factors is: the fraction of Box and Hunter up to the
    names of the levels, so that it holds the baseline, and its aliases up to their sign.
    """
    check_fraction(factors, resolution)
    generators = [_positions(text) for text in _GENERATORS[resolution, factors]]
    crossed = product([False, True], repeat=factors - len(generators))
    return [[*row, *(sum(row[at] for at in rule) % 2 == 1 for rule in generators)] for row in crossed]


def alias_groups(factors: int, resolution: int) -> list[list[Effect]]:
    """For every main effect and pair, first in its group: the products that the fraction cannot tell from it.

    Shortest first; of each group those products that are no longer than the fraction's resolution less one are the ones
    to worry about, and all are listed.
    """
    check_fraction(factors, resolution)
    generators = _GENERATORS[resolution, factors]
    base = factors - len(generators)
    words = [_positions(text) | {base + number} for number, text in enumerate(generators)]
    constant: set[Effect] = {frozenset()}
    for word in words:
        constant |= {word ^ other for other in constant}
    singles = [frozenset([factor]) for factor in range(factors)]
    pairs = [frozenset(pair) for pair in combinations(range(factors), 2)]
    groups: list[list[Effect]] = []
    for effect in (*singles, *pairs):
        if all(effect not in group for group in groups):
            others = sorted((effect ^ word for word in constant if word), key=lambda one: (len(one), sorted(one)))
            groups.append([effect, *others])
    return groups


def _positions(text: str) -> Effect:
    return frozenset(ord(letter) - ord("A") for letter in text)
