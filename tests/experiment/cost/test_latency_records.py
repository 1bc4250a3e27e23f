"""Latency records: ids that outlive new settings, isolation, and the way from a JPEG file to a ranked list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests.tiny import tiny
from vireid.core.errors import UserError
from vireid.core.records import LatencyRecord
from vireid.core.types import Modality
from vireid.data.augmentation import normalise
from vireid.data.cache import decode
from vireid.data.images import read_image
from vireid.evaluation.scorers import Multiplied
from vireid.experiment.context import RunContext
from vireid.experiment.cost import profile
from vireid.experiment.cost.profile import forward_combinations, is_profiled, latency_step, query_combinations
from vireid.experiment.cost.query_pipeline import gallery_of, preprocess, search
from vireid.experiment.fit import build_model
from vireid.overrides import choices, compose
from vireid.profiling.config import EagerConfig, ProfileConfig
from vireid.store import Store

FAST = ("profile.budget={warmup_seconds: 0.02, min_seconds: 0.02, min_repeats: 5, max_seconds: 0.5}",)
STAGES = (*FAST, "profile.stages={gallery: 50, top: 7}")
MACHINE = {
    "cpu": "Example CPU",
    "cpu_family_model_stepping": ["6", "1", "2"],
    "architecture": "x86_64",
    "isa": ["avx2"],
    "logical_cores": 2,
    "physical_cores": 2,
    "accelerators": [],
}
ARTEFACT = "0" * 12
GOLDEN = {
    "default": ["b89d392b830c"],
    "bf16": ["89e953a5aa54"],
    "grid": ["42a1a7cb6575", "e903a509abd0", "7ccf597daecb", "768e47cf5de2"],
}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "_description", lambda: MACHINE)


def ids(*overrides: str) -> list[str]:
    config = tiny("runtime.device=cpu", *overrides)
    return [run for run, _ in forward_combinations(config, ARTEFACT)]


@pytest.mark.parametrize("choice", choices("profile"))
def test_every_profile_composes_and_measures_something(choice: str) -> None:
    profile = compose([f"profile={choice}"]).profile
    assert profile.runtimes
    assert profile.isolated == (choice != "default")


def test_the_default_profile_is_as_it_was() -> None:
    assert compose().profile == ProfileConfig(batches=[1, 32])


@pytest.mark.usefixtures("machine")
def test_ids_of_the_first_version_still_stand() -> None:
    # made by version 0.1.0's rule, which hashed every key of runtime and budget and none that is newer
    assert ids() == GOLDEN["default"]
    assert ids("profile.runtimes=[{name: eager, precision: bf16, channels_last: true}]") == GOLDEN["bf16"]
    assert ids("profile.threads=[1,2]", "profile.batches=[1,8]", "profile.budget.min_repeats=5") == GOLDEN["grid"]


@pytest.mark.usefixtures("machine")
def test_another_version_of_a_runtime_is_measured_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EagerConfig, "version", "2")
    assert ids() != GOLDEN["default"]


@pytest.mark.usefixtures("machine")
def test_a_way_of_measuring_is_another_measurement() -> None:
    ways = [
        (),
        ("profile.isolate=true",),
        ("profile.limit='1 core'",),
        ("profile.limit='1 core, 512 MB'",),
        ("profile.sustained_seconds=60",),
        ("profile.isolate=true", "profile.sustained_seconds=60"),
    ]
    assert len({ids(*way)[0] for way in ways}) == len(ways)
    assert ids("profile.limit='1 core'") == ids("profile.limit='1 core'", "profile.isolate=true")
    assert ids("profile.timeout_seconds=5", "profile.stages={gallery: 10}") == ids()


@pytest.mark.usefixtures("machine")
def test_what_is_searched_decides_a_way_s_id() -> None:
    def way(*overrides: str, **image: str) -> str:
        config = tiny("runtime.device=cpu", *overrides)
        ((run, single),) = query_combinations(config, ARTEFACT, image or {"rendered": "1"})
        assert single.batches == [1]
        return run

    known = {
        way("profile.stages={}"),
        way("profile.stages={gallery: 10}"),
        way("profile.stages={top: 5}"),
        way("profile.stages={}", digest="abc"),
        way("profile.stages={}", "profile.threads=[2]"),
    }
    assert len(known) == 5
    assert not known & set(ids())
    assert list(query_combinations(tiny(), ARTEFACT, {})) == []


def test_preprocessing_is_the_evaluation_s(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=90)
    for height, width in ((64, 32), (90, 40)):
        expected = normalise(torch.from_numpy(decode(tmp_path, "a.jpg", height, width).copy())[None])
        assert torch.equal(preprocess(read_image(tmp_path, "a.jpg"), height, width), expected)


def test_search_ranks_by_cosine() -> None:
    gallery = gallery_of(40, 16, torch.device("cpu"))
    assert torch.allclose(gallery.norm(dim=1), torch.ones(40))
    query = 7 * torch.from_numpy(np.random.default_rng(1).standard_normal((1, 16), dtype=np.float32))
    cosines = [float(row.double() @ query[0].double() / query[0].double().norm()) for row in gallery]
    naive = sorted(range(40), key=lambda row: -cosines[row])
    assert search(Multiplied(gallery), query, 10).tolist() == naive[:10]
    assert search(Multiplied(gallery), query, 100).tolist() == naive


def test_way_to_a_ranked_list_is_a_latency_record(tmp_path: Path) -> None:
    store, config = Store(tmp_path), tiny(*STAGES)
    forward, way = latency_step(RunContext(config, store))
    assert not forward.stages
    assert list(way.stages) == ["decode", "preprocess", "backbone", "neck", "search"]
    assert {len(seconds) for seconds in way.stages.values()} == {len(way.seconds)}
    assert all(min(seconds) > 0 for seconds in way.stages.values())
    assert np.sum(list(way.stages.values())) <= np.sum(way.seconds)
    assert (way.artefact, way.batch, way.threads) == (forward.artefact, 1, 1)
    settings = way.stage_settings
    assert settings["gallery_bytes"] == 4 * 50 * settings["features"]
    assert (settings["gallery"], settings["top"], settings["image"]["height"]) == (50, 7, 288)
    assert store.get(way.id) == way
    assert latency_step(RunContext(config, store)) == [forward, way]
    assert is_profiled(RunContext(config, store), latency=True)
    assert not is_profiled(RunContext(tiny(*FAST, "profile.stages={gallery: 51}"), store), latency=True)


def test_isolated_way_and_an_image_of_one_s_own(tmp_path: Path) -> None:
    Image.new("RGB", (20, 50), (90, 90, 90)).save(tmp_path / "me.jpg")
    store = Store(tmp_path / "store")
    config = tiny(*STAGES, f"profile.stages.image={tmp_path / 'me.jpg'}", "profile.isolate=true", "profile.batches=[1]")
    _, way = latency_step(RunContext(config, store))
    assert isinstance(way, LatencyRecord)
    assert way.isolated
    assert list(way.stages) == ["decode", "preprocess", "backbone", "neck", "search"]
    assert (way.stage_settings["image"]["height"], way.stage_settings["image"]["width"]) == (50, 20)
    assert len(way.stage_settings["image"]["digest"]) == 12


@pytest.mark.parametrize(("name", "message"), [("absent.jpg", "is missing"), ("me.png", "is PNG, not JPEG")])
def test_an_image_that_is_no_jpeg_is_named(tmp_path: Path, name: str, message: str) -> None:
    Image.new("RGB", (20, 50)).save(tmp_path / "me.png")
    with pytest.raises(UserError, match=message):
        latency_step(RunContext(tiny(*STAGES, f"profile.stages.image={tmp_path / name}"), Store(tmp_path / "store")))


@pytest.mark.parametrize("model", ["idkl_small", "agw_small", "iv_reid_small", "tskd_small"])
def test_every_network_tells_where_its_backbone_ends(model: str) -> None:
    """The split into backbone and neck rests on it."""
    changes = [f"model={model}"]
    if model == "tskd_small":
        changes.append("augmentation=tskd")
    deployable: Any = build_model(tiny(*changes), 5, pretrained=False).deployable(Modality.INFRARED)
    assert isinstance(deployable.pool, nn.Module)
    seen: list[Tensor] = []
    deployable.pool.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        deployable.eval()(torch.zeros(1, 3, 64, 32))
    (feature_map,) = seen
    assert feature_map.ndim == 4, "what is pooled is the backbone's last map"
