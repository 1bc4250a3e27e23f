from collections.abc import Sequence
from pathlib import Path

import pytest

from vireid.core.errors import UserError
from vireid.data.captioning.run import forget, in_batches

KEYS = [f"image {i}" for i in range(10)]


class KilledError(Exception):
    """Stands for the end of the process."""


def maker(calls: list[int], stop: int = 99):
    def make(number: int, some: Sequence[str]) -> list[str]:
        if number == stop:
            raise KilledError
        calls.append(number)
        return [f"{key} in batch {number}" for key in some]

    return make


def test_a_killed_run_takes_up_where_it_stopped(tmp_path: Path) -> None:
    target, whole = tmp_path / "captions.json", in_batches(tmp_path / "other.json", KEYS, maker([]), {"m": 1}, size=3)
    first: list[int] = []
    with pytest.raises(KilledError):
        in_batches(target, KEYS, maker(first, stop=2), {"m": 1}, size=3)
    notes = tmp_path / ".captions.json.partial"
    with notes.open("a") as file:
        file.write('{"batch": 2, "te')  # the kill came while a line was written
    second: list[int] = []
    seen: list[tuple[int, int]] = []
    found = in_batches(target, KEYS, maker(second), {"m": 1}, size=3, progress=lambda *at: seen.append(at))
    assert (first, second) == ([0, 1], [2, 3])
    assert found == whole
    assert seen[-1] == (10, 10)
    forget(target)
    assert not notes.exists()


def test_notes_of_other_settings_are_refused(tmp_path: Path) -> None:
    target = tmp_path / "captions.json"
    with pytest.raises(KilledError):
        in_batches(target, KEYS, maker([], stop=1), {"model": "a"}, size=3)
    with pytest.raises(UserError, match="begun with other settings"):
        in_batches(target, KEYS, maker([]), {"model": "b"}, size=3)


def test_a_kill_before_the_first_batch_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    target = tmp_path / "captions.json"
    with pytest.raises(KilledError):
        in_batches(target, KEYS, maker([], stop=0), {}, size=3)
    assert len(in_batches(target, KEYS, maker([]), {}, size=3)) == 10
