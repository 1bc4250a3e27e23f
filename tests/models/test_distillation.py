"""A compact model with a teacher: the contract of every model, and that the teacher is no part of its student."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.models.test_contract import (  # noqa: F401 - the contract, with the model below
    test_checkpoint_holds_all_state,
    test_deployable_equals_embed,
    test_deployed_parameters_are_those_with_that_role,
    test_equal_seeds_build_equal_models,
    test_every_trainable_parameter_gets_a_finite_gradient_unless_dead,
    test_fulfils_the_protocol,
    test_groups_cover_every_trainable_parameter_once,
    test_loss_terms_are_the_named_finite_scalars,
    test_works_in_bfloat16_autocast_and_channels_last,
)
from vireid.core.config import parse
from vireid.core.errors import UserError
from vireid.core.types import Batch, Modality
from vireid.losses.distillation import feature_distillation, logit_distillation, relation_distillation
from vireid.models.compact import Compact, CompactConfig, Teacher
from vireid.models.idkl import IDKL, IDKLConfig
from vireid.profiling.complexity import parameter_counts

CLASSES = 11
RUN = {"run": "0123456789ab"}
CASES: list[dict[str, Any]] = [
    {"teacher_features": 128},
    {"teacher_features": 128, "backbone": "mobilenet_v3_small", "pool": "average", "feature_loss": "mse"},
    {"weights": {"kd_feature": 0, "id": 0, "triplet": 0, "kd_csa2": 0}},
]
MakeBatch = Callable[..., Batch]


def make_teacher(size: tuple[int, int] | None = (48, 24), classes: int = CLASSES) -> Teacher:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = IDKL(IDKLConfig(backbone="resnet18", width=0.25), classes)
        torch.nn.init.normal_(model.heads["shared"].weight)  # a trained head is sure of what it sees
    return Teacher(model, model.heads["shared"], size)


class Taught(Compact):
    """A student that brings its teacher."""

    def __init__(self, config: CompactConfig, num_classes: int) -> None:
        super().__init__(config, num_classes)
        self.learn_from(make_teacher())


def build(settings: dict[str, Any], kind: type[Compact] = Taught) -> Compact:
    torch.manual_seed(0)
    width = {} if "backbone" in settings else {"width": 0.25}
    return kind(parse(CompactConfig, {"teacher": RUN, **width, **settings}, "test"), CLASSES)


@pytest.fixture(params=CASES, ids=lambda case: "-".join(case))
def model(request: pytest.FixtureRequest) -> Compact:
    return build(request.param)


def test_terms_are_those_of_the_losses_on_the_aligned_rows(make_batch: MakeBatch) -> None:
    model, teacher, batch = build(CASES[0]).train(), make_teacher(), make_batch()
    output = model(batch)
    terms = model.loss_terms(output, batch)
    order = [row for infrared in (False, True) for row in range(len(batch)) if bool(batch.infrared[row]) == infrared]
    feature, logits = teacher(batch)
    ours = output.features["embedding"][order], output.logits["id"][order]
    assert torch.equal(terms["kd_feature"], feature_distillation(output.features["projected"], feature))
    assert torch.equal(terms["kd_relation"], relation_distillation(ours[0], feature[order], 0.2))
    assert torch.equal(terms["kd_csa1"], logit_distillation(ours[1], logits[order], 4.0))
    assert torch.equal(terms["kd_csa2"], logit_distillation(ours[1], logits[order], 4.0, 2))
    plain = build(CASES[0], Plain)
    plain.load_state_dict({key: value for key, value in model.state_dict().items() if "projection" not in key})
    expected = plain.train().loss_terms(plain(batch), batch)
    assert expected.keys() == {"id", "triplet"}
    assert all(torch.equal(terms[name], value) for name, value in expected.items())


class Plain(Compact):
    """The same student without a teacher."""

    def __init__(self, config: CompactConfig, num_classes: int) -> None:
        super().__init__(config.model_copy(update={"teacher": None, "teacher_features": None}), num_classes)


def test_training_leaves_the_teacher_as_it_was_bit_by_bit(make_batch: MakeBatch) -> None:
    student = build(CASES[0], Compact)
    teacher = make_teacher()
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    student.learn_from(teacher)
    start = {key: value.clone() for key, value in student.state_dict().items()}
    optimiser = torch.optim.Adam([p for group in student.parameter_groups() for p in group["params"]], lr=0.01)
    for seed in range(2):
        student.train()
        batch = make_batch(seed=seed)
        terms = student.loss_terms(student(batch), batch)
        torch.stack([weight * terms[name] for name, weight in student.default_weights().items()]).sum().backward()
        optimiser.step()
        optimiser.zero_grad()
    assert any(not torch.equal(value, start[key]) for key, value in student.state_dict().items())
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())
    assert not any(part.training for part in teacher.modules())
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in teacher.parameters())


def test_the_teacher_is_neither_deployed_nor_trained_nor_saved() -> None:
    taught, plain = build(CASES[0]), build(CASES[0], Plain)
    assert taught._teachers
    added = taught.state_dict().keys() - plain.state_dict().keys()
    assert added == {"projection.weight"}
    counts = [
        parameter_counts(model, [model.deployable(m) for m in Modality], model.parameter_roles())
        for model in (taught, plain)
    ]
    assert counts[0]["deployed"] == counts[1]["deployed"] == sum(p.numel() for p in plain.embedder.parameters())
    assert counts[0]["training_only"] - counts[1]["training_only"] == 128 * 128
    assert counts[0]["dead"] == 0
    deployed = taught.deployable(Modality.INFRARED)
    assert deployed.state_dict().keys() == plain.embedder.state_dict().keys()
    assert not any(isinstance(part, Teacher | IDKL) for part in deployed.modules())


def test_the_teacher_sees_the_batch_at_its_own_size_and_follows_its_student(make_batch: MakeBatch) -> None:
    batch, seen = make_batch(), []
    for size in ((48, 24), None):
        teacher = make_teacher(size)
        embedder = teacher.model.embedder
        embedder.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[2:])))
        student = build(CASES[0], Compact)
        student.learn_from(teacher)
        student.to(memory_format=torch.channels_last)
        student(batch)
        weight = embedder.branch.layer4[0].conv2.weight
        assert weight.is_contiguous(memory_format=torch.channels_last)
        assert next(student.double()._teachers[0].parameters()).dtype == torch.float64
    assert seen == [(48, 24), (64, 32)]


def test_a_student_refuses_another_s_teacher_and_does_not_train_without_one(make_batch: MakeBatch) -> None:
    student = build(CASES[0], Compact)
    with pytest.raises(UserError, match="need the teacher's weights"):
        student(make_batch())
    with pytest.raises(UserError, match="knows 12 identities, the student is trained on 11"):
        student.learn_from(make_teacher(classes=12))
    with pytest.raises(UserError, match=r"set model\.teacher_features=128 \(it is 64\)"):
        build({"teacher_features": 64})
    assert student.eval().embed(make_batch())["embedding"].shape == (16, 128)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"teacher": None, "weights": {"kd_csa1": 1.0}}, "'kd_csa1' in weights needs model.teacher"),
        ({}, "give its width as teacher_features"),
        ({"weights": {"kd_feature": 0}, "teacher_features": 8}, "teacher_features serves kd_feature"),
        ({"weights": dict.fromkeys(("kd_feature", "kd_relation", "kd_csa1", "kd_csa2"), 0)}, "does nothing"),
        ({"teacher": {}}, "one of run, training and file; given: none"),
        ({"teacher": {**RUN, "file": "x"}}, "given: run, file"),
        ({"teacher": {**RUN, "height": 8, "width": 4}}, "those in its record"),
        ({"teacher": {"file": "x"}}, "needs the height and width"),
        ({"teacher": {"training": ["model=idkl"], "height": 8}}, "height and width go together"),
        ({"teacher": {"run": "abc"}}, "teacher.run"),
        ({"teacher": {"run": 123456789012}}, "quote it"),
    ],
)
def test_impossible_teachers_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse(CompactConfig, {"teacher": RUN, **settings}, "test")
