"""``vireid gallery`` and ``vireid choose --gallery`` and ``--keep`` as a user runs them: tables, limits, faults."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.report.deployments import HERE, ONNX, Deployed, build_deployment, fit_id, graph
from vireid.cli import app
from vireid.cli import choose as _choose  # noqa: F401 - adds itself to `app`
from vireid.cli import results as _results  # noqa: F401 - likewise
from vireid.cli.choose_gallery import parse_size, parse_time
from vireid.cli.gallery import accuracy_table, parse_share, time_table
from vireid.core.errors import UserError
from vireid.core.records import GalleryRecord, LatencyRecord, SearchRecord
from vireid.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = build_deployment(tmp_path / "store")
    write = Deployed(store)
    for seed in (1, 2):
        write.gallery("idkl", seed, "fp32", 0.32, 512.0)
        write.gallery("idkl", seed, "int8", 0.315, 132.0)
    for storage, seconds in (("fp32", 0.02), ("int8", 0.01)):
        write.search(storage, 1000, seconds / 100)
        write.search(storage, 100_000, seconds)
    memory = {"peak_memory_bytes": 40_000_000, "memory_by": "growth"}
    write.time(graph("idkl"), [0.03] * 3, ONNX, **memory)
    return store


def run(store: Store, *words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, [*words, "--store", str(store.root)])
    if isinstance(result.exception, UserError):
        raise result.exception
    return result.exit_code, result.stdout


def here(store: Store) -> str:
    return next(
        r.id
        for r in store.records()
        if isinstance(r, LatencyRecord) and (r.threads, r.environment.device["cpu"]) == (1, HERE["cpu"])
    )


def test_network_precision_and_gallery_within_a_budget(store: Store) -> None:
    words = ("choose", "--device", here(store), "--gallery", "100000", "--memory", "60MB", "--latency", "50ms")
    code, text = run(store, *words, "--json")
    best = json.loads(text)["best"]
    assert code == 0
    assert (best["storage"], best["runtime"]["name"], best["rows"]) == ("int8", "onnxruntime", 100_000)
    assert best["ms"] == pytest.approx(best["network_ms"] + best["preprocess_ms"] + best["search_ms"])
    assert best["memory_bytes"] == 40_000_000 + 13_200_000
    code, text = run(store, *words)
    rows = [line.split("\t") for line in text.splitlines() if "\t" in line]
    assert rows[0][:7] == ["choice", "model", "file", "gallery", "ms", "MB", "mAP %"]
    assert rows[1][0] == "the pick"
    assert len(rows) - 1 == len({tuple(row[1:4]) for row in rows[1:]}), "every candidate once"
    assert "53.2 MB with 100000 rows, is the most accurate of 1 within the limits" in text.replace("\n", " ")


def test_a_budget_that_nothing_keeps_is_exit_code_1_with_the_nearest(store: Store) -> None:
    code, text = run(store, "choose", "--device", here(store), "--gallery", "100000", "--memory", "45MB")
    assert code == 1
    assert "memory at least 53.2 MB, of " in text.replace("\n", " ")


def test_the_floor_is_in_table_and_json(store: Store) -> None:
    code, text = run(store, "choose", "--device", here(store), "--study", "hardware", "--keep", "80%", "--json")
    found = json.loads(text)
    assert code == 0
    assert found["floor"] == {"mAP": pytest.approx(0.8 * 0.32), "share": 0.8, "of": "idkl"}
    assert found["best"]["model"] == "compact"
    code, text = run(store, "choose", "--device", here(store), "--study", "hardware", "--keep", "80%")
    assert "is the fastest that keeps the floor" in text
    assert "27.0?" not in text, "pipes get plain numbers"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--memory", "200MB"),
            "--memory 200MB: counts the gallery too: add --gallery ROWS, or limit with --max-rss-mb",
        ),
        (("--latency", "50ms"), "--latency 50ms: counts the gallery too: add --gallery ROWS, or limit with --max-ms"),
        (("--reference", "idkl"), "--reference idkl: says nothing without --keep"),
        (("--gallery", "1000", "--percentile", "90"), "--percentile 90: with --gallery a query's medians are added up"),
        (("--keep", "120%"), "--keep 120%: give a share such as 99% or 0.99"),
        (("--gallery", "1000", "--memory", "much"), "--memory much: give a number with its unit, such as 200MB or 1GB"),
        (("--gallery", "5000000"), "--gallery 5000000: on .* run `vireid gallery RUN`"),
    ],
)
def test_faults_name_the_option_and_the_remedy(store: Store, words: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        run(store, "choose", "--device", here(store), *words)


def test_quantities() -> None:
    assert (parse_size("200MB"), parse_size("1 GiB"), parse_size("0.5gb")) == (200e6, 2**30, 5e8)
    assert (parse_time("50ms"), parse_time("0.2s")) == (50, 200)
    assert (parse_share("99%", "--keep"), parse_share("0.9", "--keep")) == (0.99, 0.9)


def test_tables_of_a_fit_mark_the_choice_and_give_exponents(store: Store) -> None:
    Deployed(store).gallery("idkl", 1, "int8", 0.31, 132.0, split="dev")
    records = [r for r in store.records() if isinstance(r, GalleryRecord) and r.fit == fit_id("idkl", 1)]
    lines = list(accuracy_table("fit", records, "int8", "99%").plain_lines())
    assert lines[1].split("\t")[:6] == ["identities", "storage", "B/row", "mAP % [95 %]", "to fp32 [95 %]", "R1 %"]
    assert {line.split("\t")[0] for line in lines[2:] if "\t" in line} == {"dev", "test"}
    assert "fewest bytes that keep 99% of fp32's mAP on dev" in lines[-2]
    searches = [r for r in store.records() if isinstance(r, SearchRecord)]
    cells = [line.split("\t") for line in time_table(searches).plain_lines() if line.startswith("numpy")]
    assert {cell[1]: cell[2:] for cell in cells} == {
        "fp32": ["0.200", "20.00", "10.0", "1.00"],
        "int8": ["0.100", "10.00", "10.0", "1.00"],
    }


def test_new_kinds_are_listed_and_shown(store: Store) -> None:
    code, text = run(store, "results", "list", "--kind", "gallery")
    assert code == 0
    assert text.count("\tgallery\tok\t") == 4
    search = next(r.id for r in store.records() if isinstance(r, SearchRecord))
    code, text = run(store, "results", "show", search)
    assert code == 0
    assert "vireid gallery RUN --storage" in text
    gallery = next(r.id for r in store.records() if isinstance(r, GalleryRecord))
    code, text = run(store, "results", "show", gallery)
    assert code == 0
    assert "Gallery of fit" in text
