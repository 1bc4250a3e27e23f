"""Files of boards that must be refused, each with words of its reason: broken, hostile, implausible."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

from tests.bundle.contributions import contribution, samples, sealed
from vireid.core.untrusted import MAX_BYTES

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
    "large": (b" " * (MAX_BYTES + 1), "larger than 16 MiB"),
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
