"""The configuration of a run: one strict schema over the parts that each package declares, composed by Hydra.

``compose(["model=idkl_small", "recipe.batch_size=32"])`` picks group files from ``vireid/conf`` with Hydra's compose
API, sets single keys in Hydra's grammar (paths and texts as they stand), and validates the whole: unknown groups,
choices, keys and values are named with the nearest valid one.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, Field, field_validator, model_validator

from vireid.core import plain_tree
from vireid.core.config import Strict, component, parse
from vireid.core.errors import UserError, did_you_mean
from vireid.core.seeding import key_to_int
from vireid.data import AUGMENTATIONS, DATASETS
from vireid.data.captions import CaptionConfig
from vireid.data.synthetic.config import SyntheticConfig
from vireid.evaluation.test_time import MAP_WEIGHTS, ModelProtocol
from vireid.models import MODELS
from vireid.models.base import declared
from vireid.profiling import RUNTIMES
from vireid.profiling.config import ProfileConfig
from vireid.runtime import RuntimeConfig
from vireid.training.config import RecipeConfig
from vireid.weighting import CURRICULA, WEIGHTINGS
from vireid.weighting.patterns import fitting

CONF = Path(__file__).parent / "conf"
_COMPONENTS = {
    "data.dataset": DATASETS,
    "augmentation": AUGMENTATIONS,
    "model": MODELS,
    "weighting": WEIGHTINGS,
    "curriculum": CURRICULA,
}
_HOME = re.compile(r"\$(?:HOME\b|\{HOME\})")


class DataConfig(Strict):
    """Which images: a dataset in its own layout, from ``root`` or rendered by the suite."""

    dataset: component(DATASETS)  # type: ignore[valid-type]
    root: Path | None = None
    """Where it lies; decides nothing and is not part of a run's identity."""
    synthetic: SyntheticConfig | None = None
    """Rendered on first use when given."""
    split: Literal["dev", "test"] = "dev"
    """``dev``: held-out training identities; test: for final numbers only."""
    height: int = Field(gt=0, description="pixels")
    width: int = Field(gt=0, description="pixels")
    training_modalities: Literal["both", "visible"] = "both"
    """What training sees. A trunk learns to tell people apart in visible images alone, as ImageNet weights do."""
    hold_out_dev: bool = False
    """With ``split=test``: keep the dev identities out of training, so that its curve can be followed on them."""
    shuffle_identities: bool | Literal["every_epoch"] = False
    """A control: training labels permuted among images, once (a network can still learn them by heart, and that
    teaches it pictures) or anew in every epoch, so that there is nothing to learn: must end at chance."""
    captions: CaptionConfig | None = None
    """From the Text/ folder beside the images, for models that read text."""

    @model_validator(mode="after")
    def _layouts_agree(self) -> Self:
        if self.synthetic is not None and self.synthetic.layout != self.dataset.name:
            raise ValueError(f"data.synthetic.layout is '{self.synthetic.layout}' but dataset is '{self.dataset.name}'")
        return self


class GateLimits(Strict):
    """How far a deployed file may be from the trained model on the evaluation images."""

    cosine_distance: float = Field(ge=0, le=2, description="largest of any query")
    rank1: float = Field(ge=0, le=1, description="least share of queries with the same nearest gallery image")
    mAP: float = Field(ge=0, le=1, description="largest loss, a fraction")  # noqa: N815 - as the field writes it


class GateConfig(Strict):
    """Limits of each precision. A file that misses one is not written, unless it is forced."""

    fp32: GateLimits = GateLimits(cosine_distance=1e-4, rank1=0.99, mAP=0.002)
    bf16: GateLimits = GateLimits(cosine_distance=0.02, rank1=0.9, mAP=0.02)
    int8: GateLimits = GateLimits(cosine_distance=0.15, rank1=0.7, mAP=0.05)


class EvaluationConfig(Strict):
    """Protocols to evaluate a fit under; each gives a record of its own."""

    protocols: list[ModelProtocol] = Field(min_length=1)
    deployed: list[component(RUNTIMES)] = []  # type: ignore[valid-type]
    """Runtimes (as in profile.runtimes) whose file of the fit is evaluated too, as it would be deployed: the accuracy
    of another precision, such as {name: openvino, precision: int8}."""
    gate: GateConfig = GateConfig()
    """What files must reach before ``vireid export`` and ``vireid quantise`` write them."""


class ImportedConfig(Strict):
    """Weights that were trained elsewhere and stand in place of training: by public code, as ``vireid import`` reads
    them, or by the suite on other images, which ``vireid transfer`` meets with these.
    """

    arch: str | None = None
    """Name of the importer that read them; None for a fit's."""
    run: str | None = Field(default=None, pattern=r"^[0-9a-f]{12}$", description="the fit whose weights they are")
    weights: str = Field(pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of the tensors as the suite names them: the same however their file wrapped them."""

    @model_validator(mode="after")
    def _comes_from_one_place(self) -> Self:
        if (self.arch is None) == (self.run is None):
            raise ValueError("imported weights are of an architecture ('arch') or of a fit ('run'): give one of them")
        return self


class ExperimentConfig(Strict):
    """Everything that a run needs to know."""

    seed: int = Field(default=0, ge=0)
    stream: int = Field(default=0, ge=0, description="another draw of all that is random but rendered data: a placebo")
    data: DataConfig
    augmentation: component(AUGMENTATIONS)  # type: ignore[valid-type]
    model: component(MODELS)  # type: ignore[valid-type]
    weighting: component(WEIGHTINGS)  # type: ignore[valid-type]
    curriculum: component(CURRICULA) = Field(default={"name": "off"})  # type: ignore[valid-type]
    recipe: RecipeConfig
    start_from: str | None = Field(default=None, pattern=r"^[0-9a-f]{12}$")
    """Id of a finished fit on the same images (the resolution is free) whose weights training begins with: all where it
    is of the same model; its ResNet, neck and identity classifier where it is of another."""
    imported: ImportedConfig | None = None
    """Weights in place of training: recipe, augmentation, weighting and curriculum then decide nothing."""
    evaluation: EvaluationConfig
    profile: ProfileConfig = ProfileConfig()
    runtime: RuntimeConfig = RuntimeConfig()

    @property
    def training_seed(self) -> int:
        """Keys initial weights, batches, augmentation and dropout; rendered data follow ``seed`` alone."""
        return self.seed if self.stream == 0 else key_to_int(self.seed, "stream", self.stream) % 2**31

    @field_validator("start_from", mode="before")
    @classmethod
    def _is_text(cls, value: Any) -> Any:
        if isinstance(value, int | float):
            raise ValueError("a run's id of digits was read as a number: quote it, start_from=\"'…'\"")
        return value

    @model_validator(mode="after")
    def _dev_curves_need_dev(self) -> Self:
        if self.data.hold_out_dev and self.data.split != "test":
            raise ValueError("data.hold_out_dev is for data.split=test; with split=dev they are held out anyway")
        if self.recipe.evaluate_every and self.data.split != "dev" and not self.data.hold_out_dev:
            raise ValueError(
                "recipe.evaluate_every needs data.split=dev, or data.hold_out_dev=true: with split=test the dev "
                "identities are trained on, and test identities are for the final number"
            )
        return self

    @model_validator(mode="after")
    def _processes_share_the_batch(self) -> Self:
        if self.imported is None:
            self.runtime.check_shares(self.recipe.identities, reads_text=self.data.captions is not None)
        return self

    @model_validator(mode="after")
    def _protocols_fit_the_split(self) -> Self:
        split = getattr(self.data.dataset, "split", 1)
        if split != 1 and any(protocol.name == "regdb/split1" for protocol in self.evaluation.protocols):
            raise ValueError(
                f"regdb/split1 is the first of RegDB's splits, not split {split}: set data.dataset.split=1, or "
                "evaluate under regdb/10split"
            )
        return self

    @model_validator(mode="after")
    def _weighting_fits_model(self) -> Self:
        for method in WEIGHTINGS.declared(self.weighting.name, "model_methods", ()):
            if not MODELS.has_method(self.model.name, method):
                raise ValueError(
                    f"weighting '{self.weighting.name}' needs a model with the method {method}(), which "
                    f"'{self.model.name}' lacks; use another weighting, or give the model that method"
                )
        active_weights = declared(self.model).active_weights
        if active_weights is None:
            return self  # its terms are known once it is built; the patterns are checked then
        terms = active_weights()
        try:
            fitting(getattr(self.weighting, "adapt", []), terms, "weighting.adapt", every=True)
            fitting(getattr(self.curriculum, "terms", []), terms, "curriculum.terms", every=False)
        except UserError as error:
            raise ValueError(str(error)) from error
        return self

    @model_validator(mode="after")
    def _text_is_there(self) -> Self:
        reads = declared(self.model).uses_text
        if reads and self.data.captions is None:
            raise ValueError(
                f"model '{self.model.name}' reads text: set data.captions={{captioner: Blip}}, which reads the Text/ "
                "folder beside the images, or model.fusion=none"
            )
        for position, protocol in enumerate(self.evaluation.protocols):
            if protocol.text != "none" and not reads:
                raise ValueError(
                    f"evaluation.protocols.{position} has text={protocol.text}, but model '{self.model.name}' reads "
                    "none as it is configured: set text=none"
                )
        if self.recipe.evaluate_every and self.evaluation.protocols[0].text != "none":
            raise ValueError(
                "recipe.evaluate_every follows the first of evaluation.protocols with images alone, and that one has "
                "text: put one with text=none before it"
            )
        return self

    @model_validator(mode="after")
    def _test_time_fits_the_model(self) -> Self:
        maps = MODELS.declared(self.model.name, "embedding_maps", ())
        for position, protocol in enumerate(self.evaluation.protocols):
            if protocol.test_time == "flip-weighted" and not maps:
                raise ValueError(
                    f"evaluation.protocols.{position} has test_time=flip-weighted, but the embedding of model "
                    f"'{self.model.name}' is one feature, not several ({', '.join(MAP_WEIGHTS)}): use flip"
                )
        if self.recipe.evaluate_every and self.evaluation.protocols[0].test_time != "none":
            raise ValueError(
                "recipe.evaluate_every follows the first of evaluation.protocols without mirror images, and that one "
                "has test_time: put one with test_time=none before it"
            )
        if self.recipe.evaluate_every and self.evaluation.protocols[0].corruption is not None:
            raise ValueError(
                "recipe.evaluate_every follows the first of evaluation.protocols on images as they are, and that one "
                "has corruption: put one without before it"
            )
        return self

    @model_validator(mode="after")
    def _augmentation_gives_the_views(self) -> Self:
        needed = MODELS.declared(self.model.name, "visible_views", 1)
        given = getattr(self.augmentation, "visible_views", 1)
        if given < needed:
            raise ValueError(
                f"model '{self.model.name}' needs {needed} augmented views of every visible image, augmentation "
                f"'{self.augmentation.name}' gives {given}: use augmentation=tskd or tvi_lfm, or augmentation=full "
                f"with augmentation.visible_views={needed}"
            )
        return self


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
