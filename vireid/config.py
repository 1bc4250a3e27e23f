"""The configuration of a run: one strict schema over the parts that each package declares, composed by Hydra.

``compose(["model=idkl_small", "recipe.batch_size=32"])`` picks group files from ``vireid/conf`` with Hydra's compose
API, sets single keys in Hydra's grammar, and validates the whole: unknown groups, choices, keys and values are named
with the nearest valid one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field, model_validator

from vireid.core.config import Strict, component, parse
from vireid.core.errors import UserError, did_you_mean
from vireid.data import AUGMENTATIONS, DATASETS
from vireid.data.synthetic.config import SyntheticConfig
from vireid.evaluation.protocols import ProtocolConfig
from vireid.models import MODELS
from vireid.profiling.config import ProfileConfig
from vireid.training.config import RecipeConfig
from vireid.weighting import WEIGHTINGS

CONF = Path(__file__).parent / "conf"


class DataConfig(Strict):
    """Which images: a dataset in its own layout, from ``root`` or rendered by the suite."""

    dataset: component(DATASETS)  # type: ignore[valid-type]
    root: Path | None = None  # where it lies; decides nothing and is not part of a run's identity
    synthetic: SyntheticConfig | None = None  # rendered on first use when given
    split: Literal["dev", "test"] = "dev"  # dev: held-out training identities; test: for final numbers only
    height: int = Field(gt=0, description="pixels")
    width: int = Field(gt=0, description="pixels")
    shuffle_identities: bool = False  # control: training labels permuted among images, must end at chance

    @model_validator(mode="after")
    def _layouts_agree(self) -> DataConfig:
        if self.synthetic is not None and self.synthetic.layout != self.dataset.name:
            raise ValueError(f"data.synthetic.layout is '{self.synthetic.layout}' but dataset is '{self.dataset.name}'")
        return self


class EvaluationConfig(Strict):
    """Protocols to evaluate a fit under; each gives a record of its own."""

    protocols: list[ProtocolConfig] = Field(min_length=1)


class RuntimeConfig(Strict):
    """How a run is carried out. Decides no result: none of it is part of a run's identity."""

    device: str = "auto"  # auto, cpu, cuda, cuda:1 …
    threads: int | None = Field(default=None, ge=1, description="CPU threads; all cores when null")
    workers: int | None = Field(default=None, ge=1, description="processes that render and threads that decode")


class ExperimentConfig(Strict):
    """Everything that a run needs to know."""

    seed: int = Field(default=0, ge=0)
    data: DataConfig
    augmentation: component(AUGMENTATIONS)  # type: ignore[valid-type]
    model: component(MODELS)  # type: ignore[valid-type]
    weighting: component(WEIGHTINGS)  # type: ignore[valid-type]
    recipe: RecipeConfig
    evaluation: EvaluationConfig
    profile: ProfileConfig = ProfileConfig()
    runtime: RuntimeConfig = RuntimeConfig()

    @model_validator(mode="after")
    def _dev_curves_need_dev(self) -> ExperimentConfig:
        if self.recipe.evaluate_every and self.data.split != "dev":
            raise ValueError(
                "recipe.evaluate_every needs data.split=dev: with split=test the dev identities are trained on, and "
                "test identities are for the final number"
            )
        return self


def compose(overrides: Sequence[str] = (), place: str = "command line") -> ExperimentConfig:
    """Compose and validate a configuration from ``key=value`` and ``group=choice`` overrides, later ones winning.

    Raises:
        UserError: what is wrong, where, and the nearest valid name.
    """
    groups, values = _split(overrides, place)
    tree = OmegaConf.create(_compose_groups(tuple(f"{group}={choice}" for group, choice in groups.items())))
    try:
        for value in values:
            OmegaConf.update(tree, value.key_or_group, value.value(), force_add=True, merge=False)
        resolved = OmegaConf.to_container(tree, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(f"{place}: {str(error).splitlines()[0]}") from error
    return parse(ExperimentConfig, resolved, place)


def choices(group: str) -> list[str]:
    """Names of the files in a config group."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def group_names() -> list[str]:
    """Names of the config groups."""
    return sorted(path.name for path in CONF.iterdir() if path.is_dir())


def override_key(override: str) -> str:
    """The key (or group) that an override sets."""
    return override.partition("=")[0].lstrip("+~").strip()


def _split(overrides: Sequence[str], place: str) -> tuple[dict[str, str], list[Override]]:
    """Separate choices of config groups from values of single keys, and check both.

    A later ``group=choice`` replaces the whole section, so what earlier overrides set inside it is dropped: the
    last word wins, as it does for single keys.
    """
    groups: dict[str, str] = {}
    values: list[Override] = []
    known = group_names()
    for text in overrides:
        if "=" not in text:
            raise UserError(f"{place}: '{text}' is not of the form key=value")
        try:
            override = OverridesParser.create().parse_override(text)
        except HydraException as error:
            raise UserError(f"{place}: '{text}': {str(error).splitlines()[0]}") from error
        if override.is_delete() or override.is_sweep_override():
            raise UserError(f"{place}: '{text}': only key=value is understood; sweeps belong into a study's factors")
        key, value = override.key_or_group, override.value()
        if key not in known or isinstance(value, dict):
            values.append(override)
            continue
        if value not in choices(key):
            raise UserError(f"{place}: {key}={value}: unknown choice{did_you_mean(str(value), choices(key))}")
        groups[key] = str(value)
        values = [v for v in values if not v.key_or_group.startswith(f"{key}.")]
    return groups, values


@lru_cache(maxsize=256)
def _compose_groups(groups: tuple[str, ...]) -> dict[str, Any]:
    with initialize_config_dir(version_base=None, config_dir=str(CONF)):
        try:
            tree = hydra_compose("config", overrides=list(groups))
        except HydraException as error:
            raise UserError(f"configuration {' '.join(groups)}: {error}") from error
    plain = OmegaConf.to_container(tree, resolve=False)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
