"""Published records: their places in print, what may share a table, what disagrees, and the works that they cite."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from vireid.core.errors import UserError
from vireid.core.publication import CodeCheck, Publication
from vireid.core.published import (
    PUBLISHED,
    REFERENCES,
    bibtex,
    block_title,
    disagreements,
    method,
    percent,
    place,
    published_by_name,
    references,
    table_title,
    tables,
)
from vireid.core.records import CostRecord, EvaluationRecord
from vireid.core.source import Source

NAMED = published_by_name()
SCORES = {name: record for name, record in NAMED.items() if isinstance(record, EvaluationRecord)}


def publication(name: str) -> Publication:
    found = NAMED[name].source.publication
    assert found is not None
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of all records, to be spoilt."""
    return shutil.copytree(PUBLISHED, tmp_path / "published")


def change(folder: Path, name: str, **changes: Any) -> None:
    path = folder / f"{name}.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["source"]["publication"].update(changes)
    path.write_text(json.dumps(content), encoding="utf-8")


def test_every_record_names_its_table_or_says_why_not() -> None:
    assert len(NAMED) == len(list(PUBLISHED.glob("*.json"))) > 70
    with_table = [name for name in NAMED if publication(name).table]
    without = [name for name in NAMED if publication(name).no_table]
    assert len(with_table) > 25
    assert len(without) > 25
    assert sorted([*with_table, *without]) == sorted(NAMED)
    for name, record in NAMED.items():
        assert place(record) == publication(name).place
        assert publication(name).document in place(record)
        assert ("table not given" in place(record)) == (name in without)


def test_a_work_is_cited_in_the_same_words_everywhere_and_has_one_entry() -> None:
    words: dict[str, set[str | None]] = {}
    for name, record in NAMED.items():
        words.setdefault(publication(name).paper, set()).add(record.source.citation)
    assert {paper: citations for paper, citations in words.items() if len(citations) > 1} == {}
    assert set(words) == set(references())


def test_what_was_wrong_is_right() -> None:
    saai, idkl = SCORES["saai-sysu-all"].card, SCORES["idkl-sysu-all"].card
    assert saai.reranking_label == "re-ranked (affinity inference, k1 4, k2 1)"
    assert "k1 30, k2 6" in publication("saai-sysu-all").code.finding
    assert (idkl.reranking_label, idkl.is_plain) == ("re-ranking disputed", False)
    assert publication("idkl-sysu-all").code.verdict == "contradicts"
    for name in ("caj-sysu-all", "caj-sysu-indoor", "deen-sysu-all", "deen-sysu-indoor", "agw-sysu-all"):
        assert SCORES[name].card.selection == "best test epoch", name
    assert "six maps" in str(SCORES["deen-sysu-all"].card.test_time_augmentation)
    assert SCORES["mcja-sysu-all"].card.reranking_label.endswith("k1 40, k2 20, λ 0.3)")
    known = {"mcja": (0.8951, 0.8758), "sf2dnet": (0.8236, 0.7707), "mscmnet": (0.7853, 0.742)}
    known |= {"mdcrnet": (0.7838, 0.7495), "caj_plus": (0.7148, 0.6815)}
    for name, (r1, ap) in known.items():
        assert (SCORES[f"{name}-sysu-all"].metrics["r1"], SCORES[f"{name}-sysu-all"].metrics["mAP"]) == (r1, ap)
    assert SCORES["sf2dnet-sysu-all"].card.reranking_label == "re-ranking not stated"
    assert SCORES["deen-llcm-sampled-v2i"].metrics == {"r1": 0.625, "mAP": 0.658}
    released = SCORES["deen-llcm-released-v2i"].metrics
    assert (released["r1"], released["mAP"]) == (0.6921, 0.5552)


def test_no_table_mixes_protocols_and_no_block_test_time_steps() -> None:
    found = tables(SCORES.values())
    rows = [record.id for blocks in found.values() for block in blocks.values() for record in block]
    assert sorted(rows) == sorted(record.id for record in SCORES.values())
    for title, blocks in found.items():
        cards = [record.card for block in blocks.values() for record in block]
        kinds = ("name", "mode", "direction", "shots", "split", "reranking_label", "reads_text", "text")
        assert {len({getattr(card, kind) for card in cards}) for kind in kinds} == {1}, title
        for block in blocks.values():
            assert len({record.card.test_time_augmentation for record in block}) == 1
    # each of these would be empty, and the test vacuous, if titles said nothing
    llcm = {title for title in found if title.startswith("llcm")}
    assert {title.partition(" ")[0] for title in llcm} == {"llcm/sampled", "llcm/deen-released"}
    assert sum("text oracle" in title for title in found) == 3
    assert sum("re-ranked" in title for title in found) >= 5
    assert sum("disputed" in title for title in found) == 2
    assert any(len(blocks) > 2 for blocks in found.values())
    shown = list(found)
    assert shown[0].startswith("sysu")
    assert shown[0].endswith("no re-ranking")


def test_titles_leave_the_test_time_step_to_the_block() -> None:
    caj, agw = SCORES["caj-sysu-all"], SCORES["agw-sysu-all"]
    assert table_title(caj) == table_title(agw) == "sysu/seeded · all · infrared→visible · single-shot, no re-ranking"
    assert block_title(caj) == "test-time augmentation flip"
    assert block_title(agw) == "no test-time augmentation"
    assert [percent(agw, metric) for metric in ("r1", "mAP", "r10")] == ["47.5", "47.65", "–"]


def test_disagreements_are_rows_on_either_side() -> None:
    pairs = disagreements(NAMED)
    declared = sum(len(publication(name).disagrees_with) for name in NAMED)
    assert len(pairs) == declared >= 11
    for pair in pairs:
        assert pair.about
        assert method(pair.one) == method(pair.other)
        shared = set(pair.one.metrics) & set(pair.other.metrics)
        assert any(pair.one.metrics[metric] != pair.other.metrics[metric] for metric in shared)
    idkl = [pair for pair in pairs if method(pair.one) == "idkl"]
    assert [(pair.one.metrics["r1"], pair.other.metrics["r1"]) for pair in idkl] == [(0.8142, 0.71)]
    assert disagreements(NAMED, [SCORES["pmt-sysu-all"]]) == []
    assert len(disagreements(NAMED, [SCORES["idkl-sysu-all-issue4"]])) == 1  # from the other side, too


def test_bibtex_holds_every_cited_work_once() -> None:
    text = bibtex([*NAMED.values(), *NAMED.values()])
    keys = re.findall(r"^@\w+\{(\w+),$", text, re.MULTILINE)
    assert keys == sorted({publication(name).paper for name in NAMED})
    assert text.count("{") == text.count("}")
    two = bibtex([SCORES["caj-sysu-all"], SCORES["agw-sysu-all"], SCORES["agw-llcm-sampled-i2v"]])
    assert re.findall(r"^@\w+\{(\w+),$", two, re.MULTILINE) == ["Ye2021AGW", "Ye2021CAJ"]
    assert two.endswith("}\n")
    measured = SCORES["agw-sysu-all"].model_copy(update={"source": Source()})
    assert bibtex([measured]) == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"paper": "Ren2024IDKI"}, r"idkl-sysu-all\.json: cites 'Ren2024IDKI'.*'Ren2024IDKL'.*references\.bib"),
        (
            {"disagrees_with": [{"record": "idkl-sysu-al", "about": "x"}]},
            r"idkl-sysu-all\.json: disagrees with 'idkl-sysu-al'.*'idkl-sysu-all'",
        ),
        ({"disagrees_with": [{"record": "agw-cost-288x144", "about": "x"}]}, "name the file of an accuracy"),
        ({"table": "Table 1"}, "never both"),
        ({"no_table": ""}, "say in no_table why none is named"),
        ({"code": {"verdict": "confirms"}}, "do not agree"),
        ({"states_reranking": "maybe"}, "states_reranking"),
    ],
)
def test_a_spoilt_record_is_refused_with_its_place(folder: Path, changes: dict[str, Any], said: str) -> None:
    change(folder, "idkl-sysu-all", **changes)
    with pytest.raises(UserError, match=said):
        published_by_name(folder)


def test_a_record_without_publication_is_refused(folder: Path) -> None:
    path = folder / "pmt-sysu-all.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["source"]["publication"]
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError, match=r"pmt-sysu-all\.json: .*source\.publication"):
        published_by_name(folder)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda text: text + "\nsome words\n", r"references\.bib: 'some words' belongs to no entry"),
        (lambda text: text + "\n@misc{IVREID,\n  title = {Again},\n}\n", "'IVREID' is given twice"),
        (lambda text: text.replace("@misc{IVREID,", "@misc{IVReID,"), "cites 'IVREID'"),
    ],
)
def test_spoilt_references_are_refused(folder: Path, spoil: Any, said: str) -> None:
    path = folder / REFERENCES
    path.write_text(spoil(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(UserError, match=said):
        published_by_name(folder)
    path.unlink()
    with pytest.raises(UserError, match=r"references\.bib: no such file"):
        published_by_name(folder)


def test_measured_sources_are_written_as_before_and_cannot_be_in_print() -> None:
    assert Source().model_dump(mode="json") == {"kind": "measured", "citation": None}
    with pytest.raises(ValidationError, match="published"):
        Source(publication=publication("pmt-sysu-all"))
    record = SCORES["pmt-sysu-all"]
    assert EvaluationRecord.model_validate_json(record.model_dump_json()) == record


def test_a_verdict_says_where_it_was_read() -> None:
    with pytest.raises(ValidationError, match="do not agree"):
        CodeCheck(verdict="not read", where="somewhere", finding="something")
    assert any(isinstance(record, CostRecord) for record in NAMED.values())
    verdicts = {publication(name).code.verdict for name in NAMED}
    assert verdicts == {"confirms", "contradicts", "leaves open", "none released", "not read"}
