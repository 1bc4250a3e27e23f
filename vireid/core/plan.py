"""The plan of a study: which cells it has and the ids of the records that fill them. Reports start from it."""

from typing import Any, Literal, Self

from pydantic import model_validator

from vireid.core.config import Strict

Design = Literal["cumulative", "leave_one_out", "one_at_a_time", "full_factorial", "fractional_factorial", "explicit"]


class Cell(Strict):
    """One configuration of a study: a level for every factor."""

    name: str
    """Unique in the study; made of the levels that differ from the baseline."""
    label: str
    """As tables print it."""
    factors: dict[str, str]
    """Factor -> level."""
    baseline: bool = False
    control: str | None = None
    """Name of a control: a check on the study itself, outside its design and effects."""


class PlannedRun(Strict):
    """One cell at one seed, and the ids of its records."""

    cell: str
    seed: int
    overrides: list[str]
    """On top of the study's base."""
    fit: str
    evaluations: list[str]
    cost: str
    deployed: list[str] = []
    """Evaluations of the fit's files in other runtimes and precisions."""


class Plan(Strict):
    """Cells × seeds with ids; written as ``studies/<name>/plan.json``."""

    schema_version: Literal[1] = 1
    name: str
    title: str
    description: str = ""
    design: Design
    factors: dict[str, list[str]]
    """Factor -> levels, baseline level first."""
    seeds: list[int]
    cells: list[Cell]
    runs: list[PlannedRun]
    placebo: list[str] = []
    """Factors that change nothing but random draws: their effects should contain zero."""
    random: list[str] = []
    """Factors whose levels are drawn rather than chosen: no level is compared with another."""
    planted: list[str] = []
    """Names of controls that really change the score."""
    untrained: str | None = None
    """Name of the control in which nothing is learnt."""
    aliases: list[str] = []
    """Of a fraction of a factorial: which effects it cannot tell apart, one group a line."""
    study: dict[str, Any]
    """The study file as read."""

    @property
    def decisive(self) -> frozenset[str]:
        """Ids of the records that its runs rest on: fits, their costs, evaluations of the models themselves."""
        return frozenset(name for run in self.runs for name in (run.fit, run.cost, *run.evaluations))

    @model_validator(mode="after")
    def _runs_are_of_its_cells(self) -> Self:
        known = {cell.name for cell in self.cells}
        if stray := [run.cell for run in self.runs if run.cell not in known]:
            raise ValueError(f"a run is of the cell '{stray[0]}', which is not among the cells")
        return self
