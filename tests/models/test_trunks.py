"""Trunks: which file fits a model, what loads it, and that nobody has seen a study's people."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file

from vireid.ablation.study import read_study
from vireid.core.errors import UserError
from vireid.core.records import FitRecord, read_record
from vireid.core.shipped import shipped
from vireid.experiment.fit import build_model
from vireid.experiment.identity import RunIds, component_specification
from vireid.models import trunk
from vireid.models.trunk import TRUNKS, TrunkSpec, trunk_file
from vireid.overrides import compose

FILES = sorted(TRUNKS.glob("*.safetensors"))
BASE = ["data=sysu_quick", "recipe=from_trunk", "model.pretrained=trunk"]


def test_a_trunk_is_named_by_what_decides_its_weights() -> None:
    assert trunk_file(TrunkSpec("resnet18", 0.25, 1, "a")).name == "resnet18-width_0.25-ibn_a.safetensors"
    assert trunk_file(TrunkSpec("resnet18", 0.25, 2, "a")) == trunk_file(TrunkSpec("resnet18", 0.25, 1, "a"))


NEEDS_VIEWS = {"tskd_small": ["augmentation=tskd"], "caj_small": ["augmentation=caj"]}


@pytest.mark.parametrize(
    "model", ["idkl_small", "iv_reid_small", "agw_small", "tskd_small", "caj_small", "deen_small", "trunk_small"]
)
def test_every_small_preset_finds_and_loads_its_trunk(model: str) -> None:
    config = compose([*BASE[:2], f"model={model}", BASE[2], *NEEDS_VIEWS.get(model, [])])
    weights = load_file(trunk_file(config.model.trunk))
    state = dict(build_model(config, 10).state_dict())
    for name in ("layer1.0.conv1.weight", "layer4.1.bn2.running_var"):
        assert any(key.endswith(name) and torch.equal(value, weights[name].float()) for key, value in state.items()), (
            name
        )


def test_both_branches_of_idkl_begin_alike() -> None:
    config = compose([*BASE[:2], "model=idkl_small", BASE[2], "model.ibn=a"])
    state = build_model(config, 10).state_dict()
    shared, specific = (state[f"{part}.branch.layer3.0.bn1.IN.weight"] for part in ("embedder", "specific"))
    assert torch.equal(shared, specific)
    assert not torch.equal(shared, torch.ones_like(shared)), "trained, not as it was initialised"


def test_a_trunk_s_content_decides_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in FILES:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    overrides = [*BASE[:2], "model=idkl_small", BASE[2]]
    before = RunIds(compose(overrides)).fit
    monkeypatch.setattr(trunk, "TRUNKS", tmp_path)
    monkeypatch.setattr(trunk, "trunk_file", lambda spec: trunk_file(spec, tmp_path))
    assert RunIds(compose(overrides)).fit == before, "the same file elsewhere"
    named = component_specification("model", compose(overrides).model)["pretrained"]
    assert named.startswith("resnet18-width_0.25-ibn_none.safetensors@sha256:")
    other = tmp_path / FILES[0].name
    (tmp_path / "resnet18-width_0.25-ibn_none.safetensors").write_bytes(other.read_bytes())
    assert RunIds(compose(overrides)).fit != before


def test_a_missing_trunk_is_named_with_the_command_that_makes_it() -> None:
    with pytest.raises(UserError, match=r"no trunk .*resnet34-width_0.25-ibn_b.safetensors .*there: resnet18") as error:
        compose([*BASE[:2], "model=idkl_small", BASE[2], "model.backbone=resnet34", "model.ibn=b"])
    assert "vireid train data=trunk_people model=trunk_small" in str(error.value)
    assert "model.backbone=resnet34 model.width=0.25 model.ibn=b`, then `vireid trunk RUN`" in str(error.value)
    with pytest.raises(UserError, match="the suite's trunks are ResNets, not 'mobilenet_v3_small'"):
        compose([*BASE[:2], "model=compact_mobilenet_small", BASE[2]])
    with pytest.raises(UserError, match=r"ibn=a is of ResNets .* not of 'mobilenet_v3_small': set ibn=none"):
        compose(["data=sysu_quick", "model=compact_mobilenet_small", "recipe=smoke", "model.ibn=a"])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_trunk_has_its_record_and_people_whom_no_study_sees(file: Path) -> None:
    record = read_record(file.with_suffix(".json").read_bytes(), file.stem)
    assert isinstance(record, FitRecord)
    with safe_open(file, "pt") as content:
        assert content.metadata()["run"] == record.id
        people = json.loads(content.metadata()["identities"])
    assert record.config["data"]["training_modalities"] == "visible"
    assert record.config["recipe"]["precision"] == "fp32"
    assert people == {key: value for key, value in record.config["data"]["synthetic"].items() if key in people}
    for study in sorted(shipped("ablations").glob("*.yaml")):
        if study.stem != "trunks":
            assert people["seed"] not in read_study(study).seeds, study.stem
    plan = yaml.safe_load((shipped("ablations") / "trunks.yaml").read_text())
    assert record.config["model"]["ibn"] in plan["factors"]["ibn"]


def test_trunks_on_record_are_fits_of_the_study_that_makes_them() -> None:
    from vireid.ablation.plan import make_plan

    planned = {run.fit for run in make_plan(read_study(shipped("ablations") / "trunks.yaml"))[0].runs}
    assert {read_record(f.with_suffix(".json").read_bytes(), f.stem).id for f in FILES} == planned
