"""From configuration to linked records on a tiny rendered set."""

import json
import re

import pytest

from tests.tiny import tiny
from vireid.core.errors import TrainingDivergedError, UserError
from vireid.core.records import EvaluationRecord, FitRecord
from vireid.data.check import check
from vireid.experiment.check import is_finished
from vireid.experiment.data import prepare
from vireid.experiment.evaluate import evaluate_step, protocol_without_text
from vireid.experiment.explain import explain_step
from vireid.experiment.fit import fit_step, weights_file
from vireid.experiment.identity import fit_id
from vireid.experiment.reload import config_of_fit, stale_components
from vireid.store import Store


@pytest.fixture(scope="module")
def trained(tmp_path_factory, rendered):
    store = Store(tmp_path_factory.mktemp("store"))
    config = tiny(f"data.root={rendered}")
    return config, store, fit_step(config, store), evaluate_step(config, store)


def test_fit_record_says_what_was_trained_on_what(trained):
    config, store, fit, _ = trained
    assert isinstance(fit, FitRecord)
    assert fit.id == fit_id(config)
    assert fit.data_kind == "synthetic"
    assert fit.data["identities"] == 6
    assert len(fit.curves) == 2
    assert len(fit.step_seconds) == 6
    assert fit.peak_memory_bytes > 0
    assert weights_file(store, fit.id).is_file()
    assert store.get(fit.id) == fit
    assert stale_components(fit) == []


def test_evaluations_link_to_the_fit_and_keep_every_query(trained):
    _, store, fit, evaluations = trained
    assert [record.protocol["reranking"]["name"] for record in evaluations] == ["none", "none", "zhong"]
    for record in evaluations:
        assert isinstance(record, EvaluationRecord)
        assert record.fit == fit.id
        assert 0 <= record.metrics["mAP"] <= 1
        table = store.per_query(record)
        valid = table[table["valid"]]
        assert valid.groupby("trial")["ap"].mean().mean() == pytest.approx(record.metrics["mAP"])


def test_finished_work_is_reused(trained):
    config, store, fit, evaluations = trained
    before = {path: path.stat().st_mtime_ns for path in store.runs.rglob("*.json")}
    assert is_finished(config, store)
    assert fit_step(config, store) == fit
    assert evaluate_step(config, store) == evaluations
    assert before == {path: path.stat().st_mtime_ns for path in store.runs.rglob("*.json")}


def test_a_fit_can_be_evaluated_later_from_its_record_alone(trained):
    config, store, fit, _ = trained
    again = config_of_fit(fit, ["{name: sysu/official, mode: indoor, trials: 3}"], config.data.root, store)
    assert fit_id(again) == fit.id
    (record,) = evaluate_step(again, store)
    assert len(record.per_trial) == 3


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(trained, rendered, tmp_path):
    config, store, fit, evaluations = trained
    other = Store(tmp_path)
    assert [e.metrics for e in (fit_step(config, other), evaluate_step(config, other))[1]] == [
        e.metrics for e in evaluations
    ]
    assert weights_file(store, fit.id).read_bytes() == weights_file(other, fit.id).read_bytes()


def test_changed_images_are_not_mistaken_for_the_old_ones(trained, rendered, tmp_path):
    import shutil

    config, store, _, _ = trained
    copy = tmp_path / "copy"
    shutil.copytree(rendered, copy)
    data_config = tiny(f"data.root={copy}")
    assert fit_id(data_config) == fit_id(config)
    assert is_finished(data_config, store)
    from vireid.experiment.data import prepare

    train = prepare(config, store).train
    victim = copy / train.paths[0]
    victim.write_bytes((copy / train.paths[1]).read_bytes())
    with pytest.raises(UserError, match="trained on other images"):
        is_finished(data_config, store)


def test_explain_writes_pictures_beside_the_run(trained):
    config, store, _, _ = trained
    folder = explain_step(config, store)
    panel = json.loads((folder / "retrieval.json").read_text())
    assert panel["queries"]
    for query in panel["queries"]:
        assert (folder / query["image"]).is_file()
        assert [(folder / hit["image"]).is_file() for hit in query["ranked"]]
        assert all(hit["correct"] == (hit["identity"] == query["identity"]) for hit in query["ranked"])
    text = (folder / "index.html").read_text()
    shown = re.findall(r'(?:src|href)="([^"#:]+)"', text)
    assert len([name for name in shown if name.endswith(".jpg")]) > 30
    assert [name for name in shown if not (folder / name).is_file()] == []
    assert "not comparable with published results" in text
    for heading in ("Ranked lists", "Hardest queries", "People", "Cameras", "Similarities"):
        assert f"{heading}</h2>" in text


def test_pictures_are_explained_without_text(trained):
    config, _, _, _ = trained
    (first, *rest) = config.evaluation.protocols
    with_text = first.model_copy(update={"text": "oracle", "captioner": "Witness_RGB"})

    def asked(*protocols):
        return config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"protocols": protocols})})

    assert protocol_without_text(config) == first
    assert protocol_without_text(asked(with_text, *rest)) == rest[0]
    assert protocol_without_text(asked(with_text)) == first


def test_a_diverging_run_leaves_a_failed_record_and_no_result(rendered, tmp_path):
    store = Store(tmp_path)
    config = tiny(f"data.root={rendered}", "recipe.optimiser.lr=1e30")
    with pytest.raises(TrainingDivergedError, match="epoch"):
        fit_step(config, store)
    assert store.get(fit_id(config)) is None
    (failure,) = store.failures()
    assert failure.status == "failed"
    assert "epoch" in failure.reason


def test_shuffled_identities_keep_counts_and_lose_meaning(rendered, tmp_path):
    from vireid.experiment.data import prepare, training_loader

    store = Store(tmp_path)
    config = tiny(f"data.root={rendered}", "data.shuffle_identities=true")
    assert fit_id(config) != fit_id(tiny(f"data.root={rendered}"))
    data = prepare(config, store)
    shuffled = training_loader(config, data, store).index
    assert sorted(shuffled.identity) == sorted(data.train.identity)
    assert (shuffled.identity != data.train.identity).mean() > 0.5


def test_missing_weights_are_named(trained, tmp_path):
    config, store, fit, _ = trained
    again = config_of_fit(fit, ["{name: sysu/official, trials: 2}"], config.data.root, store)
    file = weights_file(store, fit.id)
    content = file.read_bytes()
    file.unlink()
    try:
        with pytest.raises(UserError, match=str(file)):
            evaluate_step(again, store)
    finally:
        file.write_bytes(content)


def test_a_broken_evaluation_image_is_found_before_training(tmp_path, rendered_copy, monkeypatch):
    config = tiny(f"data.root={rendered_copy}")
    data = prepare(config, Store(tmp_path / "one"))
    broken = rendered_copy / data.evaluation.paths[-1]
    whole = broken.read_bytes()
    monkeypatch.setattr("vireid.experiment.fit.run_training", lambda *_, **__: pytest.fail("training began"))
    for content in (whole[:-200], b"\0\5\x16\7"):  # a header that is whole, and none
        broken.write_bytes(content)
        with pytest.raises(UserError, match=rf"{broken} cannot be read"):
            fit_step(config, Store(tmp_path / "two"))


def test_rendered_people_pass_their_own_check(rendered):
    report = check(rendered, decode=True)
    assert report.ok
    assert report.findings == ()
