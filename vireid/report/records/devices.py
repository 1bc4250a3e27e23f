"""Finding a device among records: by the id of a latency record, or by the machine's name."""

from collections.abc import Collection, Iterable
from dataclasses import replace

from vireid.core.errors import UserError
from vireid.core.records import LatencyRecord, Record
from vireid.report.records.choose import key_for
from vireid.report.records.deployment import DeploymentView
from vireid.report.records.keys import TimingKey

SHORTEST = 4  # digits that name a contributed file


def find_timing_key(
    deployment: DeploymentView,
    device: str | None,
    records: Iterable[Record] = (),
    threads: int | None = None,
    mode: str | None = None,
) -> TimingKey:
    """What latencies must share to be chosen among: the machine, the mode of measuring and the threads.

    Args:
        deployment: the models and their latencies.
        device: id of any latency record made on the device, or its first digits; or a part of the machine's name, with
            that of who measured where somebody else did; or the first digits of a contributed file's digest; None
            where there is one machine.
        records: all of the store, for ids.
        threads: by default those of the record, or those that most candidates were measured with.
        mode: part of the mode's name; by default likewise.

    Raises:
        UserError: no such device, or several.
    """
    matching = [record for record in records if device and record.id.startswith(device)]
    if matching:
        return _of_record(deployment, str(device), matching, threads, mode)
    every = [timing.key for timing in deployment.timings if timing.batch == 1]
    named = [key for key in every if device is None or device.lower() in key.device.lower()]
    if device is not None and not named and len(device) >= SHORTEST:
        named = [key for key in every if key.contribution.startswith(device.lower())]
    machines = dict.fromkeys(key.device for key in named)
    if len(machines) != 1:
        raise UserError(_not_one(device, list(machines), list(dict.fromkeys(key.device for key in every))))
    fitting = [key for key in _in_mode(named, mode) if threads in (None, key.threads)]
    if not fitting:
        there = "; ".join(sorted({key.heading for key in named}))
        raise UserError(f"{next(iter(machines))}: nothing was measured with such threads and mode; there are: {there}")
    return max(sorted(dict.fromkeys(fitting)), key=lambda key: (_candidates(deployment, key), -key.threads))


def _not_one(device: str | None, named: list[str], every: list[str]) -> str:
    """Why a device is no single machine, and what there is."""
    if not every:
        return "nothing was measured yet: run `vireid profile` on the device"
    there = "; ".join(f"'{name}'" for name in named or every)
    if device is None:
        return f"several machines were measured: name one with --device; there are: {there}"
    reason = f"{len(named)} machines are called so" if named else "no machine is called so, and no record matches"
    return f"--device {device}: {reason}; there are: {there}"


def other_conditions(deployment: DeploymentView, key: TimingKey) -> list[str]:
    """Threads and modes of the same machine that candidates were measured with too."""
    keys = {timing.key for timing in deployment.timings if timing.batch == 1 and timing.key.machine == key.machine}
    return sorted(other.heading for other in keys if other != key and _candidates(deployment, other))


def _of_record(
    deployment: DeploymentView, device: str, matching: Collection[Record], threads: int | None, mode: str | None
) -> TimingKey:
    if len(matching) > 1:
        raise UserError(f"--device {device}: {len(matching)} records match; give more digits of the id")
    (record,) = matching
    if not isinstance(record, LatencyRecord):
        raise UserError(
            f"--device {device}: record {record.id} is of kind '{record.kind}'; name a latency record made on the "
            "device (`vireid results list --kind latency`), or a part of the machine's name"
        )
    key = key_for(record, threads, deployment.machines)
    if mode is not None:
        there = {timing.key for timing in deployment.timings if timing.key.machine == key.machine}
        fitting = sorted(_in_mode(there, mode))
        key = replace(key, mode=fitting[0].mode, kernels=fitting[0].kernels) if fitting else replace(key, mode=mode)
    return key


def _in_mode(keys: Iterable[TimingKey], mode: str | None) -> list[TimingKey]:
    """Those whose mode is called so, else those of whose mode it is a part; all where none is asked for."""
    asked, every = (mode or "").lower(), list(keys)
    return [key for key in every if key.way.lower() == asked] or [key for key in every if asked in key.way.lower()]


def _candidates(deployment: DeploymentView, key: TimingKey) -> int:
    """How many timings of evaluated models there are under a key."""
    evaluated = {
        model.graph for model in deployment.models if any(fit.id in deployment.evaluations for fit in model.fits)
    }
    return sum(t.key == key and t.batch == 1 and t.graph in evaluated for t in deployment.timings)
