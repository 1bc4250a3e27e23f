"""Earlier spellings of commands: they run as before, after one remark on what they are called now."""

from pathlib import Path
from typing import Any

from typer.core import TyperGroup

from vireid.core.messages import printer

# Options that ``vireid evaluate`` had for features files.
_OF_FEATURES = {"--rule", "--cmc", "--query-cam-array", "--protocol", "--mode", "--direction", "--shots", "--trials"}
_OF_FEATURES |= {"--split", "--regdb-split", "--normalize", "--no-normalize", "--rerank", "--variant", "--k1", "--k2"}
_OF_FEATURES |= {"--lambda", "--search"}


class Commands(TyperGroup):
    """The commands under their names of now and of before."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # of click, or of the copy that typer brings
        """As click's, with earlier spellings replaced."""
        return super().resolve_command(ctx, _spelt_as_now(args))


def _spelt_as_now(args: list[str]) -> list[str]:
    command, *rest = args
    if command == "loss-terms":
        before, now = "loss-terms", ["dev", "loss-terms"]
    elif command == "evaluate" and "--compare" in rest:
        before, now = "evaluate --compare", ["compare"]
        rest.remove("--compare")
    elif command == "evaluate" and any(_is_of_features(word) for word in rest):
        before, now = "evaluate FEATURES.npz", ["score"]
    else:
        return args
    remark = f"`vireid {before}` is called `vireid {' '.join(now)}` now"
    printer(stderr=True).print(remark, style="dim", soft_wrap=True)
    return [*now, *rest]


def _is_of_features(word: str) -> bool:
    option = word.partition("=")[0] if word.startswith("-") else None
    return option in _OF_FEATURES or word.endswith(".npz") or (option is None and _is_file(word))


def _is_file(word: str) -> bool:
    try:
        return Path(word).is_file()
    except OSError:  # too long for a name
        return False
