"""What a run's steps share is worked out once."""

from pathlib import Path

import pytest

from tests.tiny import tiny
from vireid.core.errors import UserError
from vireid.experiment import identity
from vireid.experiment.context import RunContext
from vireid.experiment.identity import RunIds
from vireid.store import Store

TEACHER = "model.teacher={training: ['model=idkl_small', 'model.width=0.125', 'recipe=smoke'], height: 64, width: 32}"


def test_a_teacher_is_composed_once_for_all_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    composed = []
    compose = identity.teacher_training

    def counted(config):
        composed.append(config)
        return compose(config)

    monkeypatch.setattr(identity, "teacher_training", counted)
    config = tiny("model=compact_small", TEACHER, "model.teacher_features=64")
    ids = RunIds(config)
    assert ids.teacher == RunIds(tiny("data.height=64", "data.width=32")).fit
    once = len(composed)
    evaluations = {ids.evaluation(protocol) for protocol in config.evaluation.protocols}
    assert len(evaluations) == len(config.evaluation.protocols)
    assert ids.fit_specification()["model"]["teacher"]["run"] == ids.teacher
    assert ids.fit != ids.cost
    assert len(composed) == once


def test_images_are_found_once_and_a_fit_when_it_is_there(rendered: Path, tmp_path: Path) -> None:
    run = RunContext(tiny(f"data.root={rendered}"), Store(tmp_path))
    assert run.data is run.data
    assert run.directory == tmp_path / "runs" / run.ids.fit
    with pytest.raises(UserError, match=f"run {run.ids.fit} has not been trained"):
        _ = run.fit
