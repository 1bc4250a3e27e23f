"""Files of other people's boards: what is filed, and every broken, implausible or hostile one with its reason."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.bundle.contributions import (
    CARD,
    DESCRIPTION,
    GRAPH,
    MACS,
    SENSORS,
    contribution,
    entry,
    samples,
    sealed,
    write,
)
from tests.bundle.contributions import model as bundled
from tests.bundle.refused import BROKEN, HOSTILE, IMPLAUSIBLE, Change, both, changed, first
from vireid.bundle.contributed import check_devices, check_file, file_contribution, known_macs, version_of
from vireid.bundle.device.record import digest_of
from vireid.bundle.plausibility import drift
from vireid.core import contribution as schema
from vireid.core.errors import UserError
from vireid.core.peak import operations_per_cycle, seconds_at_least
from vireid.core.records import CostRecord
from vireid.store import Store

KNOWN = {(GRAPH, (96, 48)): MACS}
CASES = [
    pytest.param(case, words, id=f"{kind}: {name}")
    for kind, table in (("broken", BROKEN), ("hostile", HOSTILE), ("implausible", IMPLAUSIBLE))
    for name, (case, words) in table.items()
]


@pytest.mark.parametrize(("case", "words"), CASES)
def test_a_record_that_cannot_be_true_is_refused_with_its_reason(
    tmp_path: Path, case: bytes | str | Change, words: str
) -> None:
    file = write(tmp_path / "out.json", changed(case) if callable(case) else case)
    with pytest.raises(UserError) as caught:
        check_file(file, KNOWN)
    message = str(caught.value)
    assert words in message
    assert message.startswith(str(file))
    assert len(message.splitlines()) <= schema.MAX_FAULTS + 1
    assert len(message) < 1500


@pytest.mark.parametrize("change", ["samples", "digest", "id", "specification"])
def test_a_record_that_was_edited_is_refused(tmp_path: Path, change: str) -> None:
    content = contribution()
    if change == "samples":
        first(content)["seconds"][0] *= 0.5
    elif change == "digest":
        content["records"][0]["digest"] = "0" * 64
    elif change == "id":
        first(content)["id"] = "0" * 12
    else:
        content["records"][0]["specification"]["threads"] = 2
    with pytest.raises(UserError, match=r"was changed after it was made|edited"):
        check_file(write(tmp_path / "out.json", content), KNOWN)


def throttled() -> dict[str, Any]:
    seconds = [*samples(100, 0.05), *samples(100, 0.1, seed=3)]
    sensors = copy.deepcopy(SENSORS)
    sensors["clock"] = {"wall": 15.1, "monotonic": 15.0}
    sensors["sustained"] = {
        "first_seconds": 2.5, "first_rate": 20.0, "last_seconds": 7.5, "last_rate": 10.0, "lost": 0.5, "drop": 0.05,
        "throttled": True, "temperature_c": [55.0, 84.0], "frequency_mhz": [2400.0, 1500.0],
    }  # fmt: skip
    sensors["power"] = {
        "source": "RAPL", "idle_watts": 2.0, "idle_seconds": 10.0, "watts": 6.0, "seconds": 15.0,
        "joules_per_image": 0.45, "joules_per_image_above_idle": 0.3, "readings": None,
    }  # fmt: skip
    windows = [{"start": 0.0, "end": 7.5, "samples": 120}, {"start": 7.5, "end": 15.0, "samples": 80}]
    made = entry(
        seconds, sensors=sensors, windows=windows, joules_per_image=0.45, notes=["throttled: loses more than 5 %"]
    )
    made["record"]["ended"] = "2026-03-01T10:00:30+00:00"
    made["specification"]["sustained_seconds"] = 15.0
    return sealed(made)


def without_sensors() -> dict[str, Any]:
    """Windows and macOS: no flags, no memory, no clock, no cores to hold a process to."""
    bare = {**DESCRIPTION, "isa": [], "memory_bytes": None, "governor": None, "frequency_mhz": None}
    bare |= {"physical_cores": None, "affinity": None}
    content = contribution(entry(description=bare))
    content["device"].update({k: v for k, v in bare.items() if k in content["device"]})
    content["device"].update(temperature_before=None, temperature_after=None)
    first(content)["affinity"] = None
    content["records"] = [sealed(content["records"][0])]
    return content


ACCEPTED: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "plain": (contribution, ""),
    "of nobody": (lambda: contribution(by=None), ""),
    "of a name beyond ASCII": (lambda: contribution(by="Łucja Nováková-Þór"), ""),
    "throttled in a long run": (lambda: contribution(throttled()), "throttled"),
    "a virtual machine": (
        lambda: contribution(device={**CARD, "virtual": "the processor says that a hypervisor runs it"}),
        "a virtual machine",
    ),
    "no sensors": (without_sensors, ""),
    "a failure beside a measurement": (
        lambda: changed(lambda c: first(c).update(status="failed", reason="killed", seconds=[], sensors={})),
        "",
    ),
    "an unknown graph": (
        lambda: changed(
            lambda c: c["checks"].append({**c["checks"][0], "graph": "cccccccccccc"}),
            entry(), entry(samples(30, 1e-6), of=bundled(graph="cccccccccccc")),
        ),
        "no cost record names the graph cccccccccccc",
    ),
    "near the peak": (
        lambda: contribution(entry(samples(30, 1.1 * seconds_at_least(MACS, ["asimd"], "fp32", 4, 2400)))),
        "",
    ),
    "some drift": (lambda: contribution(entry([*samples(15, 0.09), *samples(15, 0.11)])), "drift by a factor of 1.2"),
    "no power, with its reason": (
        lambda: changed(lambda c: first(c)["sensors"].update(power={"reason": "not available here, because no RAPL"})),
        "",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "remark"), ACCEPTED.values(), ids=ACCEPTED)
def test_what_a_board_honestly_says_is_accepted(
    tmp_path: Path, make: Callable[[], dict[str, Any]], remark: str
) -> None:
    checked = check_file(write(tmp_path / "out.json", make()), KNOWN)
    assert any(remark in note for note in checked.remarks) if remark else checked.remarks == []
    store = Store(tmp_path / "results")
    placed, new = file_contribution(store, checked)
    assert new
    assert check_devices_with(store) == (1, [])
    assert [digest for digest, _ in store.contributions()] == [placed.stem]


def check_devices_with(store: Store) -> tuple[int, list[str]]:
    """As continuous integration does, with a cost record of the graph."""
    historic = json.loads((Path(__file__).parents[1] / "historic_records/v1-cost.json").read_text())
    store.put(CostRecord.model_validate({**historic, "artefact": GRAPH, "macs": MACS, "resolution": [96, 48]}))
    assert known_macs(store) == KNOWN
    return check_devices(store)


def test_a_file_has_a_place_of_its_own_and_is_never_replaced(tmp_path: Path) -> None:
    store, file = Store(tmp_path / "results" / "local"), write(tmp_path / "out.json", contribution())
    placed, new = file_contribution(store, check_file(file, KNOWN))
    assert new
    assert placed == tmp_path / "results/devices/example-pi-5-model-b-rev-1-0" / placed.name
    assert digest_of(json.loads(placed.read_text())).startswith(placed.stem)
    before = placed.read_bytes()
    laid_out = write(tmp_path / "again.json", json.dumps(contribution(), indent=4, sort_keys=True))
    assert file_contribution(store, check_file(laid_out, KNOWN)) == (placed, False)
    renamed = check_file(write(tmp_path / "eve.json", contribution(by="Eve")), KNOWN)
    with pytest.raises(UserError, match="these measurements are filed already"):
        file_contribution(store, renamed)
    placed.write_bytes(before.replace(b"Ada", b"Eve"))
    with pytest.raises(UserError, match="is there with other content, which was kept"):
        file_contribution(store, check_file(file, KNOWN))


@pytest.mark.parametrize("cpu", ["../../../etc/passwd", "/etc/passwd", "..", ".", "C:", "CON", "名", "a/b/c", "-rf"])
def test_no_name_leaves_the_folder(tmp_path: Path, cpu: str) -> None:
    content = changed(lambda c: both(c, cpu=cpu))
    store = Store(tmp_path / "results")
    placed, _ = file_contribution(store, check_file(write(tmp_path / "out.json", content), KNOWN))
    assert placed.parent.parent == store.devices
    assert placed.parent.name not in ("con", "", ".", "..")
    assert placed.parent.name[0].isalnum()
    assert placed.resolve().is_relative_to(store.devices.resolve())


def test_a_link_leads_nowhere(tmp_path: Path) -> None:
    store, outside = Store(tmp_path / "results"), tmp_path / "outside"
    outside.mkdir()
    store.devices.mkdir(parents=True)
    (store.devices / "example-pi-5-model-b-rev-1-0").symlink_to(outside)
    with pytest.raises(UserError, match="leads out of"):
        file_contribution(store, check_file(write(tmp_path / "out.json", contribution()), KNOWN))
    assert list(outside.iterdir()) == []
    assert check_devices(store)[1] == [f"{store.devices}/example-pi-5-model-b-rev-1-0: a link; give the file itself"]


@pytest.mark.parametrize("fault", ["moved", "edited", "stray", "copied"])
def test_what_was_committed_by_hand_is_found(tmp_path: Path, fault: str) -> None:
    store = Store(tmp_path / "results")
    placed, _ = file_contribution(store, check_file(write(tmp_path / "out.json", contribution()), KNOWN))
    assert check_devices_with(store) == (1, [])
    words = {
        "moved": "belongs to",
        "edited": "faster than phys",
        "stray": "not JSON",
        "copied": "has measurements that",
    }
    if fault == "moved":
        placed.rename(placed.with_name("0" * 16 + ".json"))
    elif fault == "edited":
        placed.write_text(json.dumps(changed(lambda c: first(c).update(seconds=samples(30, 1e-5)))))
    elif fault == "stray":
        (store.devices / "README.md").write_text("hello")
    else:
        other = contribution(by="Eve")
        write(placed.with_name(digest_of(other)[:16] + ".json"), other)
    right, (reason,) = check_devices_with(store)
    assert right == (1 if fault in ("stray", "copied") else 0)
    assert words[fault] in reason


def test_format_and_digest_are_those_of_the_device() -> None:
    from vireid.bundle.device.record import FORMAT, VERSION

    fields = schema.Contribution.model_fields
    assert fields["format"].annotation.__args__ == (FORMAT,)  # type: ignore[union-attr]
    assert fields["version"].annotation.__args__ == (VERSION,)  # type: ignore[union-attr]


def test_versions_are_told_apart(tmp_path: Path) -> None:
    assert version_of(write(tmp_path / "a.json", contribution())) == 2
    assert version_of(write(tmp_path / "b.json", {"version": 1})) == 1
    assert version_of(write(tmp_path / "c.json", {"version": "1"})) is None


def test_drift_is_the_ratio_of_the_two_ends() -> None:
    assert drift([1.0, 1.0, 9.0, *[5.0] * 6, 9.0, 2.0, 2.0]) == pytest.approx(2)
    assert drift([2.0, 2.0, 9.0, *[5.0] * 6, 9.0, 1.0, 1.0]) == pytest.approx(2)
    assert drift([1.0] * 4 + [5.0] * 8 + [3.0] * 4) == pytest.approx(3)


@pytest.mark.parametrize(
    ("flags", "precision", "operations"),
    [
        (["sse4_2", "avx", "avx2", "fma"], "fp32", 32),
        (["sse4_2"], "fp32", 16),
        (["avx2", "fma", "avx512f"], "fp32", 64),
        (["asimd"], "fp32", 32),
        (["avx2", "fma"], "int8", 128),
        (["avx512f", "amx_int8"], "int8", 4096),
        (["asimd", "i8mm"], "int8", 256),
        (["avx512f", "amx_bf16"], "bf16", 2048),
        ([], "fp32", 64),
        ([], "int8", 4096),
    ],
)
def test_peaks_are_those_of_data_sheets(flags: list[str], precision: str, operations: int) -> None:
    assert operations_per_cycle(flags, precision) == operations
    naive = 2 * 1e9 / (2 * 3e9 * operations)
    assert seconds_at_least(1e9, flags, precision, 2, 3000) == pytest.approx(naive)
