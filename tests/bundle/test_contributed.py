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
from vireid.bundle.contributed import check_devices, check_file, file_contribution, known_macs, version_of
from vireid.bundle.device.record import digest_of
from vireid.bundle.plausibility import drift
from vireid.core import contribution as schema
from vireid.core.errors import UserError
from vireid.core.peak import operations_per_cycle, seconds_at_least
from vireid.core.records import CostRecord
from vireid.store import Store

KNOWN = {(GRAPH, (96, 48)): MACS}
PARTS = ("specification", "record")
SEARCHED = {
    "measured": ["network", "search"], "not_measured": "decode", "gallery": 10, "gallery_bytes": 10,
    "storage": "fp32", "features": 8, "top": 5,
}  # fmt: skip
Change = Callable[[dict[str, Any]], Any]


def changed(change: Change, *entries: dict[str, Any]) -> dict[str, Any]:
    """A file after a change, each record sealed anew: digests alone refuse none of these."""
    content = copy.deepcopy(contribution(*entries))
    change(content)
    if isinstance(content.get("records"), list):
        content["records"] = [sealed(e) if isinstance(e, dict) and "record" in e else e for e in content["records"]]
    return content


def first(content: dict[str, Any]) -> dict[str, Any]:
    return content["records"][0]["record"]


def both(content: dict[str, Any], **changes: Any) -> None:
    """On the card and in every record: a forger who is consistent."""
    content["device"].update(changes)
    for one in content["records"]:
        device = one["record"]["environment"]["device"]
        device.update({key: value for key, value in changes.items() if key in device})
        one["specification"]["device"].update({k: v for k, v in changes.items() if k in one["specification"]["device"]})


def deep(levels: int) -> bytes:
    return b'{"format": ' + b"[" * levels + b"]" * levels + b"}"


TEXT = json.dumps(contribution())
BROKEN: dict[str, tuple[bytes | str | Change, str]] = {
    "cut short": (TEXT[:-40], "not JSON"),
    "bytes": (b"\xff\xfe\x00\x01", "not JSON"),
    "empty": (b"", "not JSON"),
    "a list": (b"[1, 2]", "not a record file of a bundle"),
    "of another program": (lambda c: c.update(format="pytest-benchmark"), "format"),
    "newer": (lambda c: c.update(version=3), "not a record file of version 2"),
    "version as text": (lambda c: c.update(version="2"), "not a record file of version 2"),
    "no card": (lambda c: c.pop("device"), "device: Field required"),
    "no records": (lambda c: c.update(records=[]), "at least 1 item"),
    "records that are none": (lambda c: c.update(records=[1, 2]), "record 1: not a record"),
    "unknown key": (lambda c: c.update(devise={}), "unknown key 'devise'; did you mean 'device'"),
    "unknown key of the card": (lambda c: c["device"].update(owner="me"), "unknown key 'owner'"),
    "unknown key of a record": (lambda c: first(c).update(secnds=[]), "did you mean 'seconds'"),
    "unknown key of a sensor": (lambda c: first(c)["sensors"].update(evil={"a": 1}), "unknown key 'evil'"),
    "unknown key of a machine": (lambda c: first(c)["environment"]["device"].update(x=1), "unknown key 'x'"),
    "samples as text": (lambda c: first(c)["seconds"].__setitem__(0, "0.1"), "seconds: of another type"),
    "a sample that is true": (lambda c: first(c)["seconds"].__setitem__(0, True), "seconds: of another type"),
    "threads as text": (lambda c: first(c).update(threads="4"), "threads: of another type"),
    "cores as text": (lambda c: c["device"].update(logical_cores="4"), "logical_cores = '4'"),
    "a runtime with more than settings": (
        lambda c: [e[part].update(runtime={"a": [1]}) for e in c["records"] for part in PARTS],
        "runtime: holds more than settings",
    ),
    "an unknown key of a specification": (
        lambda c: c["records"][0]["specification"].update(isolated=True), "did you mean 'isolate'"
    ),
    "a specification that is none": (lambda c: c["records"][1].update(specification=None), "record 2: specification"),
    "another runtime": (
        lambda c: [e[part].update(runtime={"name": "tensorrt"}) for e in c["records"] for part in PARTS],
        "runtime: named 'tensorrt'; bundles compute with onnxruntime alone",
    ),
    "peaks": (lambda c: first(c).update(peaks={"gflops": {"value": 1.0}}), "has peaks"),
    "a source": (lambda c: first(c).update(source={"kind": "published", "citation": "me"}), "source"),
    "of another kind": (lambda c: first(c).update(kind="fit"), "kind"),
}  # fmt: skip
HOSTILE: dict[str, tuple[bytes | str | Change, str]] = {
    "not a number": (TEXT.replace("0.4,", "NaN,", 1), "NaN is no number"),
    "infinite": (TEXT.replace("0.4,", "-Infinity,", 1), "-Infinity is no number"),
    "overflow": (TEXT.replace("0.4,", "1e999,", 1), "a number that is too large"),
    "ten thousand digits": (TEXT.replace("90000000,", "9" * 10_000 + ",", 1), "not JSON"),
    "a large number": (TEXT.replace("90000000,", "9" * 40 + ",", 1), "a number that is too large"),
    "nested": (deep(20), "nested deeper than 12 levels"),
    "nested beyond the stack": (deep(200_000), "nested deeper than 12 levels"),
    "a key twice": (TEXT.replace('"by": "Ada"', '"by": "Ada", "by": "Eve"', 1), "key 'by' stands twice"),
    "a terminal's orders": (lambda c: c.update(by="Ada\x1b[2J"), "cannot be printed"),
    "text from right to left": (lambda c: c["device"].update(cpu="Pi \u202e5"), "cannot be printed"),
    "a long text": (lambda c: c["device"].update(cpu="x" * 5000), "a text of 5000 characters"),
    "a name with markup": (lambda c: c.update(by="<script>alert(1)</script>"), "by = '<script>"),
    "a name of mathematics": (lambda c: both(c, cpu="Pi $\\frac$"), "cpu = 'Pi"),
    "two lines of a name": (lambda c: c.update(by="Ada\nmeasured by Eve"), "by = 'Ada"),
    "many keys": (lambda c: c["device"]["packages"].update({f"p{n}": "1" for n in range(300)}), "an object of 3"),
    "many faults": (lambda c: c.update({f"key{n}": n for n in range(50)}), "unknown key"),
    "a path for a graph": (lambda c: c["checks"][0].update(graph="../../etc"), "graph = '../../etc'"),
    "large": (b" " * (schema.MAX_BYTES + 1), "larger than 16 MiB"),
}
IMPLAUSIBLE: dict[str, tuple[Change, str]] = {
    "a failed check": (
        lambda c: c["checks"][0].update(passed=False, reason="features differ by 3e-2"),
        "the check of idkl failed (features differ by 3e-2)",
    ),
    "a check that passed with other features": (
        lambda c: c["checks"][0].update(cosine=0.5), "claims to have passed with a cosine of 0.5"
    ),
    "a check without features": (lambda c: c["checks"][0].update(cosine=None), "passed with a cosine of None"),
    "loaded for a year": (lambda c: first(c).update(load_seconds=3e7), "load_seconds is 3e+07"),
    "an unchecked graph": (lambda c: c["checks"][0].update(graph="ffffffffffff"), "none of those whose features"),
    "faster than possible": (
        lambda c: first(c).update(seconds=samples(30, 1e-4)),
        "faster than physically possible: 4e+08 multiply-accumulates in",
    ),
    "one sample faster than possible": (lambda c: first(c)["seconds"].__setitem__(7, 1e-4), "faster than physically"),
    "a batch faster than possible": (
        lambda c: c["records"][0]["specification"].update(batch=512) or first(c).update(batch=512),
        "faster than physically possible: 2.05e+11",
    ),
    "a clock that no processor has": (
        lambda c: both(c, frequency_mhz={"min": 1000.0, "max": 9000.0}),
        "a clock of 9000 MHz, and no processor exceeds 6500 MHz",
    ),
    "a lowest clock above the highest": (
        lambda c: both(c, frequency_mhz={"min": 3000.0, "max": 2000.0}),
        "the lowest clock is above the highest",
    ),
    "more physical cores than logical ones": (lambda c: both(c, physical_cores=8), "8 physical cores of 4 logical"),
    "more threads than cores": (lambda c: both(c, logical_cores=2, physical_cores=2), "4 threads on 2 cores"),
    "equal samples": (lambda c: first(c).update(seconds=[0.1] * 30), "all samples are equal"),
    "a sample of nothing": (lambda c: first(c)["seconds"].__setitem__(3, 0.0), "a sample of 0 s"),
    "a sample before it began": (lambda c: first(c)["seconds"].__setitem__(3, -0.1), "a sample of -0.1 s"),
    "few samples": (lambda c: first(c).update(seconds=samples(9)), "9 samples, fewer than 10; measure longer"),
    "no samples": (lambda c: first(c).update(seconds=[]), "0 samples, fewer than 10"),
    "a wall clock that jumped": (
        lambda c: first(c)["sensors"]["clock"].update(wall=3603.1),
        "the clock jumped: 3603.1 s by the wall clock and 3.1 s by the monotonic one",
    ),
    "a wall clock that went back": (lambda c: first(c)["sensors"]["clock"].update(wall=-50.0), "the clock jumped"),
    "more samples than time": (
        lambda c: first(c)["sensors"].update(clock={"wall": 1.0, "monotonic": 1.0}),
        "and the clock counted 1.00 s",
    ),
    "more samples than between start and end": (
        lambda c: first(c).update(seconds=samples(1000)),
        "samples add up to 100.0 s, and it took 10 s",
    ),
    "an end before the start": (lambda c: first(c).update(ended="2026-03-01T09:00:00+00:00"), "ended before it"),
    "a board without a clock": (
        lambda c: first(c).update(started="1970-01-01T00:00:05+00:00", ended="1970-01-01T00:00:15+00:00"),
        "set the device's clock",
    ),
    "the future": (lambda c: first(c).update(ended="2999-01-01T00:00:00+00:00"), "which is in the future"),
    "no date": (lambda c: first(c).update(started="yesterday"), "no date with a time zone"),
    "no time zone": (lambda c: first(c).update(started="2026-03-01T10:00:00"), "no date with a time zone"),
    "drift": (
        lambda c: first(c).update(seconds=[*samples(15, 0.07), *samples(15, 0.13)]),
        "samples drift by a factor of 1.8",
    ),
    "another machine than the card's": (lambda c: c["device"].update(cpu="Other"), "another machine than the device"),
    "other software than the card's": (lambda c: c["device"].update(python="3.9.0"), "other software than the device"),
    "an accelerator": (lambda c: first(c)["environment"].update(accelerator="H200"), "a bundle computes on the"),
    "the profiler's own process": (lambda c: first(c).update(isolated=False), "not made in a process of its own"),
    "more resident than there is": (lambda c: first(c).update(rss_bytes=9_000_000_000), "MB resident on a machine"),
    "loaded before it began": (lambda c: first(c).update(load_seconds=-1.0), "load_seconds is -1"),
    "cores of its own": (lambda c: first(c).update(affinity=[0]), "held to 1 cores with 4 threads"),
    "windows of a short run": (
        lambda c: first(c).update(windows=[{"start": 0.0, "end": 3.0, "samples": 30}]),
        "has windows and was not to be sustained",
    ),
    "a long run without windows": (
        lambda c: c["records"][0]["specification"].update(sustained_seconds=600.0),
        "has windows and was not to be sustained, or the other way round",
    ),
    "stages that were not asked for": (
        lambda c: first(c).update(stages={"network": [0.01] * 30}, stage_settings=SEARCHED),
        "has stages and was not to search",
    ),
    "another precision than was checked": (
        lambda c: first(c).update(precision="int8"), "its graph in int8 is none of those"
    ),
    "no pixels": (lambda c: first(c).update(resolution=[0, 48]), "counted from 1"),
    "windows of other samples": (
        lambda c: (
            first(c).update(windows=[{"start": 0.0, "end": 3.0, "samples": 5}]),
            c["records"][0]["specification"].update(sustained_seconds=3.0),
        ),
        "another number of samples",
    ),
    "windows that go back": (
        lambda c: (
            first(c).update(
                windows=[{"start": 2.0, "end": 3.0, "samples": 15}, {"start": 0.0, "end": 2.0, "samples": 15}]
            ),
            c["records"][0]["specification"].update(sustained_seconds=3.0),
        ),
        "go back in time",
    ),
    "longer stages than the whole": (
        lambda c: (
            first(c).update(stages={"network": [0.2] * 30, "search": [0.1] * 30}, stage_settings=SEARCHED),
            c["records"][0]["specification"].update(stages={"gallery": 10, "top": 5}),
        ),
        "take longer than the whole",
    ),
    "a power station": (lambda c: first(c).update(joules_per_image=1e6), "no device of this kind takes that"),
    "one measurement twice": (lambda c: c["records"].append(copy.deepcopy(c["records"][0])), "have one id"),
    "copied samples": (
        lambda c: c["records"][1]["record"].update(seconds=list(first(c)["seconds"])),
        "records 1 and 2 have the same samples",
    ),
    "nothing but failures": (
        lambda c: [e["record"].update(status="failed", reason="killed", seconds=[]) for e in c["records"]],
        "no finished measurement",
    ),
    "a failure with samples": (lambda c: first(c).update(status="failed"), "failed, and has samples"),
    "a heat that melts": (lambda c: c["device"].update(temperature_after={"cpu": 900.0}), "temperature_after"),
}  # fmt: skip
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
