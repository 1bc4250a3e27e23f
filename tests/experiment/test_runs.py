"""From configuration to linked records on a tiny rendered set."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch

from tests.tiny import tiny
from vireid import evaluation
from vireid.ablation.run import is_finished
from vireid.core.errors import TrainingDivergedError, UserError
from vireid.core.files import file_digest
from vireid.core.records import EvaluationRecord, FitRecord
from vireid.core.types import ImageIndex
from vireid.data.check import check
from vireid.experiment.context import RunContext
from vireid.experiment.data import check_lists, training_lists
from vireid.experiment.fit import build_model, evaluate_step, fit_step
from vireid.experiment.identity import RunIds
from vireid.experiment.images import RootNotSetError
from vireid.experiment.records import failed_fit
from vireid.experiment.reload import config_of_fit, weights_file
from vireid.experiment.sources import stale_parts
from vireid.explain.seen import protocol_without_text
from vireid.explain.step import explain_step
from vireid.report.records.keys import data_label, data_note
from vireid.store import Store


@pytest.fixture(scope="module")
def trained(tmp_path_factory, rendered):
    store = Store(tmp_path_factory.mktemp("store"))
    config = tiny(f"data.root={rendered}")
    return config, store, fit_step(RunContext(config, store)), evaluate_step(RunContext(config, store))


def test_fit_record_says_what_was_trained_on_what(trained):
    config, store, fit, _ = trained
    assert isinstance(fit, FitRecord)
    assert fit.id == RunIds(config).fit
    assert fit.data_kind == "synthetic"
    assert fit.data["identities"] == 6
    assert len(fit.curves) == 2
    assert len(fit.step_seconds) == 6
    assert fit.peak_memory_bytes > 0
    assert weights_file(store, fit.id).is_file()
    assert store.get(fit.id) == fit
    assert not stale_parts([fit])


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
    assert is_finished(RunContext(config, store))
    assert fit_step(RunContext(config, store)) == fit
    assert evaluate_step(RunContext(config, store)) == evaluations
    assert before == {path: path.stat().st_mtime_ns for path in store.runs.rglob("*.json")}


def test_a_fit_can_be_evaluated_later_from_its_record_alone(trained):
    config, store, fit, _ = trained
    again = config_of_fit(fit, ["{name: sysu/official, mode: indoor, trials: 3}"], config.data.root, store)
    assert RunIds(again).fit == fit.id
    (record,) = evaluate_step(RunContext(again, store))
    assert len(record.per_trial) == 3


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(trained, rendered, tmp_path):
    config, store, fit, evaluations = trained
    other = Store(tmp_path)
    assert [e.metrics for e in (fit_step(RunContext(config, other)), evaluate_step(RunContext(config, other)))[1]] == [
        e.metrics for e in evaluations
    ]
    assert weights_file(store, fit.id).read_bytes() == weights_file(other, fit.id).read_bytes()


def test_changed_images_are_not_mistaken_for_the_old_ones(trained, rendered, tmp_path):
    config, store, _, _ = trained
    copy = tmp_path / "copy"
    shutil.copytree(rendered, copy)
    data_config = tiny(f"data.root={copy}")
    assert RunIds(data_config).fit == RunIds(config).fit
    assert is_finished(RunContext(data_config, store))

    train = RunContext(config, store).data.train
    victim = copy / train.paths[0]
    victim.write_bytes((copy / train.paths[1]).read_bytes())
    with pytest.raises(UserError, match="trained on other images"):
        is_finished(RunContext(data_config, store))


def test_other_gallery_permutations_are_noticed_before_the_old_record_is_returned(trained, rendered, tmp_path):
    _, store, _, _ = trained
    shutil.copytree(rendered, tmp_path / "copy")
    file = tmp_path / "copy/exp/rand_perm_cam.mat"
    cameras = scipy.io.loadmat(file)["rand_perm_cam"]
    for camera in cameras.ravel():
        people = camera.ravel()
        for identity, trials in enumerate(people):
            people[identity] = trials[..., ::-1].copy()
    scipy.io.savemat(file, {"rand_perm_cam": cameras})
    with pytest.raises(UserError, match=r"rests on other gallery permutations than those under .*\(exp/\)"):
        evaluate_step(RunContext(tiny(f"data.root={tmp_path / 'copy'}"), store))


def test_other_labels_of_the_same_images_are_noticed():
    paths, ones = ("a.jpg", "b.jpg"), np.ones(2, dtype=np.int64)
    before = ImageIndex(Path(), paths, np.array([1, 2]), ones, ones, ones)
    check_lists("0123456789ab", training_lists(before), None, before.select(np.array([1, 0])))
    with pytest.raises(UserError, match="run 0123456789ab rests on other labels"):
        check_lists("0123456789ab", training_lists(before), None, replace(before, identity=np.array([1, 1])))


def test_a_weights_file_is_recorded_by_digest_and_a_record_outlives_it(rendered, tmp_path):
    changes = ["model=agw_small", "model.width=0.125", f"data.root={rendered}", "recipe.epochs=1"]
    embedder = build_model(tiny(*changes), 6).embedder
    trunk = {**embedder.visible.state_dict(), **embedder.trunk.layers.state_dict()}
    weights, store = tmp_path / "best.pth", Store(tmp_path / "store")
    torch.save(trunk, weights)
    config = tiny(*changes, f"model.pretrained={weights}")
    fit, digest = fit_step(RunContext(config, store)), file_digest(weights)
    assert fit.config["model"]["pretrained"] == f"best.pth@sha256:{digest}"
    weights.unlink()
    again = config_of_fit(fit, [], config.data.root, store)
    assert RunIds(again).fit == fit.id
    assert len(evaluate_step(RunContext(again, store))) == 3
    pinned = tiny(*changes)
    pinned = pinned.model_copy(
        update={"model": pinned.model.model_copy(update={"pretrained": Path(f"{weights}@sha256:{digest}")})}
    )
    assert RunIds(pinned).fit == fit.id
    with pytest.raises(UserError, match=r"model\.pretrained = .*best\.pth: no such file"):
        build_model(pinned, 6)
    torch.save({**trunk, "extra": torch.zeros(1)}, weights)
    with pytest.raises(UserError, match=r"its digest is .*, expected"):
        build_model(pinned, 6)
    old = fit.model_copy(update={"config": {**fit.config, "model": {**fit.config["model"], "pretrained": "best.pth"}}})
    with pytest.raises(UserError, match=r"names model\.pretrained = best\.pth without a digest.*train it again"):
        config_of_fit(old, [], config.data.root, store)


def test_an_evaluator_of_another_version_gives_other_ids_and_the_first_leaves_them(trained, monkeypatch):
    config, _, _, evaluations = trained
    protocol = config.evaluation.protocols[0]
    assert RunIds(config).evaluation(protocol) == evaluations[0].id
    monkeypatch.setattr(evaluation, "VERSION", "2")
    assert RunIds(config).evaluation(protocol) != evaluations[0].id


def _called_real(root):
    changes = ["data=sysu", "data.split=dev", "data.height=64", "data.width=32", "recipe.epochs=1"]
    return tiny(*changes, *([] if root is None else [f"data.root={root}"]))


def test_rendered_people_are_recorded_as_such_whatever_the_configuration_calls_them(rendered, tmp_path):
    config, store = _called_real(rendered), Store(tmp_path / "store")
    assert config.data.synthetic is None
    fit = fit_step(RunContext(config, store))
    evaluations = evaluate_step(RunContext(config, store))
    assert {record.data_kind for record in (fit, *evaluations)} == {"synthetic"}
    card = json.loads((rendered / "synthetic.json").read_text())["specification"]
    assert fit.data["specification"]["synthetic"] == card
    assert data_note(data_label(fit)) == (
        f"synthetic data (renderer {card['renderer_version']}), not comparable with published results"
    )
    assert fit.id == RunIds(_called_real("/elsewhere")).fit, "where they lie is no part of the identity"
    assert failed_fit(RunContext(config, store), "why").data_kind == "synthetic"
    shutil.copytree(rendered, tmp_path / "bare")
    (tmp_path / "bare" / "synthetic.json").unlink()
    assert failed_fit(RunContext(_called_real(tmp_path / "bare"), store), "why").data_kind == "real"


def test_the_root_that_training_found_is_used_while_it_is_there(rendered, tmp_path):
    store, root = Store(tmp_path / "store"), tmp_path / "images"
    root.symlink_to(rendered)
    fit = fit_step(RunContext(_called_real(root), store))
    again = config_of_fit(fit, [], None, store)
    assert again.data.root == root
    assert len(evaluate_step(RunContext(again, store))) == len(again.evaluation.protocols)
    root.unlink()
    with pytest.raises(RootNotSetError, match=r"data\.root is not set: add data\.root="):
        evaluate_step(RunContext(config_of_fit(fit, [], None, store), store))
    assert evaluate_step(RunContext(config_of_fit(fit, [], rendered, store), store))
    assert config_of_fit(fit, [], None, store).data.root == rendered


def test_explain_writes_pictures_beside_the_run(trained):
    config, store, _, _ = trained
    folder = explain_step(RunContext(config, store))
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
        fit_step(RunContext(config, store))
    assert store.get(RunIds(config).fit) is None
    (failure,) = store.failures()
    assert failure.status == "failed"
    assert "epoch" in failure.reason


def test_shuffled_identities_keep_counts_and_lose_meaning(rendered, tmp_path):
    from vireid.experiment.data import training_loader

    store = Store(tmp_path)
    config = tiny(f"data.root={rendered}", "data.shuffle_identities=true")
    assert RunIds(config).fit != RunIds(tiny(f"data.root={rendered}")).fit
    run = RunContext(config, store)
    data, shuffled = run.data, training_loader(run).index
    assert sorted(shuffled.identity) == sorted(data.train.identity)
    assert (shuffled.identity != data.train.identity).mean() > 0.5


def test_labels_drawn_every_epoch_are_other_ones_each_time_and_a_function_of_the_epoch(rendered, tmp_path):
    from vireid.experiment.data import training_loader

    run = RunContext(tiny(f"data.root={rendered}", "data.shuffle_identities=every_epoch"), Store(tmp_path))

    def seen(epoch, first_step=0):
        return list(training_loader(run).epoch(epoch, first_step))

    once, twice = seen(3), seen(3)
    for one, other in zip(once, twice, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)
    (last,) = seen(3, len(once) - 1)  # as a resumed fit begins
    assert torch.equal(last.labels, once[-1].labels)
    drawn = [training_loader(run)._loader_of(epoch).index.identity for epoch in (0, 1)]
    for identity in drawn:
        assert sorted(identity) == sorted(run.data.train.identity)
    assert (drawn[0] != drawn[1]).mean() > 0.5
    ids = [tiny(f"data.root={rendered}", f"data.shuffle_identities={how}") for how in ("true", "every_epoch")]
    assert len({RunIds(config).fit for config in ids}) == 2


def test_missing_weights_are_named(trained, tmp_path):
    config, store, fit, _ = trained
    again = config_of_fit(fit, ["{name: sysu/official, trials: 2}"], config.data.root, store)
    file = weights_file(store, fit.id)
    content = file.read_bytes()
    file.unlink()
    try:
        with pytest.raises(UserError, match=str(file)):
            evaluate_step(RunContext(again, store))
    finally:
        file.write_bytes(content)


def test_a_broken_evaluation_image_is_found_before_training(tmp_path, rendered_copy, monkeypatch):
    config = tiny(f"data.root={rendered_copy}")
    data = RunContext(config, Store(tmp_path / "one")).data
    broken = rendered_copy / data.evaluation.paths[-1]
    whole = broken.read_bytes()
    monkeypatch.setattr("vireid.experiment.fit.run_training", lambda *_, **__: pytest.fail("training began"))
    for content in (whole[:-200], b"\0\5\x16\7"):  # a header that is whole, and none
        broken.write_bytes(content)
        with pytest.raises(UserError, match=rf"{broken} cannot be read"):
            fit_step(RunContext(config, Store(tmp_path / "two")))


def test_a_missing_gallery_permutation_is_found_before_training(tmp_path, rendered_copy, monkeypatch):
    monkeypatch.setattr("vireid.experiment.fit.run_training", lambda *_, **__: pytest.fail("training began"))
    (rendered_copy / "exp" / "rand_perm_cam.mat").unlink()
    with pytest.raises(UserError, match=r"rand_perm_cam\.mat is missing"):
        fit_step(RunContext(tiny(f"data.root={rendered_copy}"), Store(tmp_path / "store")))


def test_rendered_people_pass_their_own_check(rendered):
    report = check(rendered, decode=True)
    assert report.ok
    assert report.findings == ()
