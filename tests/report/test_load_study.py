"""Studies in Python: scores and effects as DataFrames, the same that the report prints."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import vireid
from tests.report.studies import BuildStore
from vireid.core.errors import UserError
from vireid.core.records import EvaluationRecord
from vireid.report.effects.estimate import families
from vireid.store import Store

ROOT = Path(__file__).parents[2]


@pytest.fixture
def study(factorial: Store) -> vireid.Study:
    (name,) = vireid.studies(factorial.root)
    return vireid.load_study(name, factorial.root)


def test_scores_have_a_row_per_fit_and_protocol(study: vireid.Study, factorial: Store) -> None:
    scores = study.scores
    assert len(scores) == sum(isinstance(record, EvaluationRecord) for record in factorial.records())
    assert scores.groupby(["fit", "protocol", "reranking"]).size().max() == 1
    row = scores.iloc[3]
    record = factorial.get(row.evaluation)
    assert isinstance(record, EvaluationRecord)
    assert (record.fit, record.metrics["mAP"]) == (row.fit, pytest.approx(row.mAP))
    assert set(study.view.plan.factors) <= set(scores.columns)
    assert scores.data.str.startswith("synthetic").all()


def test_effects_are_the_reports(study: vireid.Study) -> None:
    effects = study.effects()
    assert set(effects.metric) == {"mAP", "r1"}
    computed = [e for family in families(study.view, "mAP") for e in family.effects if e.difference is not None]
    own = effects[(effects.metric == "mAP") & effects.difference.notna()]
    assert np.allclose(own.difference, [e.difference.mean for e in computed if e.difference])
    copy = study.table("effects").frame
    pd.testing.assert_frame_equal(
        copy[["effect", "difference", "low", "high", "p_holm"]],
        study.effects("mAP")[["effect", "difference", "low", "high", "p_holm"]].infer_objects(),
        check_dtype=False,
    )
    with pytest.raises(UserError, match=r"metric 'map': no such score; valid: mAP"):
        study.effects("map")


def test_a_table_shows_itself_and_can_be_pasted(study: vireid.Study) -> None:
    section = study.table("ablation")
    assert r"\begin{tabular}" in section.to_latex()
    assert "<table" in section._repr_html_()
    plain = section.frame[section.frame.reranking == "no re-ranking"]
    scores = study.scores[study.scores.reranking == "no re-ranking"]
    means = scores.groupby("label", sort=False).mAP.mean()
    for row in plain.itertuples():
        assert row.mAP == pytest.approx(means[row.configuration])
    assert "not comparable with published results" in study._repr_html_()
    with pytest.raises(UserError, match="no section 'ablatoin'"):
        study.table("ablatoin")
    with pytest.raises(UserError, match="no table of numbers"):
        _ = study.table("overview").frame
    assert io.StringIO(section.frame.to_csv()).readline().startswith(",configuration")


def test_the_committed_studies_open_by_name_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VIREID_STORE", raising=False)
    assert "optimized_idkl" in vireid.studies()
    study = vireid.load_study("optimized_idkl")
    assert study.root.resolve().is_relative_to(ROOT / "results")  # or results/local below it
    assert "19 cells × 6 seeds" in repr(study)
    assert vireid.load_study(ROOT / "results/studies/compact").name == "compact"
    assert vireid.load_study(ROOT / "results/studies/compact/plan.json").name == "compact"
    with pytest.raises(
        vireid.UserError, match=r"'optimised_idkl': not in .*did you mean 'optimized_idkl'.*compact, co"
    ):
        vireid.load_study("optimised_idkl")


def test_a_store_of_ones_own_comes_first(build_store: BuildStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store = build_store()
    monkeypatch.setenv("VIREID_STORE", str(store.root))
    assert vireid.load_study("quick").root == store.root


def test_the_package_lists_what_it_offers() -> None:
    assert {"load_study", "studies", "evaluate_features"} <= set(dir(vireid))
    assert all(getattr(vireid, name) is not None for name in dir(vireid))
