"""The command line's way to a configuration: choices of group files and single keys, composed by Hydra.

``compose(["model=idkl_small", "recipe.batch_size=32"])`` picks group files from ``vireid/conf`` with Hydra's compose
API, sets single keys in Hydra's grammar (paths and texts as they stand), and validates the whole: unknown groups,
choices, keys and values are named with the nearest valid one.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel

from vireid.config import ExperimentConfig
from vireid.core import plain_tree
from vireid.core.config import parse
from vireid.core.errors import UserError, did_you_mean
from vireid.data import AUGMENTATIONS, DATASETS
from vireid.models import MODELS
from vireid.weighting import CURRICULA, WEIGHTINGS

CONF = Path(__file__).parent / "conf"
_COMPONENTS = {
    "data.dataset": DATASETS,
    "augmentation": AUGMENTATIONS,
    "model": MODELS,
    "weighting": WEIGHTINGS,
    "curriculum": CURRICULA,
}
_HOME = re.compile(r"\$(?:HOME\b|\{HOME\})")


def compose(overrides: Sequence[str] = (), where: str = "command line") -> ExperimentConfig:
    """Compose and validate a configuration from ``key=value`` and ``group=choice`` overrides, later ones winning.

    Raises:
        UserError: what is wrong, where, and the nearest valid name.
    """
    groups, values = _split(overrides, where)
    composed = _compose_groups(tuple(f"{group}={choice}" for group, choice in groups.items()))
    plain = plain_tree.copied(composed)
    if all(plain_tree.put(plain, *_read(text, plain, where)) for text in values):
        whole = plain_tree.resolved(plain)
        if whole is not None:
            return parse(ExperimentConfig, whole, where)
    return parse(ExperimentConfig, _with_values(composed, values, where), where)


def _with_values(composed: dict[str, Any], values: Sequence[str], where: str) -> Any:
    """The composed groups with values set and references resolved, whatever they are."""
    tree = OmegaConf.create(composed)
    try:
        for text in values:
            key, value = _read(text, tree, where)
            OmegaConf.update(tree, key, value, force_add=True, merge=False)
        return OmegaConf.to_container(tree, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(f"{where}: {str(error).splitlines()[0]}") from error


def choices(group: str) -> list[str]:
    """Names of the files in a config group."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def group_names() -> list[str]:
    """Names of the config groups."""
    return sorted(path.name for path in CONF.iterdir() if path.is_dir())


def override_key(override: str) -> str:
    """The key (or group) that an override sets."""
    return override.partition("=")[0].lstrip("+~").strip()


def _split(overrides: Sequence[str], where: str) -> tuple[dict[str, str], list[str]]:
    """Separate choices of config groups from overrides of single keys, which are read once the groups are composed.

    A later ``group=choice`` replaces the whole section, so what earlier overrides set inside it is dropped: the
    last word wins, as it does for single keys.
    """
    groups: dict[str, str] = {}
    values: list[str] = []
    known = group_names()
    for text in overrides:
        if "=" not in text:
            raise UserError(f"{where}: '{text}' is not of the form key=value")
        key = override_key(text)
        if key not in known or isinstance(value := _parsed(text, where)[1], dict):
            values.append(text)
            continue
        if value not in choices(key):
            raise UserError(f"{where}: {key}={value}: unknown choice{did_you_mean(str(value), choices(key))}")
        groups[key] = str(value)
        values = [v for v in values if not override_key(v).startswith(f"{key}.")]
    return groups, values


def _read(text: str, tree: Mapping[str, Any] | DictConfig, where: str) -> tuple[str, Any]:
    """Key and value of an override: in Hydra's grammar, or as it stands where the key holds a path or a text."""
    key, given = override_key(text), text.partition("=")[2]
    types = _types_at(key, tree) if not text.startswith("~") else frozenset()
    if not types & {Path, str} or given in ("", "null"):
        return _parsed(text, where)
    quoted = len(given) > 1 and given[0] == given[-1] and given[0] in "'\""
    value = _parsed(text, where)[1] if quoted or (given.startswith("${") and not _HOME.match(given)) else given
    if Path in types and isinstance(value, str):
        value = _HOME.sub(lambda _: str(Path.home()), value)
        value = str(Path(value).expanduser()) if value.startswith("~") else value
    return key, value


def _parsed(text: str, where: str) -> tuple[str, Any]:
    try:
        override = _override(text)
    except HydraException as error:
        if (parsed := _as_yaml(text)) is not None:
            return override_key(text), parsed
        raise UserError(f"{where}: '{text}': {str(error).splitlines()[0]}") from error
    if override.is_delete() or override.is_sweep_override():
        raise UserError(f"{where}: '{text}': only key=value is understood; sweeps belong into a study's factors")
    return override.key_or_group, override.value()


@lru_cache(maxsize=4096)
def _override(text: str) -> Override:
    """Read in Hydra's grammar; the cells of a study share most of their overrides."""
    return OverridesParser.create().parse_override(text)


def _as_yaml(text: str) -> dict[str, Any] | list[Any] | None:
    """A mapping or list that Hydra's grammar refuses, for a path in it, say; None where it is none in YAML either."""
    try:
        parsed = yaml.safe_load(text.partition("=")[2])
    except yaml.YAMLError:
        return None
    return parsed if isinstance(parsed, dict | list) else None


def _types_at(key: str, tree: Mapping[str, Any] | DictConfig) -> frozenset[Any]:
    """The types that the schema allows at a key; none where it has no such key."""
    schema: Any = ExperimentConfig
    keys = key.split(".")
    types: frozenset[Any] = frozenset()
    for position, part in enumerate(keys):
        field = schema.model_fields.get(part) if schema is not None else None
        if field is None:
            return frozenset()
        types = frozenset(_plain_types(field.annotation))
        here = ".".join(keys[: position + 1])
        schema = next((kind for kind in types if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        if here in _COMPONENTS:
            try:
                schema = _COMPONENTS[here].config(str(plain_tree.select(tree, *here.split("."), "name")))
            except UserError:
                return frozenset()  # it is named when the whole is validated
    return types


def _plain_types(annotation: Any) -> Iterator[Any]:
    inner = get_args(annotation)
    if get_origin(annotation) in (Union, UnionType, Annotated):
        for part in inner:
            yield from _plain_types(part)
    else:
        yield annotation


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
