"""What a model says of itself, with the default of everything that it need not say. Imports no torch.

Plans, tables and checks ask a model's configuration, which is to be had without the network; training, cost tables and
deployment ask the network. Both bases stand here, so that a new model overrides what differs and nothing else is asked
of it. A user's own model need not derive from either: whatever it leaves out has the same defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, cast

from pydantic import Field, field_validator, model_validator

from vireid.core.config import Component, Strict
from vireid.core.errors import did_you_mean
from vireid.models.trunk import Depth, TrunkSpec, pretrained_file

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vireid.core.types import Batch, Modality

    _Module = nn.Module
else:
    _Module = object


class TeacherConfig(Strict):
    """Which trained model teaches, named in one of three ways, and what it is shown.

    A run's identity holds the teacher's fit id or the digest of its files, never where they lie.
    """

    run: str | None = Field(default=None, pattern=r"^[0-9a-f]{12}$")
    """Id of a finished fit in the store."""
    training: list[str] | None = Field(default=None, min_length=1)
    """Overrides that choose the teacher's model and what else it does not share with its student, such as [model=idkl,
    recipe=idkl]: the fit of these in the store, on the student's images."""
    file: Path | None = None
    """Directory that `vireid import --output` wrote."""
    digest: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Of that; checked when given."""
    height: int | None = Field(default=None, gt=0)
    """Pixels of the images that the teacher was trained at.

    A run's record says it; `training` takes the student's where it is not given; a file does not say, and needs it
    unless input=student.
    """
    width: int | None = Field(default=None, gt=0)
    input: Literal["own", "student"] = "own"
    """``own``: the student's batch is resized (bilinear) to what the teacher was trained at; ``student``: as it is."""

    @field_validator("run", mode="before")
    @classmethod
    def _is_text(cls, value: Any) -> Any:
        if isinstance(value, int | float):
            raise ValueError("a run's id of digits was read as a number: quote it, {run: '…'}")
        return value

    @model_validator(mode="after")
    def _one_teacher(self) -> Self:
        given = [name for name in ("run", "training", "file") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"a teacher is named by one of run, training and file; given: {', '.join(given) or 'none'}"
            )
        if self.digest is not None and self.file is None:
            raise ValueError("digest belongs to file")
        if (self.height is None) != (self.width is None):
            raise ValueError("height and width go together")
        if self.run is not None and self.height is not None:
            raise ValueError("height and width of a run are those in its record; leave them out, or set input=student")
        if self.file is not None and (self.height is None) == (self.input == "own"):
            raise ValueError("a file needs the height and width that its model was trained at, or input=student")
        return self


ParameterRole = Literal["deployed", "training_only", "dead"]
SharedWeights = Mapping[str, tuple[str, ...]]


class ModelConfig(Component):
    """Configuration of a model of the suite."""

    version: ClassVar[str]
    """Enters the identity of runs; raised when a change alters results."""
    term_weights: ClassVar[dict[str, float]]
    """Every loss term with the method's own weight."""
    visible_views: ClassVar[int] = 1
    """Augmented views of every visible image that training needs."""
    shared_weights: ClassVar[SharedWeights] = {}
    """Which modules play which part (``stem``, ``branch``, ``neck``, ``identity``: the linear layer from embeddings to
    identity logits), for each the deployed branch's first, then those that begin as copies of it. What another method
    may begin with."""
    identity_head: ClassVar[str | None] = None
    """The linear layer from the embedding to identity logits; a model that names none cannot teach."""

    weights: dict[str, float] = {}
    """Replaces single weights of the loss terms; 0 switches a term and its parts off."""

    @model_validator(mode="after")
    def _weights_are_possible(self) -> Self:
        valid = self.possible_weights()
        for term, weight in self.weights.items():
            if term not in valid:
                raise ValueError(f"unknown loss term '{term}' in weights{self.hint(term)}")
            if weight < 0:
                raise ValueError(f"the weight of '{term}' is {weight}; weights are not negative")
        if not self.active_weights():
            raise ValueError("every loss weight is 0: nothing would be trained")
        return self

    def possible_weights(self) -> dict[str, float]:
        """Every loss term that this configuration may have, with the method's own weight."""
        return self.term_weights

    def hint(self, term: str) -> str:
        """What a message adds about a loss term that is none of this configuration's."""
        return did_you_mean(term, self.possible_weights())

    def active_weights(self) -> dict[str, float]:
        """Weight of every loss term that is on, in the order of the method's description."""
        return {term: weight for term, weight in (self.possible_weights() | self.weights).items() if weight > 0}


class TrunkConfig(ModelConfig):
    """A ResNet trunk and the method's loss terms."""

    backbone: Depth = "resnet50"
    width: float = Field(default=1.0, gt=0, le=4)
    """Scales every channel count of the trunk."""
    last_stride: Literal[1, 2] = 1
    pretrained: Path | None = None
    """ImageNet weights of the trunk, torchvision's; or ``trunk``, one of the suite's."""

    @model_validator(mode="after")
    def _trunk_is_possible(self) -> Self:
        channels = 64 * self.width
        if channels != int(channels) or int(channels) % 8:
            raise ValueError(f"width {self.width} gives {channels:g} channels in the stem; 64·width must divide by 8")
        # Set past the freeze, before anyone sees the model.
        self.__dict__["pretrained"] = pretrained_file(self.pretrained, self.trunk)
        return self

    @property
    def trunk(self) -> TrunkSpec:
        """Shape of the trunk."""
        return TrunkSpec(self.backbone, self.width, self.last_stride, "none")


@dataclass(frozen=True, slots=True)
class Declared:
    """What others may ask of a model's configuration, with the defaults of one that does not say."""

    trunk: TrunkSpec | None = None
    """Shape of its ResNet."""
    teacher: TeacherConfig | None = None
    teacher_features: int | None = None
    """Width of the teacher's embedding that the model expects."""
    uses_text: bool = False
    """Whether training and queries need captions."""
    active_weights: Callable[[], dict[str, float]] | None = None
    """Weight of every loss term that is on, where that is known before the model is built."""


def declared(config: Component) -> Declared:
    """What a model's configuration says of the model, a user's own included."""
    given = {field.name: getattr(config, field.name) for field in fields(Declared) if hasattr(config, field.name)}
    if not isinstance(given.get("teacher"), TeacherConfig):
        given["teacher"] = None
    return Declared(**given)


def has_method(model: Any, name: str) -> bool:
    """Whether a model, or its class, has an optional method of the contract (``vireid.core.types``)."""
    return callable(getattr(model, name, None))


class ReIDModel(_Module):
    """Base of the suite's networks, named before ``nn.Module``: what they share of ``vireid.core.types.Model``.

    A subclass sets ``Config`` and ``self.config``; ``version``, ``visible_views`` and the like are the configuration's.
    It names the module that is deployed ``embedder`` or overrides what is about it.
    """

    Config: ClassVar[type[Any]]
    config: Any
    version: ClassVar[str]
    visible_views: ClassVar[int]
    identity_head: ClassVar[str | None]
    deployed: ClassVar[tuple[str, ...]] = ("embedder.",)
    """Prefixes of the parameters that are deployed."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Take over what the configuration declares."""
        super().__init_subclass__(**options)
        if "Config" in vars(cls):
            cls.version = cls.Config.version
            cls.visible_views = cls.Config.visible_views
            cls.identity_head = cls.Config.identity_head

    def default_weights(self) -> dict[str, float]:
        """Weight of every active loss term."""
        weights: dict[str, float] = self.config.active_weights()
        return weights

    def embed(self, batch: Batch) -> dict[str, Tensor]:
        """Feature after the neck (B×D), in evaluation mode; nothing else of the model runs."""
        return {"embedding": cast(Any, self).embedder(batch.images)}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """All trainable parameters, at the recipe's learning rate."""
        return self.grouped(("all", ("",), 1.0))

    def grouped(self, *groups: tuple[str, tuple[str, ...], float]) -> list[dict[str, Any]]:
        """Trainable parameters in groups of a name, prefixes and a learning-rate scale; the longest prefix decides."""
        members: dict[str, list[nn.Parameter]] = {name: [] for name, _, _ in groups}
        prefixes = {prefix: name for name, starts, _ in groups for prefix in starts}
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                members[prefixes[max((p for p in prefixes if name.startswith(p)), key=len)]].append(parameter)
        return [{"params": members[name], "lr_scale": scale, "name": name} for name, _, scale in groups]

    def parameter_roles(self) -> dict[str, ParameterRole]:
        """Role of every parameter in the cost table: what is not deployed serves training alone."""
        return {
            name: "deployed" if name.startswith(self.deployed) else "training_only"
            for name, _ in self.named_parameters()
        }

    def end_epoch(self) -> None:
        """Nothing to update: a model without state between epochs."""

    def deployable(self, modality: Modality) -> nn.Module:  # noqa: ARG002 - one network serves both modalities
        """Independent copy of the deployed module, in evaluation mode."""
        copy: nn.Module = deepcopy(cast(Any, self).embedder)
        return copy.eval()
