"""Tables of latency records."""

from pathlib import Path

from vireid.cli.show import latency_remarks, latency_tables, stages_settings, stages_table
from vireid.core.records import LatencyRecord, read_record
from vireid.core.table import Table

HISTORIC = Path(__file__).parents[1] / "historic_records"


def record(name: str, **changes: object) -> LatencyRecord:
    found = read_record((HISTORIC / f"{name}.json").read_bytes(), name)
    assert isinstance(found, LatencyRecord)
    return found.model_copy(update=changes)


def shown(*tables: Table) -> str:
    return "\n".join(line for table in tables for line in table.plain_lines())


def test_columns_that_no_record_fills_are_left_out() -> None:
    plain = shown(*latency_tables([record("v1-latency")]))
    assert "p99 ms" in plain
    assert "RSS MB" not in plain
    assert "last ÷ first" not in plain
    both = shown(*latency_tables([record("v1-latency"), record("v1-latency", rss_bytes=712_400_000)]))
    assert "712" in both


def test_a_sustained_run_shows_how_it_slowed_down() -> None:
    windows = [{"start": 10.0 * n, "end": 10.0 * (n + 1), "samples": 2} for n in range(18)]
    seconds = [0.5] * 24 + [0.8] * 12
    table = shown(*latency_tables([record("v1-latency", seconds=seconds, windows=windows)]))
    assert "last ÷ first minute" in table
    assert "1.60" in table
    assert "sustained" in table


def test_stages_add_up_to_all_of_the_time() -> None:
    way = record("v1-latency-isolated", stages={"decode": [0.001, 0.003], "search": [0.006, 0.006]}, seconds=[0.1, 0.1])
    text = shown(stages_table(way))
    assert "25.0" in text  # a mean of 2 ms of 8 ms
    assert "75.0" in text
    assert "whole way" in text
    assert "gallery of 1000 rows" in stages_settings(way)
    assert "1 core" in stages_settings(way)


def test_what_was_not_measured_says_why() -> None:
    skipped = record("v1-latency", status="skipped", reason="needs a package", seconds=[], notes=[])
    assert latency_remarks([skipped]) == ["eager, fp32, 2 threads, batch 1: skipped: needs a package"]
    assert "–" in shown(*latency_tables([skipped]))
