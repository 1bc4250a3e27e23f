"""Energy and power on made-up trees of /sys: counters, INA monitors, batteries, and machines that tell nothing."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.profiling.test_sensors import absent, answering, tree
from vireid.profiling.sensors import energy, power
from vireid.profiling.sensors.virtual import virtual_machine

RAPL = "sys/class/powercap/intel-rapl:0"
INA219 = {
    "sys/class/hwmon/hwmon0/name": "cpu_thermal",
    "sys/class/hwmon/hwmon0/power1_input": "99000000",
    "sys/class/hwmon/hwmon2/name": "ina219",
    "sys/class/hwmon/hwmon2/power1_input": "4120000",
    "sys/class/hwmon/hwmon2/curr1_input": "824",
    "sys/class/hwmon/hwmon2/in0_input": "8",
    "sys/class/hwmon/hwmon2/in1_input": "5000",
}
INA3221 = {
    "sys/class/hwmon/hwmon1/name": "ina3221",
    "sys/class/hwmon/hwmon1/in1_label": "VDD_CPU_GPU_CV",
    "sys/class/hwmon/hwmon1/curr1_input": "400",
    "sys/class/hwmon/hwmon1/in1_input": "19000",
    "sys/class/hwmon/hwmon1/in2_label": "VDD_IN",
    "sys/class/hwmon/hwmon1/curr2_input": "640",
    "sys/class/hwmon/hwmon1/in2_input": "19500",
}
BATTERY = {
    "sys/class/power_supply/AC/type": "Mains",
    "sys/class/power_supply/AC/online": "0",
    "sys/class/power_supply/BAT0/type": "Battery",
    "sys/class/power_supply/BAT0/status": "Discharging",
    "sys/class/power_supply/BAT0/voltage_now": "11400000",
    "sys/class/power_supply/BAT0/current_now": "1500000",
    "sys/class/power_supply/hid-mouse/type": "Battery",
    "sys/class/power_supply/hid-mouse/scope": "Device",
    "sys/class/power_supply/hid-mouse/status": "Discharging",
    "sys/class/power_supply/hid-mouse/power_now": "1000000",
}


def counters(root: Path, microjoules: int, limit: str = "1000000") -> Path:
    return tree(
        root,
        {f"{RAPL}/name": "package-0", f"{RAPL}/energy_uj": str(microjoules), f"{RAPL}/max_energy_range_uj": limit},
    )


@pytest.fixture
def refuses(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of files that may not be read, as of another user: root, who may run tests, can read everything."""
    names: set[str] = set()
    for read in ("read_text", "read_bytes"):

        def guarded(path: Path, *args: object, _read: object = getattr(Path, read), **kwargs: object) -> object:
            if path.name in names:
                raise PermissionError(13, "Permission denied", str(path))
            return _read(path, *args, **kwargs)  # type: ignore[operator]

        monkeypatch.setattr(Path, read, guarded)
    return names


@pytest.mark.parametrize(
    ("files", "watts", "source"),
    [
        (INA219, 4.12, "sys/class/hwmon/hwmon2 ina219, channel 1"),
        (
            {name: text for name, text in INA219.items() if "hwmon2/power1" not in name},
            0.824 * 5.0,
            "sys/class/hwmon/hwmon2 ina219, channel 1, current × voltage",
        ),
        (INA3221, 0.64 * 19.5, "sys/class/hwmon/hwmon1 ina3221, VDD_IN, current × voltage"),
        (BATTERY, 11.4 * 1.5, "battery BAT0, current × voltage"),
        ({**BATTERY, "sys/class/power_supply/BAT0/power_now": "-17250000"}, 17.25, "battery BAT0"),
        ({**BATTERY, **INA219}, 4.12, "sys/class/hwmon/hwmon2 ina219, channel 1"),
    ],
    ids=["microwatts", "milliamperes", "module input", "microamperes", "below zero", "board before battery"],
)
def test_power_is_read_in_the_kernel_s_units(tmp_path: Path, files: dict[str, str], watts: float, source: str) -> None:
    reading = energy.present_power(tree(tmp_path, files), absent)
    assert reading.value == pytest.approx(watts)
    assert (reading.unit, reading.source) == ("W", source)


def test_several_batteries_add_up(tmp_path: Path) -> None:
    second = {name.replace("BAT0", "BAT1"): text for name, text in BATTERY.items()}
    reading = power.battery_power(tree(tmp_path, {**BATTERY, **second}))
    assert reading.value == pytest.approx(2 * 17.1)
    assert "BAT0" in str(reading.source)
    assert "BAT1" in str(reading.source)


def test_a_battery_on_the_mains_is_no_source(tmp_path: Path) -> None:
    files = {**BATTERY, "sys/class/power_supply/BAT0/status": "Charging"}
    reading = power.battery_power(tree(tmp_path, files))
    assert reading.value is None
    assert "is not discharging (Charging): unplug the mains" in str(reading.reason)


@pytest.mark.parametrize(
    ("files", "refused", "words"),
    [
        ({}, "", "no RAPL package under"),
        ({}, "", "no INA monitor under"),
        ({}, "", "no battery under"),
        (INA219, "", None),
        (INA219, "power1_input", None),  # current and voltage stand in
        (INA3221, "in2_input", None),  # another channel of the monitor
        (
            {name: text for name, text in INA219.items() if "curr1" not in name},
            "power1_input",
            "power1_input: Permission denied",
        ),
        (BATTERY, "current_now", "BAT0/current_now: Permission denied"),
        (
            {"proc/cpuinfo": "model name\t: vCPU\nflags\t\t: fpu hypervisor avx2"},
            "",
            "a virtual machine (the processor says that a hypervisor runs it), whose host keeps its power to itself",
        ),
        ({"sys/class/hwmon/hwmon0/name": "ina226"}, "", "has neither power nor current"),
    ],
)
def test_what_cannot_be_read_says_why(
    tmp_path: Path, refuses: set[str], files: dict[str, str], refused: str, words: str | None
) -> None:
    refuses.add(refused)
    reading = energy.EnergyMeter(tree(tmp_path, files), absent).available()
    if words is None:
        assert reading.value is not None
    else:
        assert reading.value is None
        assert words in str(reading.reason)


def test_counters_that_root_alone_may_read_are_named(tmp_path: Path, refuses: set[str]) -> None:
    counters(tmp_path, 5)
    refuses.add("energy_uj")
    with energy.EnergyMeter(tmp_path, absent) as meter:
        pass
    assert meter.joules is None
    assert "energy_uj: Permission denied (the kernel shows it to root alone)" in str(meter.reason)


def test_a_counter_that_starts_again_several_times_is_followed(tmp_path: Path) -> None:
    counters(tmp_path, 900_000)
    file = tmp_path / RAPL / "energy_uj"
    with energy.EnergyMeter(tmp_path, absent, following=0.01) as meter:
        for microjoules in (400_000, 950_000, 300_000):  # + 0.5, + 0.55, + 0.35 J
            partial = file.with_name("part")
            partial.write_text(f"{microjoules}\n")
            partial.replace(file)
            time.sleep(0.15)
    assert meter.joules == pytest.approx(1.4)
    assert meter.readings is None
    assert meter.elapsed >= 0.45


def test_a_counter_of_unknown_range_gives_no_negative_energy(tmp_path: Path) -> None:
    counters(tmp_path, 900_000, limit="")
    with energy.EnergyMeter(tmp_path, absent) as meter:
        (tmp_path / RAPL / "energy_uj").write_text("10\n")
    assert meter.joules is None
    assert "started again and has no range" in str(meter.reason)


def test_sampled_power_is_counted(tmp_path: Path) -> None:
    tree(tmp_path, INA219)
    with energy.EnergyMeter(tmp_path, absent, interval=0.01) as meter:
        time.sleep(0.2)
    assert meter.readings is not None
    assert meter.readings >= 3
    assert meter.joules == pytest.approx(4.12 * meter.elapsed)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"proc/cpuinfo": "flags\t\t: fpu avx2"}, None),
        ({"proc/cpuinfo": "flags\t\t: fpu hypervisor"}, "hypervisor runs it"),
        ({"sys/class/dmi/id/product_name": "VirtualBox"}, "its firmware calls it VirtualBox"),
        ({"sys/class/dmi/id/sys_vendor": "QEMU"}, "its firmware calls it QEMU"),
        ({"sys/class/dmi/id/product_name": "ThinkPad X200"}, None),
        ({"sys/hypervisor/type": "xen"}, "names the hypervisor xen"),
        ({"proc/device-tree/hypervisor/compatible": "linux,kvm\0"}, "names the hypervisor linux,kvm"),
    ],
)
def test_virtual_machines_are_told_from_files(tmp_path: Path, files: dict[str, str], words: str | None) -> None:
    found = virtual_machine(tree(tmp_path, files))
    assert (words is None) == (found is None)
    assert words is None or words in str(found)


def test_tools_of_boards_come_before_batteries(tmp_path: Path) -> None:
    reading = energy.present_power(tree(tmp_path, BATTERY), answering(tegrastats="VDD_IN 5012mW/4987mW"))  # type: ignore[arg-type]
    assert reading.value == pytest.approx(5.012)
