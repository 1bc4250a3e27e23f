"""A fit on clean and on corrupted images, from configuration to records and the command's table."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.tiny import tiny
from vireid.cli import app
from vireid.config import ExperimentConfig
from vireid.core.config import parse
from vireid.core.errors import UserError
from vireid.core.records import FitRecord
from vireid.core.types import Modality
from vireid.evaluation.test_time import ModelProtocol
from vireid.experiment.context import RunContext
from vireid.experiment.fit import embeddings, evaluate_step, fit_step, with_corruption
from vireid.experiment.identity import deployed_protocols
from vireid.experiment.robustness import Robustness, corrupted_protocols, robustness
from vireid.experiment.sources import stale_parts
from vireid.store import Store

WHERE = ("query", "gallery", "both")
PROTOCOLS = ", ".join(f"{{name: sysu/official, corruption: {{where: {where}}}}}" for where in WHERE)


@pytest.fixture(scope="module")
def trained(rendered: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunContext, FitRecord, ExperimentConfig]:
    config = tiny(f"data.root={rendered}", f"evaluation.protocols=[{{name: sysu/official}}, {PROTOCOLS}]")
    run = RunContext(config, Store(tmp_path_factory.mktemp("corrupted")))
    return run, fit_step(run), config


def test_every_side_is_a_record_of_its_own(trained: Any) -> None:
    run, _, config = trained
    records = evaluate_step(run)
    assert len({record.id for record in records}) == len({record.card.key for record in records}) == 4
    assert [record.card.corruption and record.card.corruption["where"] for record in records] == [None, *WHERE]
    assert "corruption" not in records[0].protocol, "a card of images as they are is as it was"
    assert "corruption" not in records[0].components
    assert all("corruption" in record.components for record in records[1:])
    assert records[0].corrupted_digest is None
    assert len({record.corrupted_digest for record in records[1:]}) == 3
    assert [record.id for record in evaluate_step(run)] == [record.id for record in records], "reused"
    assert deployed_protocols(config) == [config.evaluation.protocols[0]]
    assert stale_parts(records) == {}
    other = records[1].components["corruption"].model_copy(update={"digest": "tree:000000000000"})
    changed = records[1].model_copy(update={"components": {**records[1].components, "corruption": other}})
    assert stale_parts([changed]) == {changed.id: ["corruption"]}


def test_features_of_the_other_side_are_left_alone(trained: Any) -> None:
    run, _, config = trained
    plain, modality = embeddings(run), run.data.evaluation.modality
    for protocol, changed in zip(config.evaluation.protocols[1:], ((1,), (0,), (0, 1)), strict=True):
        features, digest = with_corruption(run, plain, protocol)
        assert len(digest) == 64
        same = (features == plain).all(axis=1)
        assert not same[np.isin(modality, changed)].any()
        assert same[~np.isin(modality, changed)].all()


def test_corrupted_and_mirrored_images_go_together(trained: Any) -> None:
    run, _, _ = trained
    settings = {"name": "sysu/official", "test_time": "flip", "corruption": {"where": "gallery"}}
    mirrored = parse(ModelProtocol, settings, "test")
    plain = embeddings(run, "flip")
    features, _ = with_corruption(run, plain, mirrored)
    infrared = run.data.evaluation.modality == Modality.INFRARED
    assert (features[infrared] == plain[infrared]).all()
    assert not np.allclose(features[~infrared], plain[~infrared])


def test_the_drop_is_relative_to_clean_and_of_the_mean_over_draws(trained: Any) -> None:
    run, _, config = trained
    records = evaluate_step(run)
    groups = corrupted_protocols(config, "gallery", [0, 1], [{"name": "sysu/official"}])
    assert [p.corruption and (p.corruption.where, p.corruption.seed) for p in groups[0]] == [
        None,
        ("gallery", 0),
        ("gallery", 1),
    ]
    clean, *corrupted = (
        records[0].model_copy(update={"metrics": {"r1": value, "mAP": value, "mINP": 0.0}}) for value in (0.8, 0.5, 0.7)
    )
    (result,) = robustness([clean, *corrupted], groups)
    assert result.mean("r1") == pytest.approx(0.6)
    assert result.spread("r1") == pytest.approx(0.02**0.5)
    assert result.drop("r1") == pytest.approx(0.25)
    assert result.drop("mINP") is None
    assert Robustness(clean, corrupted[:1]).spread("r1") is None
    with pytest.raises(UserError, match="leave its corruption out"):
        corrupted_protocols(config, "gallery", [0], [{"name": "sysu/official", "corruption": {"where": "query"}}])


def test_the_command_prints_clean_corrupted_and_drop(trained: Any, rendered: Path) -> None:
    run, fit, _ = trained
    importlib.import_module("vireid.cli.robustness")
    arguments = ["robustness", fit.id, "--root", str(rendered), "--seeds", "2", "--store", str(run.store.root)]
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0, shown.output
    lines = [line.split("\t") for line in shown.output.splitlines() if "\t" in line]
    assert [line[2] for line in lines] == ["images", "as they are", "corrupted gallery", "relative drop"]
    assert "±" in lines[2][3]
    printed = CliRunner().invoke(app, [*arguments, "--json"])
    (content,) = json.loads(printed.stdout)
    assert len({record["corrupted_digest"] for record in content["corrupted"]}) == 2
    mean = sum(record["mAP"] for record in content["corrupted"]) / 2
    assert content["relative_drop"]["mAP"] == pytest.approx(1 - mean / content["clean"]["mAP"])
