"""The one exception that reaches a user as a message instead of a traceback."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Bad input: the message names the thing, the place and the remedy. The CLI prints it and exits with 2."""


class TrainingDivergedError(UserError):
    """A loss became NaN or infinite; the message names the term, the epoch and the step."""


def did_you_mean(given: str, valid: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the valid name nearest to ``given``, or the whole list if none is near."""
    names = sorted(set(valid))
    near = difflib.get_close_matches(given, names, n=1, cutoff=0.5)
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; valid: {', '.join(names)}" if names else ""
