"""Which accuracy belongs to which latency, what a toggle costs, and how far below its roofs a network stays."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.report.deployments import (
    BF16,
    BOARD,
    EAGER,
    HERE,
    INT8,
    ONNX,
    SIZE,
    Deployed,
    build_deployment,
    graph,
    int8_file,
)
from vireid.ablation.publish import publish_study
from vireid.core.records import CostRecord, FitRecord, LatencyRecord
from vireid.experiment.compare import _evaluations
from vireid.report.page import open_report
from vireid.report.records.choose import Deployable, candidates, find_accuracy_key, front
from vireid.report.records.deployment import DeploymentView, cost_finder, store_deployment, study_deployment
from vireid.report.records.keys import TimingKey
from vireid.report.records.study import StudyView
from vireid.report.records.timings import machine_names, timings
from vireid.report.render import input_digest, render_report
from vireid.report.sections.costs import roofline_points
from vireid.report.sections.deployment import _paint, prices
from vireid.report.sections.machines import unmeasured
from vireid.store import Store

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
TEMPLATE = NOTEBOOKS / "hardware.ipynb"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return build_deployment(tmp_path / "store")


def deployment(store: Store) -> DeploymentView:
    return study_deployment(StudyView(store, "hardware"))


def scored(store: Store) -> dict[tuple[str, str, int, str], Deployable]:
    """Candidates by model, runtime, threads and processor."""
    found = scored_list(store)
    keys = [(c.label, c.timing.short, c.timing.key.threads, c.timing.key.device.partition(",")[0]) for c in found]
    assert len(set(keys)) == len(keys)
    return dict(zip(keys, found, strict=True))


def scored_list(store: Store) -> list[Deployable]:
    joined = deployment(store)
    return candidates(joined, find_accuracy_key(joined))


CPU = HERE["cpu"]


def test_float32_has_the_accuracy_of_its_fits_in_every_runtime(store: Store) -> None:
    found = scored(store)
    for key in (("idkl", "eager fp32", 1, CPU), ("idkl", "onnxruntime fp32", 1, CPU), ("idkl", "eager fp32", 2, CPU)):
        accuracy = found[key].accuracy
        assert accuracy is not None
        assert accuracy.mean_ap == pytest.approx((0.30 + 0.34) / 2)
        assert (accuracy.low, accuracy.high) == pytest.approx(((0.25 + 0.29) / 2, (0.35 + 0.39) / 2))
        assert accuracy.seeds == (1, 2)
        assert accuracy.cosine is None


def test_int8_has_the_accuracy_of_evaluated_files_or_none(store: Store) -> None:
    found = scored(store)
    own = found["compact", "onnxruntime_int8 int8", 1, CPU].accuracy
    assert own is not None
    assert own.mean_ap == pytest.approx((0.25 + 0.27) / 2)
    assert (own.cosine, own.overlap10, own.size_bytes) == (0.9913, 0.87, 3_000_000)
    assert found["idkl", "onnxruntime_int8 int8", 1, CPU].accuracy is None
    assert found["compact", "openvino bf16", 1, CPU].accuracy is None


@pytest.mark.parametrize(
    "changes",
    [{"runtime": {**INT8, "quantiser": "other"}}, {"resolution": (64, 32)}, {"graph": "0" * 12}, {"precision": "bf16"}],
)
def test_a_file_of_another_kind_lends_no_accuracy(tmp_path: Path, changes: dict[str, object]) -> None:
    store = build_deployment(tmp_path / "store")
    Deployed(store).score("idkl", 1, 0.29, int8_file("idkl", **changes))
    assert scored(store)["idkl", "onnxruntime_int8 int8", 1, CPU].accuracy is None
    Deployed(store).score("idkl", 1, 0.29, int8_file("idkl"))
    accuracy = scored(store)["idkl", "onnxruntime_int8 int8", 1, CPU].accuracy
    assert accuracy is not None
    assert (accuracy.mean_ap, accuracy.seeds) == (0.29, (1,))


def test_a_file_never_stands_for_the_network_itself(store: Store) -> None:
    view = StudyView(store, "hardware")
    assert sorted(view.scores[view.scores.cell == "compact"].mAP) == pytest.approx([0.26, 0.28, 0.36, 0.38])
    fit = store.find(view.runs[2].planned.fit)
    compared = _evaluations(store, fit)
    assert len(compared) == 2
    assert all(evaluation.artefact is None for evaluation in compared.values())


def test_another_protocol_is_another_yardstick(store: Store) -> None:
    joined = deployment(store)
    indoor = find_accuracy_key(joined, "indoor")
    assert indoor is not None
    assert indoor.title == "sysu/official · indoor · infrared to visible · single-shot"
    found = [c for c in candidates(joined, indoor) if c.label == "idkl" and c.precision == "fp32"]
    assert [c.accuracy.mean_ap for c in found if c.accuracy] == pytest.approx([(0.40 + 0.44) / 2] * len(found))
    assert all(c.accuracy is None for c in candidates(joined, indoor) if c.precision == "int8")


def test_on_a_device_the_yardstick_is_that_of_the_models_timed_there(store: Store) -> None:
    joined = deployment(store)
    idkl, compact = joined.models
    fit = compact.fits[0].model_copy(update={"config": {"data": {"dataset": {"name": "regdb"}}}})
    board = next(t.key for t in joined.timings if "ARM" in str(t.key))
    there = [t for t in joined.timings if t.key != board or t.graph == compact.graph]
    joined = replace(joined, models=[idkl, replace(compact, fits=[fit])], timings=there)
    usual, local = find_accuracy_key(joined), find_accuracy_key(joined, timed=board)
    assert usual is not None
    assert local is not None
    assert usual.people != local.people
    assert [c.label for c in candidates(joined, local) if c.timing.key == board and c.accuracy] == ["compact"]
    assert find_accuracy_key(replace(joined, timings=[]), timed=board) == usual


def test_unlike_machines_limits_and_threads_are_not_merged(store: Store) -> None:
    record = next(r for r in store.records() if isinstance(r, LatencyRecord) and r.runtime == EAGER)
    limited = {"limit": {"name": "x86, 1 core", "cores": [0]}}
    stepping = {"environment": record.environment.model_copy(update={"device": {**HERE, "isa": ["avx2", "amx_int8"]}})}
    records = [record, *(record.model_copy(update=u) for u in (limited, {"threads": 2}, {"isolated": False}, stepping))]
    assert len({(p.machine, p.mode, p.threads) for p in map(TimingKey.of, records)}) == 5
    assert [len(t.seconds) for t in timings(records)] == [len(record.seconds)] * 5
    (pooled,) = timings([record, record.model_copy(update={"id": "0" * 12})])
    assert pooled.seconds == (*record.seconds, *record.seconds)


def test_machines_of_one_name_are_told_apart(store: Store) -> None:
    Deployed(store).time(graph("idkl"), [0.02], device={**HERE, "isa": ["avx2", "amx_int8"]})
    places = sorted({c.timing.key.device for c in scored_list(store)})
    assert places == [
        "Example ARM board, 4 logical cores",
        "Example CPU @ 2.6 GHz, 2 logical cores (with amx_int8)",
        "Example CPU @ 2.6 GHz, 2 logical cores (with no further instructions)",
    ]


def test_the_first_difference_of_machines_is_named(store: Store) -> None:
    record = next(r for r in store.records() if isinstance(r, LatencyRecord))
    records = []
    for model, flags in (("17", ["avx2"]), ("2", ["avx2", "avx_vnni"])):
        device = {**HERE, "cpu_family_model_stepping": ["25", model, "1"], "isa": flags}
        records.append(
            record.model_copy(update={"environment": record.environment.model_copy(update={"device": device})})
        )
    assert sorted(machine_names(records).values()) == [
        "Example CPU @ 2.6 GHz, 2 logical cores (family 25, model 17, stepping 1)",
        "Example CPU @ 2.6 GHz, 2 logical cores (family 25, model 2, stepping 1)",
    ]
    assert list(machine_names(records[:1]).values()) == ["Example CPU @ 2.6 GHz, 2 logical cores"]


def test_front_holds_what_nothing_beats(store: Store) -> None:
    own = [c for key, c in scored(store).items() if key[2:] == (1, CPU)]
    assert [(c.label, c.timing.short) for c in front(own)] == [
        ("compact", "onnxruntime_int8 int8"),
        ("compact", "onnxruntime fp32"),
        ("idkl", "onnxruntime fp32"),
    ]


def test_a_store_joins_fits_to_costs_by_their_configuration(store: Store) -> None:
    costs = [r for r in store.records() if isinstance(r, CostRecord)]
    fits = [r for r in store.records() if isinstance(r, FitRecord)]
    for fit in fits:  # a student's teacher is no part of what is deployed
        cost = cost_finder(costs)(fit.config)
        assert cost is not None
        assert cost.artefact == graph(fit.config["model"]["name"])
        assert tuple(cost.resolution) == SIZE
    (store.study("hardware") / "plan.json").unlink()
    joined = store_deployment(store)
    assert {(m.label, len(m.fits)) for m in joined.models} == {("idkl resnet50", 2), ("compact resnet18 ×0.5", 2)}


def test_untrained_profiles_are_shown_and_other_studies_are_not(store: Store) -> None:
    labels = deployment(store).labels
    assert sorted(labels.values()) == [
        "compact",
        "idkl",
        "idkl resnet50 (untrained)",
        "idkl resnet50 ibn a (untrained)",
        "idkl resnet50 mha refine (untrained)",
    ]
    assert labels[graph("idkl")] == "idkl"


def test_price_of_a_toggle_is_a_ratio_of_medians_in_one_runtime(store: Store) -> None:
    found = {(str(p.toggle), p.without.short): p for p in prices(deployment(store))}
    assert len(found) == 4
    ratios = {key: price.ratio for key, price in found.items()}
    assert ratios == pytest.approx(
        {
            ("ibn=a", "eager fp32"): 0.25 / 0.2,
            ("ibn=a", "onnxruntime fp32"): 0.2 / 0.16,
            ("mha=refine", "eager fp32"): 0.3 / 0.2,
            ("mha=refine", "onnxruntime fp32"): 0.24 / 0.16,
        }
    )
    assert found["mha=refine", "eager fp32"].macs_ratio == pytest.approx(6.3 / 6.0)


def test_a_toggle_is_not_priced_across_other_differences(store: Store) -> None:
    write = Deployed(store)
    model = {"name": "idkl", "backbone": "resnet50", "ibn": "a", "mha": "none", "heads": 4}
    write.price(model, graph("other heads"), 6e9, 94_000_000, (384, 144))
    write.price({**model, "heads": 2}, graph("other size"), 6e9, 94_000_000, (288, 144))
    write.time(graph("other heads"), [9.0], resolution=(384, 144))
    write.time(graph("other size"), [9.0], resolution=(288, 144))
    assert len(prices(deployment(store))) == 4


def test_models_that_share_both_graphs_are_priced_once(store: Store) -> None:
    write = Deployed(store)
    for ibn in ("none", "a"):
        found = next(c for c in deployment(store).costs if c.model.get("ibn") == ibn and c.resolution == (384, 144))
        changed = {**found.model, "margin": 0.5}
        write.price(changed, str(found.artefact), found.macs or 0.0, 94_000_000, (384, 144))
    assert len(prices(deployment(store))) == 4


def test_roofline_counts_two_operations_per_mac_and_the_bytes_that_must_move(store: Store) -> None:
    points = {(p.timing.graph, p.timing.short, p.timing.first.batch): p for p in roofline_points(deployment(store))}
    one = points[graph("idkl"), "eager fp32", 1]
    assert one.achieved == pytest.approx(2 * 400e6 / 0.04 / 1e9)
    assert one.intensity == pytest.approx(2 * 400e6 / (91_000_000 + 3 * 96 * 48 * 4))
    assert one.attainable == pytest.approx(50.0)  # 8.8 operations per byte × 8 GB/s is above the roof of arithmetic
    many = points[graph("compact"), "eager fp32", 32]
    assert many.achieved == pytest.approx(32 * 2 * 50e6 / 0.25 / 1e9)
    assert many.intensity == pytest.approx(32 * 2 * 50e6 / (12_000_000 + 32 * 3 * 96 * 48 * 4))
    assert points[graph("compact"), "onnxruntime_int8 int8", 1].arithmetic == "float32"
    assert (graph("compact"), "openvino bf16", 1) not in points, "its record holds no roofs"


def test_a_memory_bound_network_is_held_to_the_bandwidth(store: Store) -> None:
    write = Deployed(store)
    write.price({"name": "wide"}, graph("wide"), 10e6, 40_000_000)
    peaks = {"gflops": {"value": 50.0, "method": "x, float32"}, "bandwidth": {"value": 8.0}}
    write.time(graph("wide"), [0.01], peaks=peaks)
    point = next(p for p in roofline_points(deployment(store)) if p.timing.graph == graph("wide"))
    assert point.attainable == pytest.approx(8.0 * 20e6 / (40_000_000 + 3 * 96 * 48 * 4))


def test_percentiles_are_of_raw_samples(store: Store) -> None:
    timing = next(t for t in deployment(store).timings if t.graph == graph("idkl") and t.short == "eager fp32")
    assert timing.ms(90) == pytest.approx(1e3 * float(np.percentile([0.04, 0.04, 0.05], 90)))


def test_devices_leave_the_list_once_measured(store: Store) -> None:
    assert [w.name for w in unmeasured(deployment(store))] == [
        "Raspberry Pi 4 or 5",
        "Jetson Orin Nano",
        "a laptop without AVX2",
    ]
    write = Deployed(store)
    write.time(graph("idkl"), [1.0], ONNX, device={**BOARD, "cpu": "Raspberry Pi 5 Model B Rev 1.0"})
    write.time(graph("idkl"), [1.0], ONNX, device={**HERE, "isa": ["sse4_2", "avx"]})
    assert [w.name for w in unmeasured(deployment(store))] == ["Jetson Orin Nano"]


def test_digest_of_a_report_on_hardware_follows_profiles_and_files(store: Store) -> None:
    def digest(name: str) -> str:
        return input_digest(StudyView(Store(store.root), "hardware"), NOTEBOOKS / f"{name}.ipynb", ())

    before, other = digest("hardware"), digest("ablation")
    Deployed(store).score("idkl", 1, 0.29, int8_file("idkl"))
    after = digest("hardware")
    Deployed(store).time(graph("compact"), [0.004], BF16, threads=2)
    assert len({before, after, digest("hardware")}) == 3
    assert other != digest("ablation"), "the latency belongs to a graph of the study"


def test_template_is_thin_and_has_no_outputs() -> None:
    code = [cell for cell in json.loads(TEMPLATE.read_text())["cells"] if cell["cell_type"] == "code"]
    assert code[0]["metadata"]["tags"] == ["parameters"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert all(len("".join(cell["source"]).splitlines()) <= 6 for cell in code)


def test_sections_without_records_name_the_command_that_fills_them(tmp_path: Path) -> None:
    store = build_deployment(tmp_path / "store")
    for record in list(store.records()):
        timed, of_file = isinstance(record, LatencyRecord), getattr(record, "artefact", None) is not None
        if timed or (record.kind == "evaluation" and of_file):
            (store.runs / f"{record.id}.json").unlink()
    report = open_report(store.root, "hardware", tmp_path / "out")
    sections = ("machines", "latency_by_machine", "front", "roofline", "query_pipeline", "toggles", "quantisation")
    for section in sections:
        text = report.section(section)
        assert 'class="absent"' in text
        assert "<code>vireid " in text
    assert "vireid results add" in report.section("devices")


@pytest.mark.check
def test_whole_report_is_published_and_renders_from_the_copies(tmp_path: Path) -> None:
    store = build_deployment(tmp_path / "store")
    page = render_report(store, "hardware", TEMPLATE)
    text = page.read_text()
    assert text.count("<script") == 1  # which sorts tables
    assert "<script src" not in text
    assert str(tmp_path) not in text
    for target in re.findall(r'href="((?:figures|tables)/[^"]+)"', text):
        assert (page.parent / target).is_file()
    for anchor in re.findall(r'href="#([^"]+)"', text):
        assert f'id="{anchor}"' in text
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", text, re.S)
    lists = ("What was measured where", "records of this study", "What every number of this page rests on")
    measured = [c for c in captions if not any(words in c for words in lists)]
    bare = [c for c in measured if "ynthetic data (renderer 1.0), not comparable" not in c]
    assert all(c.startswith(("Protocol card", "Data that")) for c in bare)
    publish_study(store, "hardware", tmp_path / "results")
    again = render_report(Store(tmp_path / "results"), "hardware", TEMPLATE, tmp_path / "again")
    figures = r'src="data:image/svg[^"]+"'
    assert re.findall(figures, again.read_text()) == re.findall(figures, text)


def test_a_published_count_stays_as_it_was_made(tmp_path: Path) -> None:
    store, target = build_deployment(tmp_path / "store"), Store(tmp_path / "results")
    publish_study(store, "hardware", target.root)
    cost = next(record for record in store.records() if isinstance(record, CostRecord))
    before = (target.runs / f"{cost.id}.json").read_bytes()
    store.put(cost.model_copy(update={"ended": "2031-01-01T00:00:00+00:00"}))
    publish_study(store, "hardware", target.root)
    assert (target.runs / f"{cost.id}.json").read_bytes() == before


def test_marks_of_up_to_28_systems_look_different():
    looks = [tuple(map(str, _paint(position).values())) for position in range(28)]
    assert len(set(looks)) == 28
