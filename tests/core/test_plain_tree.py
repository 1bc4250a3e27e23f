"""Configurations composed as plain mappings are those that OmegaConf composes, for all committed studies and more."""

import pytest

from vireid.ablation.plan import make_plan
from vireid.ablation.study import read_study, study_files
from vireid.core import plain_tree
from vireid.core.errors import UserError
from vireid.overrides import compose


@pytest.mark.parametrize("name", ["optimized_idkl", "tvi_lfm", "smoke"])
def test_a_study_is_planned_as_by_omegaconf(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    study = read_study(study_files()[name])
    plan, configs = make_plan(study, seeds=study.seeds[:1])
    monkeypatch.setattr(plain_tree, "put", lambda *_: False)
    assert make_plan(study, seeds=study.seeds[:1]) == (plan, configs)


@pytest.mark.parametrize(
    "overrides",
    [
        ["seed=7", "data=sysu_synthetic"],
        ["data=sysu_synthetic", "data.synthetic.seed=${seed}", "seed=3"],
        ["runtime.threads=null", "recipe.schedule={name: constant}"],
        ["recipe.epochs='12'", "model=idkl_small"],
        ["data.synthetic.seed=${nowhere}", "data=sysu_quick"],
        ["recipe.optimiser.speed=1"],
        ["evaluation.protocols.0.text=none"],
        ["model.teacher.run=abc"],
    ],
)
def test_overrides_mean_what_they_mean_to_omegaconf(overrides: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def composed() -> object:
        try:
            return compose(overrides)
        except UserError as error:
            return str(error)

    plain = composed()
    monkeypatch.setattr(plain_tree, "put", lambda *_: False)
    assert composed() == plain


def test_what_is_not_plain_is_left_alone() -> None:
    tree = {"a": {"b": [1]}, "c": "${a.b}", "d": None}
    assert plain_tree.put(plain_tree.copied(tree), "a.b", [2])
    assert not plain_tree.put(tree, "d.e", 1)
    assert not plain_tree.put(tree, "a.b[0]", 1)
    assert not plain_tree.put(tree, "a.b", {"c": 1})
    assert tree == {"a": {"b": [1]}, "c": "${a.b}", "d": None}
    assert plain_tree.resolved(tree) is None
    assert plain_tree.resolved({"a": 1, "b": ["${a}"]}) == {"a": 1, "b": [1]}
    assert plain_tree.resolved({"b": "${oc.env:HOME}"}) is None
