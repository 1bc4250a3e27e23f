"""Where a study lies: in a store of one's own, or among the committed results."""

import os
from pathlib import Path

from vireid.core.errors import UserError, did_you_mean
from vireid.core.shipped import shipped
from vireid.remote.copy import store_folder

_PLAN = "plan.json"


def find_study(study: str | Path, store: str | Path | None = None) -> tuple[Path, str]:
    """The store that holds a study, and its name there.

    Args:
        study: its name, its folder, or its plan.
        store: root of the store that holds it; by default the first of those in ``stores()`` that does.

    Raises:
        UserError: there is none; the message lists those that there are.
    """
    path = Path(study)
    folder = path.parent if path.name == _PLAN else path
    if not store and (folder / _PLAN).is_file() and folder.parent.name == "studies":
        return folder.parents[1], folder.name
    roots = [store_folder(store)] if store else stores()
    for root in roots:
        if (root / "studies" / str(study) / _PLAN).is_file():
            return root, str(study)
    known = known_studies(store)
    nearest = did_you_mean(str(study), known)
    there = f"; there are: {', '.join(known)}" if "did you mean" in nearest else ""
    looked = ", ".join(map(str, roots)) or "no store"
    raise UserError(f"study '{study}': not in {looked}{nearest}{there}")


def known_studies(store: str | Path | None = None) -> list[str]:
    """Names of the studies in a store; by default in all of ``stores()``."""
    roots = [store_folder(store)] if store else stores()
    return sorted({plan.parent.name for root in roots for plan in root.glob(f"studies/*/{_PLAN}")})


def stores() -> list[Path]:
    """Where studies are looked for: ``VIREID_STORE``, results/local and results here, and those of the checkout."""
    chosen = os.environ.get("VIREID_STORE")
    roots = [*([store_folder(chosen)] if chosen else []), Path("results/local"), Path("results")]
    roots += [shipped("results") / "local", shipped("results")]
    unlike = {root.resolve(): root for root in reversed(roots) if root.is_dir()}
    return [root for root in roots if unlike.get(root.resolve()) is root]
