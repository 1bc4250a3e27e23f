"""Published numbers and the list of systems."""

import json
from pathlib import Path

import pytest

from vireid.config import choices, compose
from vireid.core.errors import UserError
from vireid.core.records import CostRecord, read_record
from vireid.experiment.systems import PUBLISHED, SYSTEMS, published_evaluations, system_facts
from vireid.models import MODELS
from vireid.models.importers import IMPORTERS
from vireid.store import Store


def test_every_published_record_has_a_citation_and_fractions():
    records = published_evaluations()
    assert len({record.id for record in records}) == len(records) > 40
    for record in records:
        assert record.source.kind == "published"
        assert record.data_kind == "real"
        assert record.metrics
        assert all(0 < value < 1 for value in record.metrics.values())


def test_known_numbers_are_there():
    by_system = {}
    for record in published_evaluations():
        by_system.setdefault(record.components["model"].name, []).append(record)
    idkl = next(r for r in by_system["idkl"] if r.protocol["name"] == "sysu/official" and r.protocol["mode"] == "all")
    assert idkl.metrics == {"r1": 0.8142, "mAP": 0.7985}
    assert all(record.protocol["text"] == "oracle" for record in by_system["tvi_lfm"])
    assert [record.protocol["reranking"]["name"] for record in by_system["optimized_fork"]] == ["query-only"]


def test_published_costs_say_how_many_images_they_are_for():
    costs = [read_record(path.read_bytes(), str(path)) for path in sorted(PUBLISHED.glob("*-cost-*.json"))]
    assert len(costs) == 3
    assert all(isinstance(cost, CostRecord) and "published as" in cost.convention for cost in costs)


def test_a_number_without_a_citation_is_refused(tmp_path: Path):
    content = json.loads(sorted(PUBLISHED.glob("*.json"))[0].read_text(encoding="utf-8"))
    content["source"] = {"kind": "published"}
    (tmp_path / "bare.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"bare\.json.*citation"):
        published_evaluations(tmp_path)


def test_every_full_size_preset_and_registered_model_is_listed():
    listed = {system.preset for system in SYSTEMS}
    quick = {name for name in choices("model") if name.endswith("_small") and not name.endswith("_v3_small")}
    again = {"idkl_scratch"}  # IDKL with other weights of its terms, for a start without ImageNet weights
    assert listed == set(choices("model")) - quick - again - {"custom"}
    known = {record.components["model"].name for record in published_evaluations()}
    assert {system.published for system in SYSTEMS} - {None} <= known
    assert {system.importer for system in SYSTEMS} - {None} <= set(IMPORTERS.names())
    assert set(MODELS.names()) <= listed
    for system in SYSTEMS:
        compose([f"model={system.preset}", *system.overrides], "test")


@pytest.mark.check
def test_systems_are_counted(tmp_path: Path):
    facts = {fact.system.preset: fact for fact in system_facts(Store(tmp_path))}
    assert round(facts["agw"].cost.parameters["deployed"] / 1e6, 2) == 23.55
    assert facts["optimized_fork"].cost.parameters["dead"] > 16e6
    assert facts["idkl"].cost.macs == pytest.approx(6.84e9, rel=0.01)
    assert facts["tskd"].published
    assert all(fact.cost is not None or "vireid[text]" in fact.reason for fact in facts.values())
