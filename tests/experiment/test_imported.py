"""Weights that were trained elsewhere, as a fit: kept with their origin, evaluated, found again, and never trained."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.tiny import TINY, tiny
from vireid.config import ImportedConfig
from vireid.core.errors import UserError
from vireid.core.records import FitRecord
from vireid.experiment.context import RunContext
from vireid.experiment.fit import embeddings, evaluate_step, fit_step, trained_model
from vireid.experiment.imported import compose_images, import_checkpoint, imported_config, transfer_fit, weights_digest
from vireid.experiment.reload import config_of_fit, weights_file
from vireid.experiment.sources import stale_parts
from vireid.experiment.trace import remake
from vireid.models.idkl import IDKL, IDKLConfig
from vireid.models.importers import IMPORTERS
from vireid.models.importers.load import Imported
from vireid.store import Store

LLCM = ("data=llcm_synthetic", *(text for text in TINY if text.startswith("data.")))
PEOPLE = ("data=sysu_quick", *(text for text in TINY if text.startswith("data.")))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("imported"))
    store.prepare()
    (store.root / "released.pth").write_bytes(b"as the public code saved it")
    return store


def released(seed: int = 0) -> Imported:
    torch.manual_seed(seed)
    model = IDKL(IDKLConfig(backbone="resnet18", width=0.125), 7).eval()
    return Imported(model, 7, {"deployed": 10, "training_only": 5, "dead": 2}, {})


def kept_in(store: Store, *overrides: str, seed: int = 0) -> RunContext:
    run = RunContext(compose_images([*PEOPLE, *overrides]), store)
    return import_checkpoint(run, released(seed), store.root / "released.pth", "idkl")


@pytest.fixture(scope="module")
def checkpoint(store):
    return kept_in(store)


@pytest.fixture(scope="module")
def trained(store):
    run = RunContext(tiny(), store)
    fit_step(run)
    return run


def test_weights_are_kept_with_their_origin_and_without_a_trainer(store, checkpoint):
    record = checkpoint.fit
    assert (record.imported.file, record.imported.source) == ("released.pth", "1KK077/IDKL at 8676b62")
    assert (record.curves, record.step_time, record.data["identities"]) == ([], None, 7)
    assert set(record.config) == {"kind", "seed", "imported", "data", "model"}
    assert set(record.components) == {"dataset", "model"}
    assert stale_parts([record]) == {}
    on_disk, given = load_file(weights_file(store, record.id)), released().model.state_dict()
    assert on_disk.keys() == given.keys()
    assert all(torch.equal(on_disk[name], given[name]) for name in given)


def test_a_checkpoint_is_found_again_and_evaluated_as_the_model_itself(store, checkpoint):
    record = checkpoint.fit
    again = RunContext(config_of_fit(record, [], None, store), store)
    assert again.ids.fit == record.id
    assert fit_step(again) == record  # on record: nothing is trained
    pixels = torch.zeros(1, 3, 64, 32)
    with torch.no_grad():
        theirs, ours = (model.embedder(pixels).numpy() for model in (released().model, trained_model(again).eval()))
    assert np.array_equal(theirs, ours)
    assert len(embeddings(again)) == len(checkpoint.data.evaluation)
    for evaluation in evaluate_step(again):
        assert (evaluation.fit, evaluation.card.split) == (record.id, "test")
        assert evaluation.card.selection == "not known: imported weights"  # released epochs are often the best on test
    assert kept_in(store).fit == record


def test_identity_is_the_weights_and_the_images_alone(checkpoint):
    own, config = released().model.state_dict(), checkpoint.config
    assert config.imported == ImportedConfig(arch="idkl", weights=weights_digest(own))
    assert weights_digest(own) != weights_digest(released(1).model.state_dict())

    def fit(*overrides, **changes):
        base = compose_images([*PEOPLE, *overrides]).model_copy(update=changes)
        return RunContext(imported_config(base, config.model, config.imported), checkpoint.store).ids.fit

    others = {name: getattr(tiny("weighting=dwa", "augmentation=full"), name) for name in ("weighting", "augmentation")}
    assert {fit(), fit(**others), fit(recipe=tiny("recipe.batch_size=32").recipe)} == {checkpoint.ids.fit}
    assert checkpoint.ids.fit not in {fit("data.height=96"), fit("data.split=dev"), fit("seed=1")}
    assert kept_in(checkpoint.store, seed=1).ids.fit != checkpoint.ids.fit


def test_imported_weights_are_never_trained(tmp_path, checkpoint):
    elsewhere = replace(checkpoint, store=Store(tmp_path))
    with pytest.raises(UserError, match=r"nothing to train; run `vireid import` on the checkpoint again"):
        fit_step(elsewhere)
    assert not list(Store(tmp_path).failures())


@pytest.mark.parametrize("arch", IMPORTERS.names())
def test_every_importers_model_is_met_with_images_whatever_its_training_needs(arch):
    text = ["data.captions={captioner: Blip}"] if arch == "tvi_lfm" else []
    images = compose_images(["data=sysu_quick", *text])
    origin = ImportedConfig(arch=arch, weights="0" * 64)
    assert imported_config(images, IMPORTERS.load(arch)().config(), origin).imported == origin


def test_training_settings_are_refused():
    with pytest.raises(UserError, match=r"'recipe=smoke': seed, data, evaluation, profile and runtime can be set"):
        compose_images(["data=sysu_quick", "recipe=smoke"])
    assert compose_images(["data=sysu_quick"]).data.split == "test"
    assert compose_images(["data=sysu_quick", "data.split=dev"]).data.split == "dev"
    with pytest.raises(ValueError, match=r"'arch'\) or of a fit \('run'\)"):
        ImportedConfig(weights="0" * 64)


def test_other_images_are_refused(store, checkpoint):
    changed = checkpoint.fit.model_copy(update={"data": {**checkpoint.fit.data, "fingerprint": "0" * 16}})
    assert isinstance(changed, FitRecord)
    moved = Store(store.root.parent / "moved")
    moved.prepare()
    moved.put(changed)
    (moved.root / "released.pth").write_bytes(b"")
    with pytest.raises(UserError, match="other images"):
        kept_in(moved)


def test_a_fit_is_evaluated_on_another_data_set_and_its_card_says_so(store, trained):
    moved = transfer_fit(RunContext(compose_images(LLCM), store), trained)
    record = moved.fit
    assert record.imported.source == f"fit {trained.ids.fit} on sysu, rendered with seed 0"
    assert (moved.config.model, record.data["name"]) == (trained.config.model, "llcm")
    for evaluation in evaluate_step(moved):
        assert evaluation.card.name == "llcm/sampled"
        assert evaluation.card.transfer == "sysu, rendered with seed 0"
        assert evaluation.card.selection == "last epoch"
        assert "trained on sysu, rendered with seed 0" in evaluation.card.title
    own, there = (load_file(weights_file(store, fit)) for fit in (trained.ids.fit, record.id))
    assert all(torch.equal(own[name], there[name]) for name in own)
    again = RunContext(config_of_fit(record, [], None, store), store)
    assert (again.ids.fit, fit_step(again)) == (record.id, record)
    assert transfer_fit(RunContext(compose_images(LLCM), store), trained).fit == record


def test_people_that_a_fit_was_trained_on_are_refused(store, trained):
    images = compose_images(PEOPLE)  # its test split trains on the dev identities, and its dev split leaves them out
    with pytest.raises(UserError, match=r"trained on this very dataset with other settings \(data.split\)"):
        transfer_fit(RunContext(images, store), trained)
    taller = transfer_fit(RunContext(compose_images([*PEOPLE, "data.split=dev", "data.height=96"]), store), trained)
    assert taller.fit.imported.trained_on == "sysu, rendered with seed 0"
    other = transfer_fit(RunContext(compose_images([*PEOPLE, "seed=3"]), store), trained)
    assert evaluate_step(other)[0].card.split == "test"


def test_an_imported_checkpoint_moves_to_other_images_as_itself(store, checkpoint):
    moved = transfer_fit(RunContext(compose_images([*PEOPLE, "seed=4"]), store), checkpoint)
    assert moved.config.imported == checkpoint.config.imported
    assert moved.ids.fit == kept_in(store, "seed=4").ids.fit
    assert evaluate_step(moved)[0].card.transfer is None


def test_the_command_that_makes_it_again_names_file_or_fit(store, checkpoint, trained):
    made = remake(store, checkpoint.fit)
    assert made.command.startswith("vireid import released.pth --arch idkl 'data={")
    assert checkpoint.fit.imported.sha256 in made.remark
    moved = transfer_fit(RunContext(compose_images(LLCM), store), trained)
    assert remake(store, moved.fit).command.startswith(f"vireid transfer {trained.ids.fit} 'data={{")
