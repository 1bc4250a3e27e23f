"""Which images a protocol corrupts, and that a protocol without decides what it did."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from vireid.core.config import deciding, parse
from vireid.core.corruption import CORRUPTIONS, OF_COLOUR
from vireid.core.errors import UserError
from vireid.core.protocol_card import ProtocolCard
from vireid.core.types import Modality
from vireid.data.corruptions import _KINDS
from vireid.evaluation.corruption import Corruption, Where
from vireid.evaluation.protocols import ProtocolConfig, card
from vireid.evaluation.test_time import ModelProtocol
from vireid.experiment.identity import RunIds
from vireid.overrides import compose

VISIBLE, INFRARED = (Modality.VISIBLE,), (Modality.INFRARED,)


def protocol(**settings: Any) -> ModelProtocol:
    return parse(ModelProtocol, {"name": "sysu/official", **settings}, "test")


def test_there_are_twenty_kinds_with_five_severities_each() -> None:
    assert len(CORRUPTIONS) == 20
    assert tuple(_KINDS) == CORRUPTIONS
    assert {len(constants) for _, constants in _KINDS.values()} == {5}
    assert set(CORRUPTIONS) >= OF_COLOUR


@pytest.mark.parametrize(
    ("settings", "query", "gallery"),
    [
        ({"name": "sysu/official"}, INFRARED, VISIBLE),
        ({"name": "regdb/10split", "direction": "v2t"}, VISIBLE, INFRARED),
        ({"name": "regdb/10split", "direction": "t2v"}, INFRARED, VISIBLE),
        ({"name": "llcm/sampled", "direction": "v2i"}, VISIBLE, INFRARED),
        ({"name": "llcm/deen-released", "direction": "v2i"}, INFRARED, VISIBLE),  # query and gallery change places
    ],
)
def test_sides_are_those_that_are_ranked(settings: dict[str, Any], query: Any, gallery: Any) -> None:
    for where, modalities in (("query", query), ("gallery", gallery), ("both", (*query, *gallery))):
        made = protocol(**settings, corruption={"where": where})
        assert made.corruption is not None
        assert made.corruption.modalities(made) == modalities
    assert get_args(Where) == ("query", "gallery", "both")


def test_a_protocol_without_decides_what_it_did() -> None:
    given = {"name": "sysu/official", "mode": "indoor"}
    plain = protocol(**given)
    assert deciding(plain) == deciding(parse(ProtocolConfig, given, "test"))
    assert deciding(protocol(**given, corruption={"where": "both"}))["corruption"] == {"where": "both"}
    ids = RunIds(compose(["data=sysu_quick", "model=idkl_small", "recipe=smoke"]))
    corrupted = [protocol(**given, corruption={"where": "both", "seed": seed}) for seed in range(3)]
    assert len({ids.evaluation(p) for p in [plain, *corrupted]}) == 4
    assert ids.evaluation(plain) == ids.evaluation(parse(ProtocolConfig, given, "test"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"corruption": {"where": "galery"}}, "did you mean 'gallery'"),
        ({"corruption": {"where": "gallery", "kind": "hail"}}, "'gaussian_noise'"),
        ({"corruption": {"where": "gallery", "kind": "defocus"}}, "did you mean 'defocus_blur'"),
        ({"corruption": {"where": "gallery", "severity": 6}}, "less than or equal to 5"),
        ({"corruption": {"seed": 1}}, "corruption.where"),
        ({"corruption": {"where": "query", "kind": "saturate"}}, "infrared images, which have none"),
        ({"corruption": {"where": "gallery"}, "text": "query"}, "of images alone"),
    ],
)
def test_impossible_corruptions_are_named_in_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        protocol(**settings)
    assert "\n" not in str(raised.value)


def test_colours_of_visible_images_may_change() -> None:
    assert protocol(corruption={"where": "gallery", "kind": "saturate"}).corruption is not None


def test_a_learning_curve_is_of_images_as_they_are() -> None:
    first = "evaluation.protocols=[{name: sysu/official, corruption: {where: gallery}}]"
    with pytest.raises(UserError, match="put one without before it"):
        compose(["data=sysu_quick", "model=idkl_small", "recipe=smoke", first, "recipe.evaluate_every=1"])


def test_cards_and_titles_tell_corrupted_scores_apart() -> None:
    clean = card(protocol())
    corrupted = [
        Corruption(where="gallery"),
        Corruption(where="query"),
        Corruption(where="gallery", seed=1),
        Corruption(where="gallery", kind="rain", severity=2),
    ]
    cards = [ProtocolCard.model_validate(clean | {"corruption": each.card_entry}) for each in corrupted]
    plain = ProtocolCard.model_validate(clean)
    assert plain.corruption_label == ""
    assert [each.reads_one_image for each in [plain, *cards]] == [True, False, False, False, False]
    assert len({each.key for each in [plain, *cards]}) == 5, "never in one table row"
    assert len({each.title for each in [plain, *cards]}) == 5
    assert cards[0].title == f"{plain.title} · corrupted gallery, seed 0"
    assert cards[3].corruption_label == "corrupted gallery, kind rain, severity 2, seed 0"
    both = ProtocolCard.model_validate({"corruption": {**Corruption(where="both").card_entry, "version": "2"}})
    assert both.corruption_label == "corrupted query and gallery, seed 0, version 2"
