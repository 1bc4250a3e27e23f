from __future__ import annotations

from pathlib import Path

from tests.report.studies import BuildStore
from vireid.report.page import open_report
from vireid.store import Store


def test_markdown_has_effects_costs_checks_and_the_command(factorial: Store, tmp_path: Path) -> None:
    report = open_report(factorial.root, "factorial", tmp_path)
    page = report.section("summary")
    text = (tmp_path / "summary.md").read_text()
    lines = text.splitlines()
    rows = [line for line in lines if line.startswith("| ") and "Toggle" not in line]
    assert [row.split(" | ")[0] for row in rows] == [
        "| IBN",
        "| MHA",
        "| Augmentation",
        "| Adaptive weighting",
        "| *Placebo*",
    ]
    assert all(row.count("|") == 8 for row in rows)
    family = next(family for family in report.families("mAP") if family.reranking == "no re-ranking")
    for row, effect in zip(rows, family.mains, strict=True):
        assert effect.difference is not None
        size = effect.difference.detectable(family.tested)
        assert size is not None
        assert row.split(" | ")[3] == f"{100 * size:.1f}"
    assert f"Effects × seeds: F({family.fitted.test.df[0]}, {family.fitted.test.df[1]})" in text
    assert "**+" in rows[0]
    assert "×1.08" in rows[0]
    assert "**" not in rows[1]
    assert "×1.2" in rows[1]
    assert ": at chance" in text
    assert "Placebo: interval contains zero: yes" in text
    assert "vireid report factorial" in text
    assert "not comparable with published results" in text
    assert "51 of 51 runs complete" in text
    assert "IBN × augmentation" in page
    assert "no effect shown" in page


def test_one_seed_claims_nothing(build_store: BuildStore, tmp_path: Path) -> None:
    report = open_report(build_store().root, "quick", tmp_path)
    page = report.section("summary")
    text = (tmp_path / "summary.md").read_text()
    assert text.count("1 seed, no effect claimed") == 4
    assert "| **" not in text
    assert "[" not in "".join(line for line in text.splitlines() if line.startswith("| IBN"))
    assert page.count('class="unclaimed"') == 8


def test_study_without_scores_says_so(build_store: BuildStore, tmp_path: Path) -> None:
    report = open_report(build_store(broken=range(5)).root, "quick", tmp_path)
    assert "No two cells" in report.section("summary")
    assert "No effect has been measured yet" in (tmp_path / "summary.md").read_text()
