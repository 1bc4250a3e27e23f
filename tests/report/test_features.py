"""Features of other programs in a report: beside the scores of the same images and protocol, and in no effect."""

from __future__ import annotations

from tests.report.studies import PLAIN, ZHONG, BuildStore, card, common
from vireid.core.identity import run_id
from vireid.core.records import EvaluationRecord
from vireid.core.source import Source
from vireid.report.records.study import StudyView
from vireid.report.sections.features import features_beside
from vireid.report.sections.scores import cited_works
from vireid.report.tables import score_table
from vireid.store import Store


def put(store: Store, name: str, reranking: dict[str, object] = PLAIN, **changes: object) -> None:
    source = Source(method=name, citation=f"the work of {name}", paper="Zhang2023DEEN")
    fields = {
        "id": run_id([name, reranking["name"]]), "status": "ok", "fit": run_id(name), "fingerprint": "e" * 64,
        "protocol": card(reranking, selection=f"not known: features of {name}", gallery=7),
        "metrics": {"r1": 0.987, "mAP": 0.9876}, **common(), "source": source,
    }  # fmt: skip
    store.put(EvaluationRecord(**{**fields, **changes}))


def test_they_stand_beside_scores_of_the_same_images_and_enter_none(build_store: BuildStore) -> None:
    store = build_store((0, 1))
    before = StudyView(store, "quick")
    assert features_beside(before, score_table(before, before.keys[0])) == ""
    assert "Zhang2023DEEN" not in cited_works(before)
    put(store, "adca")
    put(store, "ADCA", ZHONG)
    put(store, "Elsewhere", fingerprint="d" * 64)
    put(store, "Indoor", protocol=card(PLAIN, mode="indoor"))
    put(store, "Mirrored", protocol=card(PLAIN, test_time_augmentation="flip"))
    view = StudyView(store, "quick")
    page = features_beside(view, score_table(view, view.keys[0]))
    for words in ("adca", "ADCA", "98.8", "the work of adca", "not known: features of adca", "0, 1", "Re-ranked"):
        assert words in page
    for words in ("Elsewhere", "Indoor", "Mirrored"):
        assert words not in page
    assert "not comparable with published results" in page
    assert view.scores.equals(before.scores)
    assert view.keys == before.keys
    assert "Zhang2023DEEN" in cited_works(view)
