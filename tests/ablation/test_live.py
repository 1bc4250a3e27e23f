"""The table of a running study: who runs, who failed, who comes next, in any terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from vireid.ablation.live import Row, StudyTable, study_display
from vireid.experiment.progress import Lines


def table_of(cells: int, *, width: int = 80, height: int = 24) -> StudyTable:
    rows = [
        Row(f"cell {n} of {cells}", f"{n} IBN=fork, augmentation=full, weighting=gradnorm", "101")
        for n in range(1, cells + 1)
    ]
    return StudyTable(Console(file=io.StringIO(), force_terminal=True, width=width, height=height), rows)


def shown(table: StudyTable) -> list[str]:
    stream = io.StringIO()
    console = Console(file=stream, width=table._console.width, height=table._console.height)
    console.print(table.drawn())
    return stream.getvalue().splitlines()


def test_a_terminal_gets_the_table_and_a_pipe_lines() -> None:
    assert isinstance(study_display(Console(file=io.StringIO(), force_terminal=True), []), StudyTable)
    assert isinstance(study_display(Console(file=io.StringIO()), []), Lines)


def test_running_cells_stand_first_with_epoch_and_loss_and_failed_ones_before_those_that_wait() -> None:
    table = table_of(5)
    table.overall("quick", 2, 10, lambda: 200.0)
    failing = table.job("cell 2 of 5")
    failing("train", 1, 100, "epoch 1/50, loss nan")
    failing.close(failed=True)
    table.job("cell 4 of 5")("train", 50, 100, "epoch 25/50, loss 6.91")
    lines = shown(table)
    assert lines[0].startswith("study quick")
    assert "2/10" in lines[0]
    assert "3:20 min left" in lines[0]
    assert lines[1].split() == ["cell", "seed", "state", "at", "left"]
    assert lines[2].startswith("4 ")
    assert lines[2].split()[-5:] == ["train", "epoch", "25/50,", "loss", "6.91"]
    assert "failed" in lines[3]
    assert lines[3].startswith("2 ")
    assert [line.split()[-1] for line in lines[4:]] == ["waiting"] * 3


def test_a_cell_is_done_once_it_is_trained_and_profiled() -> None:
    table = table_of(3)
    for title in ("cell 1 of 3", "cell 2 of 3", "cell 1 of 3"):
        job = table.job(title)
        job("train", 1, 1)
        job.close()
    assert shown(table)[-1] == "… 1 trained, 1 done"


def test_work_of_no_cell_has_a_row_while_it_lasts() -> None:
    table = table_of(1)
    job = table.job()
    assert any("starting" in line for line in shown(table))
    job("render images", 5, 9)
    assert any("render images" in line and "5/9" in line for line in shown(table))
    job.close()
    assert not any("render" in line for line in shown(table))


@pytest.mark.parametrize(("width", "height"), [(80, 24), (60, 10), (200, 50), (40, 5)])
def test_any_terminal_holds_it(width: int, height: int) -> None:
    table = table_of(114, width=width, height=height)
    table.overall("optimized_idkl", 0, 228, lambda: None)
    for n in (7, 9):
        table.job(f"cell {n} of 114")("train", 5, 1200, "epoch 1/50, loss 12.04")
    lines = shown(table)
    assert len(lines) <= max(height, 3 + 3)
    assert max(map(len, lines)) <= width
    assert "waiting" in lines[-1]
    assert sum("loss 12.04" in line for line in lines) == 2 or width < 60
