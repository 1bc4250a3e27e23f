"""Numbers and intervals as tables and sentences print them."""

from vireid.core.messages import DASH
from vireid.statistics.seeds import Difference


def seeds_phrase(n: int) -> str:
    """``"1 seed, no effect claimed"`` and the like, for fewer than ``MIN_SEEDS``."""
    return f"{n} seed{'s' if n != 1 else ''}, no effect claimed"


def signed(value: float, decimals: int = 1) -> str:
    """Number with its sign, a true minus, and no negative zero."""
    text = f"{value:+.{decimals}f}"
    return text.replace("-", "−") if float(text) != 0 else f"±{0:.{decimals}f}"


def points(change: Difference, metric: str = "") -> str:
    """A difference of fractions in points of percent, with its interval: ``"+2.1 mAP [1.2, 3.0]"``."""
    text = " ".join(filter(None, [signed(100 * change.mean), metric]))
    return f"{text} {interval(change)}".rstrip()


def interval(change: Difference) -> str:
    """``"[1.2, 3.0]"`` in points of percent; empty without an interval."""
    if change.low is None or change.high is None:
        return ""
    return f"[{_plain(100 * change.low)}, {_plain(100 * change.high)}]"


def p_text(value: float | None) -> str:
    """A p value as tables print it; a dash where nothing was tested."""
    return DASH if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _plain(value: float) -> str:
    return signed(value).lstrip("+±")
