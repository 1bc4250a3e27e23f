"""TVI-LFM beside naive loops; its text encoder is replaced by a table, so that the extra is not needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vireid.core.config import parse
from vireid.core.errors import UserError
from vireid.core.types import Batch
from vireid.models import tvi_lfm
from vireid.models.tvi_lfm import TVILFM, TVILFMConfig
from vireid.training.config import StageConfig
from vireid.training.stages import Stages

MakeBatch = Callable[..., Batch]
CLASSES = 5
BASE = StageConfig(name="base", epochs=1, trainable=["visual.*", "neck.*", "classifier.*"], terms=["id", "triplet"])
TEXT = StageConfig(
    name="text", epochs=1, trainable=["text.*", "neck.*", "classifier.*"], terms=["id_text", "triplet_text"]
)


class Table(nn.Module):
    """A feature per last word of a caption, which is a number."""

    def __init__(self, shape: Any, features: int, weights: Any) -> None:
        super().__init__()
        self.table = nn.Embedding(64, features)
        self.calls = 0

    def forward(self, captions: Sequence[str]) -> Tensor:
        self.calls += 1
        return self.table(torch.tensor([int(caption.split()[-1]) for caption in captions]))


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tvi_lfm, "TextEncoder", Table)


def build(**settings: Any) -> Any:
    torch.manual_seed(0)
    config = TVILFMConfig.model_validate({"backbone": "resnet18", "width": 0.125, **settings})
    return TVILFM(config, CLASSES)


@pytest.fixture
def batch(make_batch: MakeBatch) -> Batch:
    """Four identities, two images of each modality, visible ones twice; every image has a caption of its own."""
    made = make_batch(height=32, width=16, views=2)
    first = made.view == 0
    numbers = torch.arange(len(made))
    numbers[~first] = numbers[first & made.visible]
    return replace(made, captions=[f"person {number}" for number in numbers.tolist()])


def naive_parts(model: Any, batch: Batch, pooled: Tensor) -> tuple[list[Tensor], list[int]]:
    """What the text terms learn from, row by row, and its labels."""
    assert batch.captions is not None
    rows, labels = [], []
    fused, texts, described = [], [], []
    for identity in sorted(set(batch.labels.tolist())):
        mine = [i for i in range(len(batch)) if batch.labels[i] == identity and batch.view[i] == 0]
        visible = [i for i in mine if bool(batch.visible[i])]
        infrared = [i for i in mine if bool(batch.infrared[i])]
        for v, i in zip(visible, infrared, strict=True):
            t, own = model.text([batch.captions[v]])[0], model.text([batch.captions[i]])[0]
            fused.append(pooled[i] + t - own if model.config.fusion == "filter" else pooled[i] + t)
            texts.append(t)
            described.append(identity)
    for i in range(len(batch)):
        if model.config.joint or bool(batch.visible[i]):
            rows.append(pooled[i])
            labels.append(int(batch.labels[i]))
    rows += fused
    labels += described
    if model.config.joint:
        rows += texts
        labels += described
    return rows, labels


def naive_triplet(features: list[Tensor], labels: list[int]) -> float:
    total = 0.0
    for i, anchor in enumerate(features):
        positive = [(anchor - f).norm() for j, f in enumerate(features) if labels[j] == labels[i] and j != i]
        negative = [(anchor - f).norm() for j, f in enumerate(features) if labels[j] != labels[i]]
        p, n = torch.stack(positive), torch.stack(negative)
        far, near = (p.softmax(0) * p).sum(), ((-n).softmax(0) * n).sum()
        total += float(F.softplus(far - near))
    return total / len(features)


@pytest.mark.parametrize("fusion", ["filter", "add"])
@pytest.mark.parametrize("joint", [True, False])
def test_text_terms_equal_a_naive_loop(batch: Batch, fusion: str, joint: bool) -> None:
    model = build(fusion=fusion, joint=joint).double().eval()
    batch = replace(batch, images=batch.images.double())
    output = model(batch)
    terms = model.loss_terms(output, batch)
    rows, labels = naive_parts(model, batch, output.features["pooled"])
    assert len(rows) == (40 if joint else 24)  # 24 images, of them 16 visible; 8 fused; 8 texts
    joined = torch.stack(rows)
    assert torch.allclose(output.features["joint"], joined)
    logits = model.classifier(model.neck(joined))
    entropies = [-F.log_softmax(row, 0)[label] for row, label in zip(logits, labels, strict=True)]
    assert float(terms["id_text"]) == pytest.approx(float(torch.stack(entropies).mean()))
    assert float(terms["triplet_text"]) == pytest.approx(naive_triplet(rows, labels), rel=1e-4)
    images = model.classifier(model.neck(output.features["pooled"]))
    assert float(terms["id"]) == pytest.approx(float(F.cross_entropy(images, batch.labels)))


def test_running_statistics_follow_what_the_text_terms_learn_from(batch: Batch) -> None:
    model = build().train()
    output = model(batch)
    joint = output.features["joint"]
    assert torch.allclose(model.neck.running_mean, 0.1 * joint.mean(0), atol=1e-6)
    assert int(model.neck.num_batches_tracked) == 1


def test_the_base_stage_reads_no_text(batch: Batch) -> None:
    model = build()
    stages = Stages([BASE, TEXT], model, model.default_weights())
    stages.enter(0)
    silent = replace(batch, captions=None)
    terms = stages.active(0, model.loss_terms(model(silent), silent))
    assert set(terms) == {"id", "triplet"}
    assert model.text.calls == 0
    sum(terms.values()).backward()
    assert all(p.grad is not None for p in model.visual.parameters())


def test_the_text_stage_leaves_the_visual_part_bitwise_as_it_was(batch: Batch) -> None:
    model = build()
    model.train()(batch)  # running statistics away from their start
    before = {name: value.clone() for name, value in model.state_dict().items()}
    stages = Stages([BASE, TEXT], model, model.default_weights())
    groups = model.parameter_groups()
    optimiser = torch.optim.Adam([{**g, "lr": 1e-2 * g["lr_scale"]} for g in groups], weight_decay=0.1)
    stages.enter(1)
    for _ in range(3):
        terms = stages.active(1, model.loss_terms(model(batch), batch))
        optimiser.zero_grad()
        sum(terms.values()).backward()
        optimiser.step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert not [name for name in changed if name.startswith("visual.")]
    assert {"text.table.weight", "classifier.weight", "neck.weight", "neck.bias", "neck.running_mean"} <= changed


def test_described_queries(batch: Batch) -> None:
    model = build().eval()
    images = batch.images[batch.infrared]
    said, own = [[f"person {n + k}" for n in range(len(images))] for k in (10, 30)]
    with torch.no_grad():
        parts = model.describe(images, said, own)
        ir = model.visual(images, torch.ones(len(images), dtype=torch.bool))
        expected = ir + model.text(said) - model.text(own)
        assert torch.allclose(parts["fused"], model.neck(expected), atol=1e-6)
        assert torch.allclose(parts["text"], model.neck(model.text(said)), atol=1e-6)
        assert torch.allclose(parts["infrared"], model.embed(batch)["embedding"][batch.infrared], atol=1e-5)
        again = model.describe(images, own, own)
    assert torch.allclose(again["fused"], again["infrared"], atol=1e-5)  # a filter takes its own words away


def test_groups_have_the_method_s_rates() -> None:
    scales = {group["name"]: group["lr_scale"] for group in build(text_lr_scale=0.5).parameter_groups()}
    assert scales == {"visual": 1.0, "classifier": 2.0, "text": 0.5}


def test_without_text_nothing_of_it_is_there(batch: Batch) -> None:
    model = build(fusion="none", joint=False, retrieval="fused")
    assert model.text is None
    assert model.default_weights() == {"id": 1.0, "triplet": 1.0}
    with pytest.raises(UserError, match="text=none"):
        model.describe(batch.images, [], [])


def test_a_batch_without_captions_is_named(batch: Batch) -> None:
    with pytest.raises(UserError, match=r"data\.captions"):
        build()(replace(batch, captions=None))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fusion": "none"}, "joint=true learns from text"),
        ({"fusion": "none", "joint": False}, "retrieval=ensemble adds text"),
        ({"text_width": 30, "text_heads": 4}, "does not divide"),
    ],
)
def test_impossible_toggles_say_why(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse(TVILFMConfig, {"name": "tvi_lfm", **settings}, "test")
