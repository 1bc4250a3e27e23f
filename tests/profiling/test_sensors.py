"""Sensor readers on made-up file trees and made-up answers of boards' tools."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from vireid.core import processor
from vireid.profiling import sensors
from vireid.profiling.sensors import clock, energy
from vireid.profiling.sensors.reading import run_command


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


def absent(command: Sequence[str]) -> None:
    return None


def answering(**answers: str) -> object:
    """A board whose tools print ``answers`` by their first argument, or by their name."""
    return lambda command: answers.get(command[1].lstrip("-") if command[0] == "vcgencmd" else command[0])


LAPTOP = {
    "proc/cpuinfo": (
        "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 142\nmodel name\t: Some CPU @ 1.60GHz\n"
        "flags\t\t: fpu sse4_2 avx2 fma\n\nprocessor\t: 1\nmodel name\t: Some CPU @ 1.60GHz"
    ),
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "powersave",
    "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_min_freq": "400000",
    "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "3900000",
    "sys/devices/system/cpu/cpu1/cpufreq/cpuinfo_max_freq": "3800000",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1600000",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "2000000",
    "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "3",
    "sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count": "4",
    "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count": "9",
    "sys/devices/system/cpu/cpu1/thermal_throttle/package_throttle_count": "9",
    "sys/class/thermal/thermal_zone0/type": "acpitz",
    "sys/class/thermal/thermal_zone0/temp": "27800",
    "sys/class/thermal/thermal_zone1/type": "x86_pkg_temp",
    "sys/class/thermal/thermal_zone1/temp": "61000",
    "sys/class/powercap/intel-rapl:0/name": "package-0",
    "sys/class/powercap/intel-rapl:0/energy_uj": "5000000",
    "sys/class/powercap/intel-rapl:0/max_energy_range_uj": "262143328850",
    "sys/class/powercap/intel-rapl:0:0/name": "core",
    "sys/class/powercap/intel-rapl:0:0/energy_uj": "4000000",
}


def test_laptop_reads_from_files(tmp_path: Path) -> None:
    found = sensors.describe(tree(tmp_path, LAPTOP), absent)
    assert json.loads(json.dumps(found)) == found
    assert found["governor"]["value"] == "powersave"
    assert found["frequency"]["value"] == {"min": 400.0, "max": 3900.0, "current": 1800.0}
    assert found["temperature"]["value"] == {"acpitz": 27.8, "x86_pkg_temp": 61.0}
    assert found["throttling"]["value"] == {"core_throttle_count": 7, "package_throttle_count": 9}
    assert found["energy"]["value"] == ["intel-rapl:0"], "parts of a package are not counted beside it"
    assert sensors.watch(tmp_path) == {"temperature_c": 61.0, "frequency_mhz": 1800.0}
    assert processor.cpu_model(tmp_path) == "Some CPU @ 1.60GHz"
    assert processor.cpu_flags(tmp_path) == {"fpu", "sse4_2", "avx2", "fma"}


def test_what_is_absent_is_none_with_its_reason(tmp_path: Path) -> None:
    found = sensors.describe(tmp_path, absent)
    assert set(found) == {"governor", "frequency", "temperature", "throttling", "energy"}
    for reading in found.values():
        assert reading["value"] is None
        assert reading["reason"]
    assert str(tmp_path) in found["energy"]["reason"]
    assert sensors.watch(tmp_path) == {}


def test_virtual_machine_tells_its_clock_in_cpuinfo(tmp_path: Path) -> None:
    tree(
        tmp_path, {"proc/cpuinfo": "model name\t: vCPU\ncpu MHz\t\t: 2500.0\n\nmodel name\t: vCPU\ncpu MHz\t\t: 2700.0"}
    )
    assert clock.current_mhz(tmp_path).value == pytest.approx(2600)
    assert clock.frequency(tmp_path).source == "/proc/cpuinfo"


def test_a_refused_file_gives_the_system_s_reason(tmp_path: Path) -> None:
    tree(tmp_path, LAPTOP)
    file = tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj"
    file.unlink()
    file.mkdir()  # cannot be read by root either, unlike a file without rights
    reading = energy.rapl_available(tmp_path)
    assert reading.value is None
    assert reading.reason is not None
    assert "intel-rapl:0" in reading.reason
    assert "root" in reading.reason


RASPBERRY = {
    "measure_temp": "temp=48.3'C\n",
    "get_throttled": "throttled=0x50005\n",
    "pmic_read_adc": (
        "     3V3_SYS_A current(1)=0.10000000A\n  VDD_CORE_A current(7)=1.50000000A\n"
        "     3V3_SYS_V volt(9)=3.30000000V\n   VDD_CORE_V volt(15)=0.80000000V\n     EXT5V_V volt(24)=5.10000000V\n"
    ),
}


def test_raspberry_pi_answers_through_its_firmware(tmp_path: Path) -> None:
    board = answering(**RASPBERRY)
    tree(tmp_path, {"proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd\n\nHardware\t: BCM\nModel\t\t: Some Pi 5"})
    assert clock.temperatures(tmp_path, board).value == {"vcgencmd": 48.3}
    assert clock.throttle_events(tmp_path, board).value == [
        "under-voltage now",
        "throttled now",
        "under-voltage since boot",
        "throttled since boot",
    ]
    assert energy.board_power(board).value == pytest.approx(0.1 * 3.3 + 1.5 * 0.8)
    assert processor.cpu_model(tmp_path) == "Some Pi 5"
    assert processor.cpu_flags(tmp_path) == {"fp", "asimd"}


@pytest.mark.parametrize(
    ("line", "watts"),
    [
        ("RAM 2345/7764MB (lfb 4x4MB) CPU [2%@1190] VDD_IN 5012mW/4987mW VDD_CPU_GPU_CV 1203mW/1190mW", 5.012),
        ("RAM 1903/3964MB (lfb 1x2MB) POM_5V_GPU 40/40 POM_5V_IN 2345/2300 POM_5V_CPU 400/380", 2.345),
        ("RAM 1903/3964MB CPU [2%@1190]", None),
    ],
)
def test_jetson_power_is_the_module_s_input(line: str, watts: float | None) -> None:
    found = energy.board_power(answering(tegrastats=line + "\n"))
    assert found.value == (None if watts is None else pytest.approx(watts))


def test_processor_monitors_stand_in_for_thermal_zones(tmp_path: Path) -> None:
    tree(
        tmp_path,
        {
            "sys/class/hwmon/hwmon0/name": "nvme",
            "sys/class/hwmon/hwmon0/temp1_input": "35000",
            "sys/class/hwmon/hwmon1/name": "k10temp",
            "sys/class/hwmon/hwmon1/temp1_input": "52500",
            "sys/class/hwmon/hwmon1/temp1_label": "Tctl",
        },
    )
    assert clock.temperatures(tmp_path, absent).value == {"k10temp Tctl": 52.5}


def test_energy_is_the_counters_difference(tmp_path: Path) -> None:
    tree(tmp_path, LAPTOP)
    with sensors.EnergyMeter(tmp_path, absent) as meter:
        (tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj").write_text("7500000\n")
    assert meter.joules == pytest.approx(2.5)
    assert meter.method is not None
    assert meter.method.startswith("RAPL")


def test_energy_follows_a_counter_that_starts_again(tmp_path: Path) -> None:
    before = {"intel-rapl:0": energy.Counter(900, 1000), "gone": energy.Counter(1, 10)}
    after = {"intel-rapl:0": energy.Counter(150, 1000)}
    assert energy.joules_between(before, after) == pytest.approx(250e-6)
    assert energy.joules_between({}, after) is None


def test_energy_of_a_board_is_mean_power_times_time(tmp_path: Path) -> None:
    answers = iter(["VDD_IN 3000mW/1mW", *["VDD_IN 4000mW/1mW", "VDD_IN 6000mW/1mW"] * 500])
    begin = time.perf_counter()
    with sensors.EnergyMeter(tmp_path, lambda c: next(answers) if c[0] == "tegrastats" else None, 0.001) as meter:
        time.sleep(0.2)
    elapsed = time.perf_counter() - begin
    assert meter.joules is not None
    assert 4.0 * 0.2 <= meter.joules <= 6.0 * elapsed
    assert meter.method == "tegrastats, VDD_IN, sampled every 0.001 s"


def test_energy_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with energy.EnergyMeter(tmp_path, absent) as meter:
        pass
    assert meter.joules is None
    assert meter.reason is not None
    assert "no tegrastats" in meter.reason
    with energy.EnergyMeter(tmp_path, answering(tegrastats="VDD_IN 3000mW/1mW"), interval=60) as short:
        pass
    assert short.joules is None
    assert short.reason is not None
    assert "60 s" in short.reason


def test_commands_that_are_absent_fail_or_never_end() -> None:
    assert run_command(["no-such-tool-anywhere"]) is None
    assert run_command(["sh", "-c", "echo x; exit 3"]) is None
    assert run_command(["sh", "-c", "echo 12.5"]) == "12.5\n"
    assert run_command(["sh", "-c", "echo VDD_IN 1mW/1mW; exec sleep 600"]) == "VDD_IN 1mW/1mW\n"


def test_the_folder_runs_where_there_is_nothing_else(tmp_path: Path) -> None:
    shutil.copytree(Path(sensors.__file__).parent, tmp_path / "copied", ignore=shutil.ignore_patterns("__pycache__"))
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import copied; copied.describe(); "
        "print([n for n in ('vireid', 'numpy', 'torch', 'psutil') if n in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"
