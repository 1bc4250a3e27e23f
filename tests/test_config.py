"""Overrides: paths and texts are taken as they stand, everything else in Hydra's grammar."""

from pathlib import Path

import pytest

from vireid.ablation.plan import make_plan
from vireid.ablation.study import read_study
from vireid.config import ExperimentConfig
from vireid.core.errors import UserError
from vireid.models import MODELS
from vireid.overrides import compose

PATHS = [
    "/data/数据/SYSU",
    "/data/données/SYSU",
    "log/epoch=119-step=8000.ckpt",
    "/data/SYSU(1)",
    "/data/a[1]",
    "/data/run#3",
    "/data/a&b",
    "/data/it's",
    "/data/two words",
    "/data/a,b",
    "/data/a: b",
    "/data/{x}",
    "C:\\data",
    "2024",
]


@pytest.mark.parametrize("path", PATHS)
def test_paths_stand_as_they_are(path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert compose([f"data.root={path}"]).data.root == Path(path)
    assert compose(["model=agw", f"model.pretrained={path}"]).model.pretrained == Path(path)


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("~/SYSU", "/home/me/SYSU"),
        ("$HOME/SYSU", "/home/me/SYSU"),
        ("${HOME}/a b", "/home/me/a b"),
        ("'~/SYSU'", "/home/me/SYSU"),
        ('"/data/a b"', "/data/a b"),
        ("'/data/a b'", "/data/a b"),
        ("/data/~x", "/data/~x"),
        ("$HOMES/x", "$HOMES/x"),
    ],
)
def test_home_is_expanded_and_quotes_are_taken_off(given, path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert compose([f"data.root={given}"]).data.root == Path(path)


def test_null_and_nothing_unset_a_path():
    assert compose(["data.root=/x", "data.root=null"]).data.root is None


def test_the_chosen_model_says_which_of_its_keys_are_paths():
    assert compose(["model=idkl", "model=compact", "model.pretrained=/a(1)"]).model.pretrained == Path("/a(1)")
    with pytest.raises(UserError, match=r"model\.width"):
        compose(["model=compact", "model.width=/a(1)"])


def test_what_is_no_path_keeps_its_grammar():
    config = compose(
        ["runtime.device=cuda:1", "profile.batches=[1, 4]", "recipe.batch_size=24", "runtime.threads=null"]
    )
    assert (config.runtime.device, config.profile.batches, config.recipe.batch_size) == ("cuda:1", [1, 4], 24)
    with pytest.raises(UserError, match="sweeps belong into a study"):
        compose(["recipe.epochs=1,2"])
    with pytest.raises(UserError, match=r"epochs=a\(1.: (no viable|mismatched)"):
        compose(["recipe.epochs=a(1"])


def test_a_path_within_a_mapping():
    teacher = compose(
        ["model=compact_small", "model.teacher={file: /数据/teacher, input: student}", "model.teacher_features=64"]
    ).model.teacher
    assert teacher.file == Path("/数据/teacher")


def test_a_study_takes_them_too(tmp_path):
    text = (Path(__file__).parents[1] / "ablations" / "smoke.yaml").read_text(encoding="utf-8")
    file = tmp_path / "smoke.yaml"
    place = tmp_path / "数据" / "epoch=1-it's(1).pth"
    place.parent.mkdir()
    place.write_bytes(b"weights")
    file.write_text(text.replace("- recipe=smoke", f'- recipe=smoke\n  - "model.pretrained={place}"'), encoding="utf-8")
    _, configs = make_plan(read_study(file))
    own = [config for config in configs.values() if config.model.name == "idkl"]  # other systems choose a whole model
    assert {config.model.pretrained for config in own} == {place}


def test_the_schema_explains_every_component():
    *choices, plug_in = ExperimentConfig.model_json_schema()["properties"]["model"]["anyOf"]
    known = {choice["allOf"][1]["properties"]["name"]["const"]: choice["allOf"][0] for choice in choices}
    assert list(known) == MODELS.names()
    assert plug_in["properties"]["name"] == {"pattern": ":"}
    margin = known["idkl"]["properties"]["margin"]
    assert margin["description"] == "Of the triplet terms, un-normalised Euclidean."
