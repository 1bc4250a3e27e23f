"""`vireid explain A B --report` and `vireid data report`: from weights and images to pages, by one command each."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.conftest import Shell
from tests.tiny import tiny
from vireid.experiment.context import RunContext
from vireid.experiment.fit import evaluate_step, fit_step
from vireid.store import Store


def test_a_report_on_runs_wants_one_or_two_fits(shell: Shell) -> None:
    for runs, said in ((["0" * 12], "0" * 12), (["a", "b", "c"], "3 runs are given")):
        result = shell.run("explain", *runs)
        assert result.returncode == 2
        assert said in result.stderr


def test_a_dataset_that_is_not_there_is_refused_before_anything_is_written(shell: Shell) -> None:
    for data, said in (("nowhere", "nowhere is not a directory"), ("data=sysu", "data.root is not set")):
        result = shell.run("data", "report", data)
        assert result.returncode == 2
        assert said in result.stderr
    assert not (shell.store / "datasets").exists()


@pytest.mark.check
def test_two_runs_and_their_images_are_shown_by_one_command_each(shell: Shell, rendered: Path) -> None:
    pytest.importorskip("pytorch_grad_cam", reason="needs the extra 'explain'")
    store = Store(shell.store)
    fits = []
    for ibn in ("none", "a"):
        run = RunContext(tiny(f"data.root={rendered}", f"model.ibn={ibn}"), store)
        fits.append(fit_step(run).id)
        evaluate_step(run)
    shown = shell.run("explain", *fits, "--root", str(rendered), "--report").stdout
    page = Path(re.search(r"report: (.+)", shown)[1])
    text = page.read_text()
    assert "Grad-CAM" in text
    assert "fills this section" not in text
    assert str(rendered) not in text
    assert json.loads((page.parents[1] / f"against-{fits[0]}.json").read_text())["protocol"]
    shown = shell.run("data", "report", str(rendered)).stdout
    text = Path(re.search(r"report: (.+)", shown)[1]).read_text()
    assert text.count("<img") == 2
    assert "do not apply to rendered images" in text
