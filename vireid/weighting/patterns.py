"""Globs over the names of loss terms."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from vireid.core.errors import UserError, did_you_mean


def fitting(patterns: Sequence[str], names: Iterable[str], where: str, *, every: bool) -> list[bool]:
    """Which of ``names`` fit one of ``patterns``; ``where`` is the configuration key that holds them.

    With ``every`` each pattern must fit a name. Without it one fitting pattern is enough: a list may then name terms
    that another configuration of the model has.

    Raises:
        UserError: a pattern (``every``) or all of them fit nothing.
    """
    known = list(names)
    idle = [pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in known)]
    if every and idle:
        raise UserError(f"{where}: '{idle[0]}' fits no loss term{did_you_mean(idle[0], known)}")
    if patterns and len(idle) == len(patterns):
        raise UserError(f"{where}: none of {', '.join(patterns)} fits an active loss term; active: {', '.join(known)}")
    return [any(fnmatchcase(name, pattern) for pattern in patterns) for name in known]
