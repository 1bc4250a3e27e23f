"""Power and heat: what the device program says of them, on made-up trees of /sys, and in a run of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.bundle.conftest import Bundle
from tests.profiling.test_sensors import absent, tree
from vireid.bundle.contributed import check_file
from vireid.bundle.device import heat, machine, options
from vireid.profiling.sensors import EnergyMeter

BUDGET = {"warmup_seconds": 0.05, "min_seconds": 0.1, "min_repeats": 10, "max_seconds": 2.0, "max_repeats": 1000}


def windows(*temperatures: float | None, length: float = 10.0) -> list[dict[str, float]]:
    return [
        {"start": n * length, "end": (n + 1) * length, "samples": 1, **({} if t is None else {"temperature_c": t})}
        for n, t in enumerate(temperatures)
    ]


def test_a_throttled_run_is_named_with_what_fell() -> None:
    seconds = [0.05] * 4000 + [0.1] * 4000  # 200 s, then 400 s
    found = heat.sustained(seconds, 2, [{**w, "frequency_mhz": 2400.0} for w in windows(48.0, 84.0)], 0.05)
    assert found is not None
    assert (found["first_rate"], found["last_rate"]) == (pytest.approx(40), pytest.approx(20))
    assert (found["first_seconds"], found["last_seconds"]) == (10.0, 60.0)
    assert found["lost"] == pytest.approx(0.5)
    assert found["throttled"]
    note = heat.heat_note(found)
    assert note == (
        "throttled: first 10 s 40.00 images/s, last 60 s 20.00 images/s (-50.0 %): loses more than 5 %; "
        "48 → 84 °C, 2400 → 2400 MHz"
    )


def test_a_steady_run_holds_its_rate() -> None:
    found = heat.sustained([0.1] * 300, 1, windows(50.0, 51.0), 0.05)
    assert found is not None
    assert not found["throttled"]
    assert (found["first_seconds"], found["last_seconds"]) == (pytest.approx(5), pytest.approx(15))
    assert "holds its rate within 5 %" in heat.heat_note(found)
    assert heat.sustained([0.1] * 300, 1, [], 0.05) is None, "a run that is not sustained has no ends"


def test_the_share_that_is_called_throttling_is_the_user_s() -> None:
    seconds = [0.1] * 1000 + [0.11] * 1000  # 9 % less
    assert heat.sustained(seconds, 1, windows(None, None), 0.05)["throttled"]  # type: ignore[index]
    mild = heat.sustained(seconds, 1, windows(None, None), 0.15)
    assert mild is not None
    assert not mild["throttled"]
    assert mild["temperature_c"] is None


def test_a_cause_that_cannot_be_read_is_not_made_up() -> None:
    found = heat.sustained([0.1] * 300 + [0.2] * 300, 1, windows(None, 80.0), 0.05)
    assert found is not None
    assert "neither temperature nor clock can be read here" in heat.heat_note(found)


def metered(
    joules: float | None, elapsed: float, *, reason: str | None = None, readings: int | None = None
) -> EnergyMeter:
    meter = EnergyMeter(Path("/nowhere"), absent)
    meter.joules, meter.elapsed, meter.reason, meter.method = joules, elapsed, reason, "RAPL, whole packages"
    if readings is not None:
        meter._watts = [1.0] * readings
    else:
        meter._counters = {"intel-rapl:0": None}  # type: ignore[dict-item]
    return meter


def test_idle_power_is_subtracted_and_both_are_shown() -> None:
    found = heat.power(metered(20.0, 10.0), metered(60.0, 10.0), images=100)
    assert found == {
        "source": "RAPL, whole packages",
        "idle_watts": 2.0,
        "idle_seconds": 10.0,
        "watts": 6.0,
        "seconds": 10.0,
        "joules_per_image": 0.6,
        "joules_per_image_above_idle": pytest.approx(0.4),
        "readings": None,
    }
    assert heat.power_note(found) == (
        "energy: 0.6 J a query, 0.4 J of it above idle (6 W working, 2 W idle; RAPL, whole packages)"
    )


def test_what_is_not_told_from_idle_or_read_seldom_is_said() -> None:
    assert "not told from idle" in heat.power_note(heat.power(metered(60.0, 10.0), metered(59.0, 10.0), 100))
    seldom = heat.power(metered(20.0, 10.0, readings=10), metered(12.0, 3.0, readings=3), 100)
    assert "of 3 readings alone: measure longer" in heat.power_note(seldom)


def test_power_that_cannot_be_read_has_its_reason() -> None:
    nothing = metered(None, 0.0, reason="/sys/class/powercap/intel-rapl:0/energy_uj: Permission denied")
    found = heat.power(nothing, nothing, 100)
    assert found == {
        "reason": "not available here, because /sys/class/powercap/intel-rapl:0/energy_uj: Permission denied"
    }
    assert heat.power_note(found).startswith("energy not available here, because /sys/class")


def test_nobody_rests_where_nothing_can_be_read(tmp_path: Path) -> None:
    meter = heat.idle(600.0, tmp_path, absent)  # would take ten minutes
    assert meter.joules is None


@pytest.mark.parametrize(
    "words", [["--by", ""], ["--by", "x" * 61], ["--by", "a\x07"], ["--drop", "0"], ["--drop", "100"]]
)
def test_options_that_say_nothing_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        options.parse(words, ["m"], [], 2)
    assert caught.value.code == 2
    assert words[0] in capsys.readouterr().err


def test_record_and_out_are_one_option() -> None:
    for word in ("--record", "--out"):
        given = options.parse([word, "o.json", "--by", " Ada  L. ", "--drop", "10"], ["m"], [], 2)
        assert (given.out, given.by, given.drop, given.power) == (Path("o.json"), "Ada L.", 0.1, False)


def test_a_card_names_a_virtual_machine_and_temperatures(tmp_path: Path) -> None:
    tree(
        tmp_path,
        {
            "proc/cpuinfo": "model name\t: vCPU\nflags\t\t: avx2 hypervisor",
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
            "sys/class/thermal/thermal_zone0/temp": "61000",
        },
    )
    made = machine.card(machine.describe(tmp_path), {"cpu-thermal": 40.0}, tmp_path)
    assert made["virtual"] == "the processor says that a hypervisor runs it"
    assert (made["temperature_before"], made["temperature_after"]) == ({"cpu-thermal": 40.0}, {"cpu-thermal": 61.0})


@pytest.mark.parametrize(
    ("cpu", "slug"),
    [
        ("Intel(R) Core(TM) i5-8250U CPU @ 1.60GHz", "intel-core-i5-8250u"),
        ("Raspberry Pi 5 Model B Rev 1.0", "raspberry-pi-5-model-b-rev-1-0"),
        ("../../x", "x"),
        ("名", "machine"),
        ("a" * 47 + " bcd", "a" * 47),
    ],
)
def test_a_processor_names_a_file(cpu: str, slug: str) -> None:
    assert machine.slug(cpu) == slug


def test_a_measurement_reads_energy_heat_and_clocks_under_any_root(bundle: Bundle, tmp_path: Path) -> None:
    from vireid.bundle.device import tasks

    files = {
        "sys/class/powercap/intel-rapl:0/name": "package-0",
        "sys/class/powercap/intel-rapl:0/energy_uj": "0",
        "sys/class/powercap/intel-rapl:0/max_energy_range_uj": "100000000",
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
        "sys/class/thermal/thermal_zone0/temp": "61000",
    }
    root, (model,) = tree(tmp_path / "root", files), bundle.manifest["models"]
    counter, done = root / "sys/class/powercap/intel-rapl:0/energy_uj", threading.Event()

    def burn() -> None:
        used = 0
        while not done.wait(0.005):
            used += 50_000
            (root / "partial").write_text(str(used))
            (root / "partial").replace(counter)

    thread = threading.Thread(target=burn)
    thread.start()
    try:
        found = tasks.measure(
            model=str(bundle.folder / model["file"]), runtime=model["runtime"], threads=1, batch=1,
            resolution=model["resolution"], budget=BUDGET, sustained_seconds=0.4, idle_seconds=0.2, root=str(root),
        )  # fmt: skip
    finally:
        done.set()
        thread.join()
    log = found["sensors"]
    assert log["power"]["idle_watts"] > 0
    assert log["power"]["joules_per_image"] == pytest.approx(found["joules_per_image"])
    assert log["power"]["idle_seconds"] >= 0.2
    assert log["sustained"]["temperature_c"] == [61.0, 61.0]
    assert log["clock"]["monotonic"] >= 0.4
    assert log["clock"]["wall"] == pytest.approx(log["clock"]["monotonic"], abs=1.0)


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script; measure.py is run there")
def test_one_command_writes_a_file_that_others_can_check(bundle: Bundle, tmp_path: Path) -> None:
    (bundle.folder / "run").chmod(0o755)  # Python's unpacking of archives forgets modes, unlike unzip
    words = ["--by", "Ada", "--record", "out.json", "--power", "--idle", "0.2", "--sustained", "2", "--threads", "1"]
    done = subprocess.run(
        [str(bundle.folder / "run"), *words, "--gallery", "50", "--storage", "int8"],
        cwd=tmp_path, capture_output=True, text=True, timeout=240,
        env={**{k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, "PYTHON": sys.executable},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sustained: first" in done.stdout or "throttled: first" in done.stdout
    assert "energy" in done.stdout
    (model,) = bundle.manifest["models"]
    checked = check_file(tmp_path / "out.json", {(model["graph"], tuple(model["resolution"])): 1e3})
    assert checked.contribution.by == "Ada"
    (check,) = checked.contribution.checks
    assert (check.passed, check.model, check.images) == (True, model["name"], 4)
    one, searched = checked.contribution.records
    assert list(searched.record.stages) == ["network", "search"]
    assert one.sensors.sustained is not None
    assert one.sensors.power is not None
    if one.sensors.power.reason is not None:
        assert one.sensors.power.reason.startswith("not available here, because ")
    heading = json.loads((tmp_path / "out.json").read_text())
    assert list(heading)[:6] == ["format", "version", "bundle", "vireid", "by", "checks"]
