"""The configuration of a run: one strict schema over the parts that each package declares (``vireid.overrides``
composes one from choices and keys).
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from vireid.core.config import Strict, component
from vireid.core.errors import UserError
from vireid.core.seeding import key_to_int
from vireid.data import AUGMENTATIONS, DATASETS
from vireid.data.captions import CaptionConfig
from vireid.data.synthetic.config import SyntheticConfig
from vireid.evaluation.protocols import each_of_both
from vireid.evaluation.test_time import MAP_WEIGHTS, ModelProtocol
from vireid.models import MODELS
from vireid.models.base import declared
from vireid.profiling import RUNTIMES
from vireid.profiling.config import ProfileConfig
from vireid.runtime import RuntimeConfig
from vireid.training.config import RecipeConfig
from vireid.weighting import CURRICULA, WEIGHTINGS
from vireid.weighting.patterns import fitting


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

    protocols: Annotated[list[ModelProtocol], BeforeValidator(each_of_both)] = Field(min_length=1)
    """``direction: both`` and, of a gallery of both modalities, ``matches: both`` stand for two protocols."""
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
        if self.imported is not None:
            return self  # its weights are met with images as they are
        needed = MODELS.declared(self.model.name, "visible_views", 1)
        given = getattr(self.augmentation, "visible_views", 1)
        if given < needed:
            raise ValueError(
                f"model '{self.model.name}' needs {needed} augmented views of every visible image, augmentation "
                f"'{self.augmentation.name}' gives {given}: use augmentation=tskd or tvi_lfm, or augmentation=full "
                f"with augmentation.visible_views={needed}"
            )
        return self
