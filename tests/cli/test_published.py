"""``vireid models --published``: on a terminal, through a pipe, as JSON and as BibTeX."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PLAIN = ("models", "--published", "--dataset", "sysu", "--mode", "all", "--plain")


def piped(text: str) -> dict[str, list[dict[str, str]]]:
    """Rows of every table by its title."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("# ") and not line.startswith("# %"):
            found[line[2:]] = rows = []
        elif not line.startswith("#"):
            rows.append(line)
    readers = {title: csv.DictReader(io.StringIO("\n".join(rows)), delimiter="\t") for title, rows in found.items()}
    return {title: list(reader) for title, reader in readers.items()}


def test_plain_sysu_names_source_and_table_in_every_row(shell):
    found = piped(shell.run(*PLAIN).stdout)
    scores = {title: rows for title, rows in found.items() if title.startswith("sysu")}
    assert len(scores) == 4  # gallery unnamed, official, seeded; text apart
    assert {row["method"] for rows in scores.values() for row in rows} >= {"agw", "deen", "tskd", "mscmnet", "mpanet"}
    for title, rows in scores.items():
        assert title.endswith("single-shot, no re-ranking") or "text oracle, no re-ranking" in title
        for row in rows:
            assert row["printed in"]
            assert row["source"]
            assert row["bibtex"]
            assert {part for part in row["protocol"].split(" · ") if not part.startswith("test-time")} >= {"all"}
            assert row["protocol"].split(" · ")[0] == title.split(" · ")[0]
    values = [row["R1"] for row in found["sysu/seeded · all · infrared→visible · single-shot, no re-ranking"]]
    assert values[:3] == ["78.53", "67.53", "61.99"]  # best first within a block
    idkl = [row for rows in scores.values() for row in rows if row["method"] == "idkl"]
    assert [row["R1"] for row in idkl] == ["71.0"]  # the disputed number stands among the disagreements alone
    sides = found["Disagreements: one method, two numbers"]
    assert [row["R1"] for row in sides if row["method"] == "idkl"] == ["81.42", "71.0"]
    assert [row["R1"] for row in sides if row["method"] == "deen"] == ["74.7", "71.08"]
    assert {row["method"] for row in found["What released code does otherwise, or leaves open"]} == {"deen", "mpanet"}


@pytest.mark.parametrize(("key", "first"), [("r1", "mfen"), ("mAP", "bit"), ("method", "bit"), ("year", "partmix")])
def test_rows_are_sorted_as_asked(shell, key, first):
    found = piped(shell.run(*PLAIN, "--sort", key).stdout)
    assert found["sysu · all · infrared→visible · single-shot, no re-ranking"][0]["method"] == first


def test_the_families_of_llcm_share_no_table(shell):
    found = piped(shell.run("models", "--published", "--dataset", "llcm").stdout)
    families = [title.split(" · ")[0] for title in found if title.startswith("llcm")]
    assert families.count("llcm/sampled") == 3
    assert families.count("llcm/deen-released") == 2
    assert len(found["Disagreements: one method, two numbers"]) == 20


def test_a_terminal_of_80_columns_shows_tables_and_numbered_sources(shell):
    shown = shell.on_terminal("models", "--published")
    assert [line for line in shown.splitlines() if len(line) > 80] == []
    assert not re.search(r"\w…", shown)
    assert "method: " not in shown
    assert "\nmethod       R1    mAP" in shown  # a table, not a block per row
    assert re.search(r"\[\d\] +PMT: Lu et al., AAAI 2023; README of hulu88/PMT, results table", shown)
    assert "(affinity inference, k1 4, k2 1)" in " ".join(shown.split())


def test_json_and_bibtex_are_of_the_chosen_rows(shell):
    rows = json.loads(shell.run(*PLAIN, "--json").stdout)
    assert all(row["protocol"]["reranking"] == {"name": "none"} for row in rows)
    assert {row["record"] for row in rows} >= {"agw-sysu-all", "idkl-sysu-all-issue4"}
    assert all(row["publication"]["paper"] and row["citation"] for row in rows)
    entries = set(re.findall(r"^@\w+\{(\w+),$", shell.run(*PLAIN, "--bibtex").stdout, re.MULTILINE))
    assert entries == {row["publication"]["paper"] for row in rows}
    assert "Liang2024MCJA" not in entries  # re-ranked


def test_the_documentation_shows_what_is_printed(shell):
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    section = text[text.index("## Published numbers") : text.index("## For programs")]
    blocks = re.findall(r"```text\n(.*?)\n```", section, re.DOTALL)
    shown = "\n".join(line.rstrip() for line in shell.on_terminal(*PLAIN).splitlines())
    assert [block.partition("\n")[0].split(" ")[0] for block in blocks] == ["sysu/seeded", "Disagreements:"]
    assert all(block in shown for block in blocks)
    commands = re.findall(r"^vireid (models --published.*?)(?: *[#>].*)?$", section, re.MULTILINE)
    assert len(commands) == 5
    for command in commands:
        assert shell.run(*command.split()).returncode == 0, command


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("models", "--plain"), "--plain works with --published only"),
        (("models", "--published", "--count"), "--count counts the suite's systems"),
        (("models", "--published", "--dataset", "llcm", "--mode", "indoor"), "no published number fits --dataset llcm"),
        (("models", "--published", "--bibtex", "--json"), "leave --json out"),
        (("models", "--published", "--sort", "rank"), "rank"),
    ],
)
def test_what_cannot_be_is_refused(shell, arguments, said):
    result = shell.run(*arguments)
    assert result.returncode == 2
    assert said in result.stderr
