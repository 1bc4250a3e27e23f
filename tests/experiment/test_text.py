"""Queries with text, from configuration to records; the text encoder is a table, so that the extra is not needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.tiny import tiny
from vireid.core.errors import UserError
from vireid.core.types import Modality
from vireid.evaluation.protocols import ProtocolConfig
from vireid.experiment.context import RunContext
from vireid.experiment.data import training_loader
from vireid.experiment.fit import evaluate_step, fit_step, texts
from vireid.experiment.identity import RunIds
from vireid.experiment.reload import config_of_fit
from vireid.models import tvi_lfm
from vireid.store import Store

STAGES = (
    "recipe.stages=[{name: base, epochs: 1, trainable: ['visual.*', 'neck.*', 'classifier.*'], terms: [id, triplet]}, "
    "{name: text, epochs: 1, trainable: ['text.*', 'neck.*', 'classifier.*'], terms: [id_text, triplet_text]}]"
)
WITH_TEXT = ["model=tvi_lfm_small", "model.width=0.125", "augmentation=tvi_lfm", "data.captions={captioner: Blip}"]
PROTOCOLS = (
    "evaluation.protocols=[{name: sysu/official}, {name: sysu/official, text: query}, "
    "{name: sysu/official, text: query, captioner: Witness_IR}, {name: sysu/official, text: oracle}]"
)


class Table(nn.Module):
    """A feature per caption, by its letters."""

    def __init__(self, shape: Any, features: int, weights: Any) -> None:
        super().__init__()
        self.table = nn.Embedding(997, features)

    def forward(self, captions: Sequence[str]) -> Tensor:
        return self.table(torch.tensor([sum(caption.encode()) % 997 for caption in captions]))


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tvi_lfm, "TextEncoder", Table)


def config_with(rendered: Path, *settings: str) -> Any:
    return tiny(f"data.root={rendered}", *WITH_TEXT, "recipe.epochs=null", STAGES, PROTOCOLS, *settings)


def test_a_fit_with_text_is_evaluated_under_every_kind_of_it(rendered: Path, tmp_path: Path) -> None:
    config, store = config_with(rendered), Store(tmp_path)
    fit = fit_step(RunContext(config, store))
    assert [set(entry["terms"]) for entry in fit.curves] == [{"id", "triplet"}, {"id_text", "triplet_text"}]
    assert fit.config["data"]["captions"] == {"captioner": "Blip", "rephrased": 0.5}
    records = evaluate_step(RunContext(config, store))
    said = [(record.protocol["text"], record.protocol.get("captions")) for record in records]
    assert said == [("none", None), ("query", "Blip_IR"), ("query", "Witness_IR"), ("oracle", "Blip_RGB")]
    assert len({record.metrics["mAP"] for record in records}) == 4
    again = config_of_fit(fit, ["{name: sysu/official, text: oracle}"], rendered, store)
    assert evaluate_step(RunContext(again, store))[0] == records[3]


def test_texts_of_queries(rendered: Path, tmp_path: Path) -> None:
    config = config_with(rendered)
    index = RunContext(config, Store(tmp_path)).data.evaluation
    own, witness, oracle = (texts(index, protocol) for protocol in config.evaluation.protocols[1:])
    infrared = np.flatnonzero(index.modality == Modality.INFRARED).tolist()
    visible = np.flatnonzero(index.modality == Modality.VISIBLE).tolist()
    assert index.captions is not None
    for row in infrared:
        assert own[row] == index.captions[row]
        assert witness[row] != own[row]
        of_identity = {index.captions[v] for v in visible if index.identity[v] == index.identity[row]}
        assert oracle[row] in of_identity
    assert all(not text for v in visible for text in (own[v], oracle[v]))
    assert oracle == texts(index, config.evaluation.protocols[3])


def test_training_batches_say_captions_or_rephrasings(rendered: Path, tmp_path: Path) -> None:
    config, store = config_with(rendered), Store(tmp_path)
    run = RunContext(config, store)
    data, batch = run.data, training_loader(run).batch(0, 0)
    assert batch.captions is not None
    assert len(batch.captions) == len(batch)
    plain = set(data.train.captions or ())
    again = set(data.rephrasings or ())
    assert set(batch.captions) <= plain | again
    assert set(batch.captions) & plain
    assert set(batch.captions) & again


def test_identities_without_captions_are_what_they_were(rendered: Path) -> None:
    plain = tiny(f"data.root={rendered}")
    described = tiny(f"data.root={rendered}", "data.captions={captioner: Blip}")
    assert RunIds(plain).fit != RunIds(described).fit
    first, second = ProtocolConfig(name="sysu/official"), ProtocolConfig(name="sysu/official", text="query")
    assert RunIds(plain).evaluation(first) != RunIds(plain).evaluation(second)


def test_the_witness_is_added_to_a_set_of_before(rendered_copy: Path, tmp_path: Path) -> None:
    import shutil

    folder = rendered_copy / "Text" / "Witness_IR"
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    shutil.rmtree(folder)
    assert len(RunContext(tiny(f"data.root={rendered_copy}"), Store(tmp_path)).data.evaluation)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["model=tvi_lfm_small", "augmentation=tvi_lfm"], r"reads text: set data\.captions"),
        (["evaluation.protocols=[{name: sysu/official}, {name: sysu/official, text: query}]"], "reads none"),
        (["evaluation.protocols=[{name: sysu/official, captioner: Blip_IR}]"], "says nothing with text none"),
        (["evaluation.protocols=[{name: regdb/split1, direction: v2t, text: query}]"], "describes infrared queries"),
    ],
)
def test_what_is_missing_for_text_is_said_before_anything_runs(settings: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        tiny(*settings)
