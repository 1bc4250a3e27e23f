"""Published numbers and the list of systems."""

import json
from pathlib import Path

import pytest

from vireid.core.errors import UserError
from vireid.core.records import CostRecord, read_record
from vireid.experiment.cost.systems import (
    COUNTED,
    PUBLISHED,
    SYSTEMS,
    count_systems,
    published_evaluations,
    same_cost,
    system_config,
    system_facts,
    write_counts,
)
from vireid.experiment.identity import RunIds
from vireid.models import MODELS
from vireid.models.importers import IMPORTERS
from vireid.overrides import choices, compose
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
    idkl = [r for r in by_system["idkl"] if r.protocol["name"] == "sysu/official" and r.protocol["mode"] == "all"]
    assert [r.metrics for r in idkl if not r.card.is_plain] == [{"r1": 0.8142, "mAP": 0.7985}]
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


def test_every_system_is_listed_with_the_cost_on_record():
    facts = {fact.system.preset: fact for fact in system_facts()}
    assert all(fact.cost is not None for fact in facts.values()), [fact.reason for fact in facts.values()]
    assert round(facts["agw"].cost.parameters["deployed"] / 1e6, 2) == 23.55
    assert facts["optimized_fork"].cost.parameters["dead"] > 16e6
    assert facts["idkl"].cost.macs == pytest.approx(6.84e9, rel=0.01)
    assert facts["tvi_lfm"].cost.text_parameters > 1e7
    assert facts["tskd"].published
    assert len(facts) == len(list(COUNTED.glob("*.json")))


def test_costs_on_record_are_of_the_presets_as_they_are():
    for fact in system_facts():
        assert fact.cost.id == RunIds(system_config(fact.system)).cost, (
            f"{fact.system.preset}: run `vireid models --count`"
        )


def test_a_system_that_nobody_counted_is_listed_with_the_remedy(tmp_path: Path):
    for fact in system_facts(tmp_path):
        assert fact.cost is None
        assert f"{fact.system.preset}.json is missing: count it with `vireid models --count`" in fact.reason


@pytest.mark.check
def test_costs_on_record_are_those_of_a_fresh_count(tmp_path: Path):
    counted = count_systems(Store(tmp_path / "store"))
    assert {preset: record for preset, record in counted.items() if isinstance(record, str)} == {}
    for preset, record in counted.items():
        kept = read_record((COUNTED / f"{preset}.json").read_bytes(), preset)
        assert same_cost(record, kept), f"{preset}: run `vireid models --count`"
    assert write_counts(counted) == [], "nothing is written where nothing differs"
    assert len(write_counts(counted, tmp_path / "new")) == len(counted)
