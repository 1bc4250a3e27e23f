"""Which people scores were measured on: deployed models are compared without pairing, so theirs must be the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from vireid.core.records import FitRecord

if TYPE_CHECKING:
    from vireid.report.records.choose import Deployable

People = frozenset[int]  # render seeds; none of real images, whose people go by the data's name


def people_of_fit(fit: FitRecord) -> People:
    """The seed that rendered a fit's people."""
    synthetic = fit.config.get("data", {}).get("synthetic")
    return frozenset({int(synthetic["seed"])}) if isinstance(synthetic, Mapping) and "seed" in synthetic else People()


def people_of(candidate: Deployable) -> People:
    """The people that a candidate's accuracy is a mean over."""
    scored = [fit for fit in candidate.model.fits if fit.id in candidate.fits]
    return People().union(*map(people_of_fit, scored))


def on_same_people(candidates: Iterable[Deployable]) -> tuple[list[Deployable], list[Deployable]]:
    """The largest group of candidates that share people, directly or through others, and all the rest.

    Seeds of one study overlap where some are missing; those of unlike studies do not.
    """
    groups: list[tuple[People, list[Deployable]]] = []
    for candidate in candidates:
        people, members = people_of(candidate), [candidate]
        apart = []
        for known, group in groups:
            if known & people or known == people:
                people, members = people | known, [*group, *members]
            else:
                apart.append((known, group))
        groups = [*apart, (people, members)]
    if not groups:
        return [], []
    chosen = max(groups, key=lambda group: (len(group[1]), sorted(group[0])))
    return chosen[1], [candidate for group in groups if group is not chosen for candidate in group[1]]


def render_seeds(candidates: Iterable[Deployable]) -> str:
    """The render seeds of candidates' people, such as ``101, 102``."""
    return ", ".join(map(str, sorted(People().union(*map(people_of, candidates)))))
