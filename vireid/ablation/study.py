"""The study file: a base, factors whose levels are override lists, a design, seeds, and what to measure."""

from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import Field, model_validator

from vireid.ablation.fractions import check_fraction
from vireid.core.config import Strict, parse
from vireid.core.errors import UserError, did_you_mean
from vireid.core.plan import Design
from vireid.core.shipped import shipped

FOLDER = "ablations"


class Measure(Strict):
    """What is measured beside the accuracy of every run."""

    cost: bool = True
    """Parameters and MACs."""
    latency: bool = True
    explain: bool = True
    """Ranked lists with pictures, for the first seed of every cell."""


class Study(Strict):
    """A declarative ablation study; adding one adds no code."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    title: str
    description: str = ""
    base: list[str]
    """Overrides that every cell starts from."""
    factors: dict[str, dict[str, list[str]]]
    """Factor -> level -> overrides; the first level is the baseline."""
    labels: dict[str, str] = {}
    """Factor -> what tables call it."""
    display: dict[str, str] = {}
    """Factor, level or cell -> what tables and figures of a paper call it, such as ``Ours``."""
    columns: list[str] = []
    """Of the one-column LaTeX tables: ``r1``, ``mAP``, ``latency`` and others; by default R1 and mAP."""
    placebo: list[str] = []
    """Factors that change nothing but random draws.

    In a full factorial they are not crossed with the others but ride on the parity of these (aliased with their highest
    interaction), so that a placebo costs no cell.
    """
    random: list[str] = []
    """Factors whose levels are drawn rather than chosen, such as data sets: reports estimate their variance and compare
    no level with another."""
    controls: dict[str, list[str]] = {}
    """Name -> overrides of the baseline; outside the design, e.g. shuffled labels."""
    planted: list[str] = []
    """Controls that really change the score, such as a quarter of the steps: a study that misses them misses others."""
    untrained: str | None = None
    """The control in which nothing is learnt. What pixels alone score can lie above chance; the other controls are held
    to it too, seed by seed."""
    design: Design
    resolution: int = Field(default=5, ge=3, le=5)
    """Fractional factorial only: 3 keeps main effects apart from each other, 4 also from pairs, 5 also pairs from pairs
    (Box and Hunter, Technometrics 1961)."""
    cells: list[dict[str, str]] = []
    """Explicit design only: factor -> level, others at baseline."""
    seeds: list[int] = Field(min_length=1)
    jobs: int = Field(default=1, ge=1)
    """Fits side by side unless --jobs says otherwise; never more than cores."""
    measure: Measure = Measure()
    report: str = "ablation"
    """Template in notebooks/."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        for factor, levels in self.factors.items():
            if len(levels) < 2:
                raise ValueError(f"factor '{factor}' needs a baseline level and at least one other")
        if (self.design == "explicit") != bool(self.cells):
            raise ValueError("'cells' belongs to the design 'explicit', which needs it")
        for cell in self.cells:
            self.check_levels(cell)
        for factor in self.labels:
            if factor not in self.factors:
                raise ValueError(f"labels: unknown factor '{factor}'{did_you_mean(factor, self.factors)}")
        for name in self.planted:
            if name not in self.controls:
                raise ValueError(f"planted: unknown control '{name}'{did_you_mean(name, self.controls)}")
        if self.untrained is not None and self.untrained not in set(self.controls) - set(self.planted):
            known = [name for name in self.controls if name not in self.planted]
            raise ValueError(f"untrained: unknown control '{self.untrained}'{did_you_mean(self.untrained, known)}")
        for factor in self.random:
            if factor not in self.factors:
                raise ValueError(f"random: unknown factor '{factor}'{did_you_mean(factor, self.factors)}")
        for factor in self.placebo:
            if factor not in self.factors:
                raise ValueError(f"placebo: unknown factor '{factor}'{did_you_mean(factor, self.factors)}")
        if self.design == "full_factorial" and self.placebo:
            if len(self.placebo) > 1:
                raise ValueError("placebo: a full factorial carries one placebo without further cells")
            if many := [factor for factor, levels in self.factors.items() if len(levels) != 2]:
                raise ValueError(f"placebo: it rides on factors of two levels, but '{many[0]}' has another number")
        if self.design == "fractional_factorial":
            if many := [factor for factor, levels in self.factors.items() if len(levels) != 2]:
                raise ValueError(
                    f"fractional_factorial is for factors of two levels, but '{many[0]}' has another number"
                )
            check_fraction(len(self.factors), self.resolution)
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds repeat: {self.seeds}")
        return self

    def check_levels(self, cell: dict[str, str]) -> None:
        """Raise ValueError where a cell names a factor or level that the study does not have."""
        for factor, level in cell.items():
            if factor not in self.factors:
                raise ValueError(f"unknown factor '{factor}'{did_you_mean(factor, self.factors)}")
            if level not in self.factors[factor]:
                hint = did_you_mean(level, self.factors[factor])
                raise ValueError(f"factor '{factor}' has no level '{level}'{hint}")

    @property
    def baseline(self) -> dict[str, str]:
        """The first level of every factor."""
        return {factor: next(iter(levels)) for factor, levels in self.factors.items()}


def study_files() -> dict[str, Path]:
    """Studies that are there by name: those of ``ablations/`` in the working folder, then those of the suite."""
    files: dict[str, Path] = {}
    for folder in (Path.cwd() / FOLDER, shipped(FOLDER)):
        for path in sorted(folder.glob("*.yaml")):
            files.setdefault(path.stem, path)
    return files


def find_study(given: str) -> Path:
    """The file of a study that is given as a path, or by the name of a file in ``study_files``.

    Raises:
        UserError: no such study.
    """
    path = Path(given)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        return path
    known = study_files()
    if given not in known:
        raise UserError(f"study '{given}': no such file, nor a study of that name{did_you_mean(given, known)}")
    return known[given]


def read_study(path: Path) -> Study:
    """Read a study file.

    Raises:
        UserError: missing file, bad YAML, unknown key or level; the message names it.
    """
    if not path.is_file():
        near = did_you_mean(path.stem, [p.stem for p in path.parent.glob("*.yaml")]) if path.parent.is_dir() else ""
        raise UserError(f"study {path}: no such file{near}")
    try:
        data: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"study {path}: cannot be read ({error.strerror}); check its permissions") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"study {path}: not YAML: {error}") from error
    if not isinstance(data, dict):
        raise UserError(f"study {path}: expected a mapping with the keys {', '.join(Study.model_fields)}")
    return parse(Study, _levels_as_text(data), f"study {path}")


def level_name(value: Any) -> str:
    """The name of a level as it stands in a file: YAML reads ``on``, ``off`` and ``1`` as booleans and numbers."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def _levels_as_text(data: dict[Any, Any]) -> dict[Any, Any]:
    out = dict(data)
    if isinstance(factors := out.get("factors"), dict):
        out["factors"] = {
            factor: {level_name(level): overrides for level, overrides in levels.items()}
            if isinstance(levels, dict)
            else levels
            for factor, levels in factors.items()
        }
    if isinstance(cells := out.get("cells"), list):
        out["cells"] = [
            {f: level_name(level) for f, level in cell.items()} if isinstance(cell, dict) else cell for cell in cells
        ]
    return out
