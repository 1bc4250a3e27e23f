"""Curves in TensorBoard's files are those of the fit's record; a tracker that fails costs no training."""

from pathlib import Path

import pytest

from tests.experiment.test_runs import tiny
from vireid.core.errors import UserError
from vireid.experiment.context import RunContext
from vireid.experiment.fit import evaluate_step, fit_step
from vireid.experiment.identity import RunIds
from vireid.overrides import compose
from vireid.store import Store

pytest.importorskip("tensorboard")


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def test_curves_are_those_of_the_record_and_scores_stand_beside(rendered: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = tiny(f"data.root={rendered}", "runtime.tracker=tensorboard", "runtime.title=a study/a cell/seed 1")
    run = RunContext(config, Store(tmp_path))
    record = fit_step(run)
    evaluate_step(run)
    folder = tmp_path / "tensorboard/a study/a cell/seed 1"
    found = curves(folder)
    for name in ("loss", "lr"):
        expected = [(entry["epoch"], pytest.approx(entry[name], rel=1e-6)) for entry in record.curves]
        assert found[name] == expected
    for term in record.curves[0]["terms"]:
        assert len(found[f"terms/{term}"]) == len(record.curves)
    texts = EventAccumulator(str(folder))
    texts.Reload()
    assert {tag.split("/")[0] for tag in texts.Tags()["tensors"]} == {"configuration", "scores"}


def test_a_tracker_is_no_part_of_a_run(rendered: Path) -> None:
    plain, tracked = tiny(f"data.root={rendered}"), tiny(f"data.root={rendered}", "runtime.tracker=tensorboard")
    assert RunIds(plain).fit == RunIds(tracked).fit


def test_epochs_of_an_interrupted_attempt_are_hidden(tmp_path: Path) -> None:
    from vireid.tracking.config import TensorBoardConfig
    from vireid.tracking.tensorboard import TensorBoardTracker

    for first, loss in ((1, 5.0), (2, 3.0)):  # the second attempt takes up after epoch 1
        tracker = TensorBoardTracker(TensorBoardConfig(), tmp_path, {})
        for epoch in (first, first + 1):
            tracker.epoch({"epoch": epoch, "loss": loss})
        tracker.close()
    assert curves(tmp_path)["loss"] == [(1, 5.0), (2, 3.0), (3, 3.0)]


def test_what_it_cannot_write_is_said_once_and_costs_no_training(
    rendered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    occupied = tmp_path / "a file"
    occupied.write_text("in the way")
    settings = f"runtime.tracker={{name: tensorboard, directory: '{occupied}'}}"
    run = RunContext(tiny(f"data.root={rendered}", settings), Store(tmp_path))
    record = fit_step(run)
    assert record.status == "ok"
    said = capsys.readouterr().err
    assert said.count("nothing more is tracked") == 1
    assert "a file" in said


def test_an_unknown_tracker_is_named_before_any_work() -> None:
    with pytest.raises(UserError, match="unknown tracker 'tensorbord'"):
        compose(["runtime.tracker=tensorbord"])
