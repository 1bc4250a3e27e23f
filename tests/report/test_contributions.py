"""Boards of others stand beside ours: named, with who measured, in tables and choices, and in no mean of ours."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import pytest

from tests.bundle.contributions import CARD, GRAPH, contribution, entry, samples, sealed, write
from tests.bundle.contributions import model as bundled
from tests.report.deployments import build_deployment, graph
from vireid.bundle.contributed import check_file, file_contribution, known_macs
from vireid.bundle.write import checked_entry
from vireid.core.errors import UserError
from vireid.report.page import open_report
from vireid.report.records.choose import Limits, candidates, choose, find_accuracy_key
from vireid.report.records.deployment import store_deployment, study_deployment
from vireid.report.records.devices import find_timing_key
from vireid.report.records.study import StudyView
from vireid.report.render import input_digest
from vireid.report.sections.machines import unmeasured
from vireid.store import Store

BIG = bundled(graph=graph("idkl"))
SMALL = bundled(graph=graph("compact"))
TEMPLATE = Path(__file__).parents[2] / "notebooks/hardware.ipynb"


def of_board(*seconds: float, by: str | None = "Ada", **sensors: Any) -> dict[str, Any]:
    """Both networks on one board, at four threads; of the first, ``sensors`` too."""
    entries = [
        entry(samples(40, middle, seed=number), of=model)
        for number, (model, middle) in enumerate(zip((BIG, SMALL), seconds, strict=False))
    ]
    entries[0]["record"]["sensors"].update(sensors)
    check = contribution()["checks"][0]
    checks = [{**check, "graph": model["graph"]} for model in (BIG, SMALL)]
    return contribution(*map(sealed, entries), by=by, checks=checks)


def filed(store: Store, content: dict[str, Any]) -> str:
    """The digest that it is filed under, as `vireid results add` files it."""
    file = write(store.root / "out.json", content)
    placed, new = file_contribution(store, check_file(file, known_macs(store)))
    assert new
    return placed.stem


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return build_deployment(tmp_path / "store")


def test_a_contributed_board_is_pooled_with_no_other_record(store: Store) -> None:
    ours = checked_entry(entry(samples(40, 0.1), of=BIG), "ours")
    store.put(ours)
    alone = store_deployment(store)
    digests = [filed(store, of_board(middle, by=by)) for middle, by in ((0.2, "Ada"), (0.3, None))]
    both = store_deployment(store)
    assert both.timings[: len(alone.timings)] == alone.timings, "ours are what they were"
    same = [t for t in both.timings if t.first.environment.machine == ours.environment.machine]
    assert len({t.key.machine for t in same}) == 3
    by_file = {t.key.contribution: t for t in same}
    assert by_file[""].seconds == tuple(ours.seconds)
    assert by_file[digests[0]].median == pytest.approx(statistics.median(samples(40, 0.2)))
    assert [both.measured_by(by_file[d].key) for d in ("", *digests)] == ["", "Ada", "somebody who gave no name"]
    assert len({t.key for t in same}) == 3


def test_two_files_of_one_person_and_device_stay_two(store: Store) -> None:
    digests = [filed(store, of_board(middle)) for middle in (0.2, 0.3)]
    contributed = [t.key for t in store_deployment(store).timings if t.key.contribution]
    assert len({key.device for key in contributed}) == 2
    assert [key.contribution for key in contributed] == sorted(digests)
    assert contributed[1].device == f"{contributed[0].device}, {contributed[1].contribution[:6]}"


@pytest.mark.parametrize("words", ["example pi", "measured by ada", "DIGEST"])
def test_a_contributed_device_is_chosen_for_by_name_and_by_file(store: Store, words: str) -> None:
    digest = filed(store, of_board(0.2, 0.05))
    deployment = store_deployment(store)
    key = find_timing_key(deployment, digest[:8] if words == "DIGEST" else words, store.records())
    assert key.contribution == digest
    choice = choose(candidates(deployment, find_accuracy_key(deployment, None, key)), key, Limits(ms=100))
    assert choice.best is not None
    assert choice.best.label == "hardware: compact"
    assert "measured by Ada" in choice.sentence


def test_a_name_of_two_boards_is_refused_with_both(store: Store) -> None:
    for by, middle in (("Ada", 0.2), ("Eve", 0.3)):
        filed(store, of_board(middle, by=by))
    with pytest.raises(UserError, match=r"2 machines are called so.*measured by Ada'.*measured by Eve'"):
        find_timing_key(store_deployment(store), "example pi", store.records())


def test_reports_list_the_board_with_who_measured(store: Store, tmp_path: Path) -> None:
    report = open_report(store.root, "hardware", tmp_path / "before")
    assert "Measured by" not in report.section("machines")
    digest = filed(
        store,
        of_board(
            0.2,
            0.05,
            sustained={
                **{"first_seconds": 1.3, "first_rate": 6.0, "last_seconds": 4.0, "last_rate": 4.0, "lost": 0.333},
                **{"drop": 0.05, "throttled": True, "temperature_c": [55.0, 84.0], "frequency_mhz": None},
            },
            power={
                **{"source": "sys/class/hwmon/hwmon2 ina219, channel 1", "idle_watts": 2.5, "idle_seconds": 10.0},
                **{"watts": 6.0, "seconds": 8.0, "joules_per_image": 1.2, "joules_per_image_above_idle": 0.7},
                "readings": 8,
            },
        ),
    )
    report = open_report(store.root, "hardware", tmp_path / "out")
    machines, devices = report.section("machines"), report.section("devices")
    assert "Measured by" in machines
    assert "Ada" in machines
    assert "here" in machines
    for words in (
        *("Example Pi 5 Model B Rev 1.0", "Ada", "41 → 64", "ondemand, 2400 MHz", digest[:6], "nothing proves"),
        "throttled: 6.00 images/s at first, 4.00 at last, 55 → 84 °C",
        "1.2 J a query, 0.7 J of it above idle (2.5 W)",
    ):
        assert words in devices, words
    assert "measured by Ada" in report.section("latency_by_machine")
    assert "2026-03-01" in devices


def test_a_kind_of_device_that_somebody_measured_is_no_longer_wanted(store: Store) -> None:
    name = "Raspberry Pi 4 or 5"
    view = StudyView(store, "hardware")
    assert name in [wanted.name for wanted in unmeasured(study_deployment(view))]
    content = of_board(0.2)
    cpu = "Raspberry Pi 5 Model B Rev 1.0"
    content["device"]["cpu"] = cpu
    one = content["records"][0]
    one["record"]["environment"]["device"]["cpu"] = one["specification"]["device"]["cpu"] = cpu
    content["records"] = [sealed(one)]
    before = input_digest(view, TEMPLATE)
    filed(store, content)
    assert name not in [wanted.name for wanted in unmeasured(study_deployment(view))]
    assert input_digest(view, TEMPLATE) != before, "a page is rendered anew"


def test_names_are_text_on_a_page(store: Store, tmp_path: Path) -> None:
    filed(store, of_board(0.2, by="Ada & 'Eve' \"Ü\" [b] 100 %"))
    page = open_report(store.root, "hardware", tmp_path / "out")
    for section in ("machines", "devices", "latency_by_machine", "front"):
        assert "Ada & 'Eve'" not in page.section(section)
    assert "Ada &amp; &#39;Eve&#39; &#34;Ü&#34; [b] 100 %" in page.section("devices")


def test_a_file_that_cannot_be_read_is_left_out_with_a_word(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    digest = filed(store, of_board(0.2))
    (store.devices / "example").mkdir()
    write(store.devices / "example" / "0000.json", "{}")
    assert [name for name, _ in store.contributions()] == [digest]
    assert "1 contributed file is left out" in caplog.text


def test_the_working_store_shows_what_is_committed(tmp_path: Path) -> None:
    store = build_deployment(tmp_path / "results" / "local")
    digest = filed(store, of_board(0.2))
    assert (tmp_path / "results/devices").is_dir()
    assert not (tmp_path / "results/local/devices").exists()
    assert [name for name, _ in Store(tmp_path / "results").contributions()] == [digest]
    assert CARD["cpu"] in store_deployment(store).timings[-1].key.device
    assert GRAPH not in {timing.graph for timing in store_deployment(store).timings}
