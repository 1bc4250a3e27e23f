"""Python's collector of cycles, out of the way while very many objects are made that have none."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Look for no cycles within.

    A million values of parsed JSON make the collector walk through all that is there again and again: half of the time.
    What was made counts as old at once: it would be walked through at the end all the same, as what is young is.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            if not gc.get_freeze_count():
                gc.freeze()
                gc.unfreeze()
            gc.enable()


@contextlib.contextmanager
def collector_spared() -> Iterator[None]:
    """Keep what is there already out of collections within.

    For libraries that ask for a whole collection themselves: it walks through every record that a report holds.
    """
    if gc.get_freeze_count():  # whoever froze objects before wants them to stay so
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
