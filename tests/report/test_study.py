from __future__ import annotations

import pytest

from tests.report.studies import PLAIN, BuildStore, card, environment
from vireid.core.errors import UserError
from vireid.core.identity import run_id
from vireid.core.protocol_card import ProtocolCard
from vireid.core.records import ComponentStamp, EvaluationRecord, FitRecord, LatencyRecord
from vireid.core.source import Source
from vireid.report.effects.estimate import training_costs
from vireid.report.records.keys import device_label
from vireid.report.records.study import StudyView
from vireid.report.sections.protocols import card_value, merged
from vireid.report.sections.training import fits_table, trainings


def test_unknown_study_names_the_ones_there(build_store: BuildStore) -> None:
    with pytest.raises(UserError, match=r"plan.json.*'slow'.*studies there: quick"):
        StudyView(build_store(), "slow")


def test_unreadable_plan_is_named(build_store: BuildStore) -> None:
    store = build_store()
    (store.study("quick") / "plan.json").write_text("{")
    with pytest.raises(UserError, match=r"plan.json: not readable"):
        StudyView(store, "quick")


def test_plain_and_reranked_scores_are_rows_of_their_own(build_store: BuildStore) -> None:
    view = StudyView(build_store((0, 1)), "quick")
    assert len(view.keys) == 1
    scores = view.scores_in(view.keys[0])
    assert len(scores) == 5 * 2 * 2
    assert not scores.duplicated(["cell", "seed", "reranking"]).any()
    assert set(scores.reranking) == {"no re-ranking", "re-ranked (zhong, k1 20, k2 6, λ 0.3)"}


def test_failed_cell_keeps_its_reason_and_gives_no_score(build_store: BuildStore) -> None:
    view = StudyView(build_store(broken=(2,)), "quick")
    assert "c2" not in set(view.scores.cell)
    (run,) = [r for r in view.runs if r.cell.name == "c2"]
    assert run.problems == ("training failed: loss term 'triplet' became NaN at epoch 3, step 41",)


def test_missing_run_says_so(build_store: BuildStore) -> None:
    store = build_store()
    plan = StudyView(store, "quick").plan
    (store.runs / f"{plan.runs[1].fit}.json").unlink()
    assert StudyView(store, "quick").runs[1].problems == ("training not run yet",)


def test_accelerator_and_cpu_fits_are_separate_settings(build_store: BuildStore) -> None:
    store = build_store()
    view = StudyView(store, "quick")
    fit = view.runs[0].fit
    assert fit is not None
    store.put(fit.model_copy(update={"environment": environment("Example GPU")}))
    settings = StudyView(store, "quick").keys
    assert [s.accelerator for s in settings] == ["Example GPU", "cpu"]
    assert len({s.card for s in settings}) == 1


def test_unlike_devices_are_never_merged(build_store: BuildStore) -> None:
    store = build_store()
    view = StudyView(store, "quick")
    artefact = view.costs["c0"].artefact
    one = next(r for r in view.records.values() if isinstance(r, LatencyRecord) and r.artefact == artefact)
    other = one.model_copy(
        update={"id": run_id("elsewhere"), "environment": environment(cpu="Other CPU"), "seconds": [1.0] * 5}
    )
    store.put(other)
    merged = StudyView(store, "quick").latency
    lengths = {(b.first.key.device, b.first.batch): len(b.timings["c0"].seconds) for b in merged if "c0" in b.timings}
    assert lengths[("Other CPU, 2 logical cores", one.batch)] == 5
    assert lengths[("Example CPU @ 2.6 GHz, 2 logical cores", one.batch)] == len(one.seconds)
    assert device_label(environment("Example GPU")).startswith("Example GPU (")


def test_other_settings_of_one_runtime_are_another_condition(build_store: BuildStore) -> None:
    store = build_store()
    one = next(r for r in store.records() if isinstance(r, LatencyRecord))
    changed = {"id": run_id("channels last"), "runtime": {**one.runtime, "channels_last": True}}
    store.put(one.model_copy(update=changed))
    skipped = {"id": run_id("skipped"), "status": "skipped", "reason": "package absent", "runtime": {"name": "onnx"}}
    store.put(one.model_copy(update=skipped))
    store.put(one.model_copy(update={"id": run_id("busy"), "notes": ["other work kept 1.2 cores busy"]}))
    view = StudyView(store, "quick")
    assert any(note.endswith("other work kept 1.2 cores busy") for note in view.latency_notes)
    assert {b.first.runtime_in_mode for b in view.latency} == {"eager", "eager (channels last)"}
    assert view.unmeasured == [f"onnx, batch {one.batch}: package absent"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cpu_family_model_stepping", ["26", "2", "2"]),
        ("isa", ["avx2"]),
        ("logical_cores", 4),
        ("physical_cores", 1),
        ("architecture", "aarch64"),
        ("accelerators", [{"name": "Example GPU"}]),
    ],
)
def test_any_difference_between_machines_keeps_them_apart(build_store: BuildStore, field: str, value: object) -> None:
    store = build_store()
    one = next(r for r in store.records() if isinstance(r, LatencyRecord))
    where = one.environment.model_copy(update={"device": {**one.environment.device, field: value}})
    same = one.model_copy(update={"id": run_id("same machine")})
    store.put(same)
    assert len(StudyView(store, "quick").latency) == 2, "two batches, one machine"
    store.put(one.model_copy(update={"id": run_id("elsewhere"), "environment": where}))
    assert len(StudyView(store, "quick").latency) == 3


def test_ways_of_measuring_are_conditions_of_their_own(build_store: BuildStore) -> None:
    store = build_store()
    one = next(r for r in store.records() if isinstance(r, LatencyRecord))
    limit = {"name": "x86, 1 core", "cores": [1], "memory_bytes": None, "memory_by": None}
    window = {"start": 0.0, "end": 10.0, "samples": len(one.seconds)}
    for position, update in enumerate(
        ({"isolated": True}, {"isolated": True, "limit": limit}, {"isolated": True, "windows": [window]})
    ):
        store.put(one.model_copy(update={"id": run_id(["way", position]), **update}))
    stages = {"decode": one.seconds, "search": one.seconds}
    store.put(one.model_copy(update={"id": run_id("stages"), "stages": stages}))
    found = StudyView(store, "quick").latency
    assert {b.first.runtime_in_mode for b in found if b.first.batch == one.batch} == {
        "eager",
        "eager (isolated)",
        "eager (x86, 1 core)",
        "eager (isolated, sustained)",
    }
    assert len(found) == 2 + 3, "the way to a ranked list is no forward pass"


def test_cells_with_one_graph_share_its_latency(build_store: BuildStore) -> None:
    view = StudyView(build_store((0, 1, 2)), "quick")
    block = view.main_block(1)
    assert block is not None
    samples = {cell: timing.seconds for cell, timing in block.timings.items()}
    assert list(samples) == ["c0", "c1", "c2", "c3", "c4"]
    assert samples["c1"] == samples["c4"] != samples["c0"]
    assert len(samples["c1"]) == 100  # seeds do not repeat them


def test_published_numbers_never_enter_scores(build_store: BuildStore) -> None:
    store = build_store()
    view = StudyView(store, "quick")
    evaluation = view.runs[0].evaluations[0]
    source = Source(kind="published", citation="Someone 2024")
    store.put(evaluation.model_copy(update={"source": source}))
    after = StudyView(store, "quick")
    assert isinstance(after.published[0], EvaluationRecord)
    assert evaluation.id not in set(after.scores.evaluation)


def test_stale_ids_mark_their_runs(build_store: BuildStore) -> None:
    store = build_store()
    fit = StudyView(store, "quick").runs[3].planned.fit
    assert [run.stale for run in StudyView(store, "quick", [fit]).runs] == [False, False, False, True, False]


def test_sources_that_differ_are_named_unless_all_compute_what_todays_does(build_store: BuildStore) -> None:
    store = build_store((0,))
    first, *_ = (store.get(run.fit) for run in StudyView(store, "quick").plan.runs)
    other = ComponentStamp(name="idkl", version="1", digest="b" * 12)
    store.put(first.model_copy(update={"components": {"model": other}}))
    assert StudyView(store, "quick").mixed_sources == ["model idkl 1"]  # nobody has compared them with today's
    assert StudyView(store, "quick", stale=[first.id]).mixed_sources == ["model idkl 1"]
    assert StudyView(store, "quick", stale=[]).mixed_sources == []


def test_fits_that_ran_side_by_side_are_counted_and_said(build_store: BuildStore) -> None:
    store = build_store((0,))
    for number, run in enumerate(StudyView(store, "quick").plan.runs):
        fit = store.get(run.fit)
        assert fit is not None
        begun = 10 * (number // 2)  # two at a time
        times = {"started": f"2026-01-01T00:{begun:02}:00+00:00", "ended": f"2026-01-01T00:{begun + 9:02}:00+00:00"}
        store.put(fit.model_copy(update=times))
    view = StudyView(store, "quick")
    assert view.side_by_side == 2
    assert "up to 2 fits side by side" in fits_table(view)


def test_times_of_fits_on_another_kind_of_processor_are_left_out_and_said(build_store: BuildStore) -> None:
    """A study that went on under a limit on kernels, or on another machine, would else mix two speeds."""
    store = build_store((0,))
    for number, run in enumerate(StudyView(store, "quick").plan.runs):
        fit = store.get(run.fit)
        assert isinstance(fit, FitRecord)
        device = {"isa": ["avx2", "avx512f"], "torch_cpu_capability": "AVX2" if number == 0 else "AVX512"}
        where = fit.environment.model_copy(update={"device": {**fit.environment.device, **device}})
        steps = [9.0] * 10 if number == 0 else [0.5] * 10
        store.put(fit.model_copy(update={"environment": where, "step_seconds": steps}))
    view = StudyView(store, "quick")
    (other,) = {run.fit.id for run in view.trained} - view.timed_alike
    assert other == view.plan.runs[0].fit
    steps, _ = training_costs(view, "cpu")
    assert set(steps.values()) == {0.5}
    assert view.shared_time.endswith(
        " 1 fit of other machines, thread counts or kernels than most counts for no training time."
    )
    assert all(training.step in (None, 0.5) for training in trainings(view, "cpu").values())


def test_synthetic_data_carry_version_and_warning(build_store: BuildStore) -> None:
    view = StudyView(build_store(), "quick")
    assert view.data_labels == ["synthetic data (renderer 1.0)"]
    assert view.note == " Synthetic data (renderer 1.0), not comparable with published results."


def typed(entries: dict[str, object]) -> ProtocolCard:
    return ProtocolCard.model_validate(entries)


def test_protocol_words() -> None:
    assert typed(card(PLAIN)).reranking_label == ProtocolCard().reranking_label == "no re-ranking"
    assert typed(card(PLAIN, shots=10, mode="indoor")).title == "sysu/official · indoor · infrared to visible · 10-shot"
    assert typed(card(PLAIN)).key != typed(card(PLAIN, test_time_augmentation="flip")).key
    assert typed(card(PLAIN)).key == typed(card({"name": "zhong"})).key


def test_what_the_data_gave_does_not_part_the_seeds_of_a_protocol() -> None:
    one = typed(card({"name": "zhong", "recall": 0.99}, gallery=200, queries=400))
    two = typed(card({"name": "zhong", "recall": 0.97}, gallery=203, queries=400))
    assert one.key == two.key
    assert one.reranking_label == two.reranking_label == "re-ranked (zhong)"
    both = merged([one, two])
    assert (both.gallery, both.queries) == ("200 to 203", "400")
    assert card_value(both, "reranking") == "re-ranked (zhong), recall of neighbours 0.97 to 0.99"
