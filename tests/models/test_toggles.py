"""Every level of the IBN and MHA toggles, and what the released codes do otherwise, in the whole of IDKL."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch

from tests.profiling.models import without_gradient
from vireid.core.config import parse
from vireid.core.errors import UserError
from vireid.core.types import Batch, Modality
from vireid.losses.modality import modality_labels
from vireid.losses.pairs import pair_rows
from vireid.models.idkl import IDKL, IDKLConfig
from vireid.models.idkl_config import MHA_WEIGHTS, RELEASED_WEIGHTS, SPECIFIC_TERMS, MHAKind
from vireid.models.trunk import IBNKind
from vireid.profiling.complexity import parameter_counts

MakeBatch = Callable[..., Batch]
CLASSES = 9
SPECIFIC_OFF = dict.fromkeys(SPECIFIC_TERMS & RELEASED_WEIGHTS.keys(), 0.0)


def build(**settings: Any) -> IDKL:
    torch.manual_seed(0)
    return IDKL(parse(IDKLConfig, {"name": "idkl", "backbone": "resnet18", "width": 0.125} | settings, "test"), CLASSES)


def total(model: IDKL, batch: Batch) -> torch.Tensor:
    terms = model.loss_terms(model(batch), batch)
    return torch.stack([weight * terms[name] for name, weight in model.default_weights().items()]).sum()


@pytest.mark.parametrize("mha", get_args(MHAKind))
@pytest.mark.parametrize("ibn", get_args(IBNKind))
def test_every_level_trains_and_deploys_what_it_embeds(ibn: str, mha: str, make_batch: MakeBatch) -> None:
    batch, model = make_batch(height=32, width=16), build(ibn=ibn, mha=mha)
    optimiser = torch.optim.Adam([p for group in model.parameter_groups() for p in group["params"]], lr=1e-3)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for _ in range(2):  # refinement starts at 0: its queries learn from the second step on
        optimiser.zero_grad()
        total(model.train(), batch).backward()
        optimiser.step()
    roles = model.parameter_roles()
    assert roles.keys() == before.keys()
    for name, parameter in model.named_parameters():
        assert torch.isfinite(parameter).all(), name
        moved = not torch.equal(parameter, before[name])
        assert moved == (parameter.requires_grad and roles[name] != "dead"), name
    assert without_gradient(model, lambda: total(model, batch)) == set()

    deployed = model.eval().deployable(Modality.VISIBLE)
    counts = parameter_counts(model, deployed, roles)
    assert (counts["dead"] > 0) == (mha == "fork")
    assert counts["deployed"] == sum(p.numel() for name, p in model.named_parameters() if roles[name] == "deployed")
    with torch.no_grad():
        assert torch.allclose(deployed(batch.images), model.embed(batch)["embedding"], rtol=0, atol=1e-6)
        assert torch.allclose(model(batch).features["embedding"], deployed(batch.images), rtol=0, atol=1e-5)


def test_gradient_reaches_the_attention_of_guidance_and_never_the_fork_s(make_batch: MakeBatch) -> None:
    batch = make_batch(height=32, width=16)
    guided = build(mha="guidance")
    terms = guided.loss_terms(guided(batch), batch)
    (terms["guidance_id"] + terms["guidance_kl"]).backward()
    assert guided.attention is not None
    for name, parameter in guided.attention.named_parameters():
        if name != "key_value.bias":  # half of it is the keys', which cancels in the softmax
            assert parameter.grad is not None
            assert parameter.grad.abs().sum() > 0, name

    fork = build(mha="fork")
    assert fork.fork_attention is not None
    fork.fork_attention.requires_grad_(True)  # as in that code: what stops the gradient is the detached output
    total(fork, batch).backward()
    assert all(parameter.grad is None for parameter in fork.fork_attention.parameters())
    assert {role for name, role in fork.parameter_roles().items() if "fork_attention" in name} == {"dead"}


def test_the_fork_s_term_pulls_the_shared_feature_alone(make_batch: MakeBatch) -> None:
    batch, model = make_batch(height=32, width=16), build(mha="fork")
    output = model(batch)
    assert model.fork_attention is not None
    target = model.fork_attention(output.features["specific"])
    term = model.loss_terms(output, batch)["fork_attention"]
    assert term.item() == pytest.approx(((output.features["shared"] - target) ** 2).mean().item(), rel=1e-5)
    assert model.default_weights()["fork_attention"] == 0.2
    term.backward()
    assert model.specific is not None
    assert all(p.grad is None for p in model.specific.parameters())
    assert all(p.grad is not None for p in model.embedder.branch.parameters())


def test_refinement_starts_as_the_plain_model_and_is_deployed(make_batch: MakeBatch) -> None:
    batch = make_batch(height=32, width=16)
    plain, refined = build().eval(), build(mha="refine", heads=4).eval()
    assert refined.embedder.refine is not None
    with torch.no_grad():
        start = refined.embed(batch)["embedding"]
        assert torch.allclose(start, plain.embed(batch)["embedding"], rtol=0, atol=1e-6)
        torch.nn.init.normal_(refined.embedder.refine.output.weight)
        deployed = refined.deployable(Modality.INFRARED)
        assert torch.equal(deployed(batch.images), refined.embed(batch)["embedding"])
        assert not torch.allclose(deployed(batch.images), start, rtol=0, atol=1e-2)


def test_smoothing_of_the_discriminators(make_batch: MakeBatch) -> None:
    batch = make_batch(height=32, width=16)
    output = build()(batch)
    pairs = pair_rows(batch.labels, batch.infrared)
    log_p = pairs.align(output.logits["modality"]).log_softmax(1).double()
    truth = log_p.gather(1, modality_labels(pairs)[:, None]).mean().item()
    for level, spread in (("none", math.inf), ("two_way", 2), ("identities", CLASSES)):
        model = build(label_smoothing=0.1, smooth_discriminators=level)
        rate = 0.0 if level == "none" else 0.1
        expected = -(1 - rate) * truth - rate / spread * log_p.sum(1).mean().item()
        assert model.loss_terms(output, batch)["modality"].item() == pytest.approx(expected, rel=1e-5), level


def test_released_terms_beside_the_paper_s(make_batch: MakeBatch) -> None:
    batch = make_batch(height=32, width=16)
    model = build()
    output = model(batch)
    ours = model.loss_terms(output, batch)
    assert build(pseudo_labels="released").loss_terms(output, batch) == ours  # the batch alternates
    for setting, changed in (({"pseudo_labels": "visible"}, "pseudo_modality"), ({"tgsa_cross": False}, "tgsa_intra")):
        theirs = build(**setting).loss_terms(output, batch)
        assert {name for name in ours if not torch.equal(ours[name], theirs[name])} == {changed}


def test_start_of_the_classifiers() -> None:
    normal, uniform = build().heads["shared"].weight, build(classifier_init="uniform").heads["shared"].weight
    bound = 1 / math.sqrt(normal.shape[1])
    assert normal.std().item() == pytest.approx(0.001, rel=0.2)
    assert uniform.abs().max() <= bound
    assert uniform.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.2)


@pytest.mark.parametrize("mha", get_args(MHAKind))
def test_levels_leave_the_names_of_the_rest_alone(mha: str) -> None:
    own = {"guidance": ("attention.", "necks.guided.", "heads.guided."), "refine": ("embedder.refine.",)}
    added = set(build(mha=mha).state_dict()) - set(build().state_dict())
    assert set(build().state_dict()) <= set(build(mha=mha).state_dict())
    assert all(name.startswith(own.get(mha, ("fork_attention.projection.",))) for name in added)
    assert bool(added) == (mha != "none")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mha": "refine", "heads": 3}, "heads 3 does not divide the attention's 16 channels"),
        ({"mha": "fork", "heads": 3}, "heads 3 does not divide the attention's 64 channels"),
        ({"mha": "guidance", "weights": SPECIFIC_OFF}, "mha=guidance needs the specific branch, but every loss term"),
        ({"mha": "fork", "weights": SPECIFIC_OFF}, r"off; give one of csa1_inter, .*, triplet_specific a weight"),
        ({"mha": "fork", "weights": {"fork_attention": 0}}, "fork_attention at weight 0 does nothing; set mha=none"),
        ({"mha": "guidance", "weights": dict.fromkeys(MHA_WEIGHTS["guidance"], 0)}, "does nothing; set mha=none"),
        ({"mha": "refine", "weights": {"fork_attention": 0.2}}, "'fork_attention' in weights needs mha=fork"),
        ({"weights": {n: 0.0 for n in RELEASED_WEIGHTS if n != "modality"}}, "only modality have a weight: nothing"),
        ({"smooth_discriminators": "identities"}, "needs a label_smoothing above 0"),
        ({"ibn": "a", "pretrained_partial": True}, "pretrained_partial needs ibn=fork"),
        ({"ibn": "frok"}, "did you mean 'fork'"),
        ({"mha": "guide"}, "did you mean 'guidance'"),
        ({"pseudo_labels": "release"}, "did you mean 'released'"),
    ],
)
def test_impossible_combinations_are_refused_with_the_reason(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(**settings)


def test_refinement_needs_no_specific_branch() -> None:
    model = build(mha="refine", weights=SPECIFIC_OFF)
    assert model.specific is None
    assert model.embedder.refine is not None
