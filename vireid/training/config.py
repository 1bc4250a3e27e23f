"""What a recipe may say: batches, stages, optimiser, learning-rate schedule, precision. Imports no torch."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from vireid.core.config import Strict

BatchNorm = Literal["synchronised", "per_process"]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]


class AdamConfig(Strict):
    """Adam with L2 regularisation (Kingma and Ba 2015)."""

    name: Literal["adam"] = "adam"
    lr: Positive
    weight_decay: NonNegative = 0.0
    betas: tuple[float, float] = (0.9, 0.999)


class AdamWConfig(Strict):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    name: Literal["adamw"] = "adamw"
    lr: Positive
    weight_decay: NonNegative = 0.01
    betas: tuple[float, float] = (0.9, 0.999)


class SGDConfig(Strict):
    """Stochastic gradient descent with momentum."""

    name: Literal["sgd"] = "sgd"
    lr: Positive
    weight_decay: NonNegative = 0.0
    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: bool = False

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        return self


OptimiserConfig = Annotated[AdamConfig | AdamWConfig | SGDConfig, Field(discriminator="name")]


class ScheduleBase(Strict):
    """Linear warm-up, shared by all schedules.

    Position t counts epochs from the start of training: whole ones with ``every: epoch``, fractions with ``every:
    step``. For t < W = ``warmup_epochs`` the rate is multiplied by f + (1 − f)·t/W with f = ``warmup_factor``. The
    "warm-up 10" of AGW and its kin, lr·(e + 1)/10 in epochs e = 0…9, is therefore W = 9, f = 0.1 by epoch.
    """

    warmup_epochs: NonNegative = 0.0
    warmup_factor: float = Field(default=0.1, ge=0, le=1)
    every: Literal["epoch", "step"] = "epoch"


class ConstantSchedule(ScheduleBase):
    """The rate stays."""

    name: Literal["constant"] = "constant"


class StepSchedule(ScheduleBase):
    """The rate is multiplied by ``gamma`` at every milestone (an epoch, counted from 0 and from the start)."""

    name: Literal["step"] = "step"
    milestones: list[int] = Field(min_length=1)
    gamma: float = Field(default=0.1, gt=0, le=1)

    @field_validator("milestones")
    @classmethod
    def _ascending(cls, milestones: list[int]) -> list[int]:
        if milestones != sorted(set(milestones)) or milestones[0] <= 0:
            raise ValueError("milestones must be ascending epochs above 0, each once")
        return milestones


class CosineSchedule(ScheduleBase):
    """Half a cosine from ``lr`` down to ``min_lr``, begun after warm-up or, in its shadow, with training itself."""

    name: Literal["cosine"] = "cosine"
    begins: Literal["after_warmup", "with_training"] = "after_warmup"
    min_lr: NonNegative = 0.0


ScheduleConfig = Annotated[ConstantSchedule | StepSchedule | CosineSchedule, Field(discriminator="name")]


class StageConfig(Strict):
    """A stretch of epochs with its own trainable parts and active loss terms."""

    name: str
    epochs: int = Field(gt=0)
    trainable: list[str] = Field(default=["*"], min_length=1)
    """Globs over parameter names; the rest stays as it is."""
    terms: list[str] | None = Field(default=None, min_length=1)
    """Loss terms that count; all when null."""
    schedule: ScheduleConfig | None = None
    """Counted from the stage's start; null: the recipe's, from training's start."""
    scale: float = Field(default=1.0, gt=0, le=1)
    """Share of data.height and data.width that this stage trains at, and is evaluated at on dev: progressive resizing,
    whose early stages see many small images in the time of few large ones (Tan and Le, EfficientNetV2, ICML 2021)."""


class RecipeConfig(Strict):
    """How a model is trained. ``epochs: N`` is short for a single stage called ``main`` of N epochs."""

    batch_size: int = Field(gt=0, description="images per batch, over both modalities")
    identities: int = Field(gt=0, description="P; each gets K = batch_size / P images, half of each modality")
    steps_per_epoch: int | None = Field(default=None, gt=0, description="batches; what the data gives when null")
    stages: list[StageConfig] = Field(min_length=1)
    optimiser: OptimiserConfig
    schedule: ScheduleConfig = ConstantSchedule()
    accumulation: int = Field(default=1, gt=0, description="batches whose mean gradient makes one optimiser step")
    clip_norm: Positive | None = None
    """Of the gradient over all model parameters."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    channels_last: bool = False
    activation_checkpointing: bool = Field(
        default=False, description="residual blocks run again in backward instead of keeping their activations"
    )
    selection: Literal["last"] = "last"
    """Which epoch's weights are the result."""
    evaluate_every: int = Field(default=0, ge=0, description="epochs between evaluations on dev; 0 for none")

    @model_validator(mode="before")
    @classmethod
    def _epochs_to_stages(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        given = {key: value for key, value in data.items() if key not in ("epochs", "stages") or value is not None}
        if "epochs" not in given:
            return given
        if "stages" in given:
            raise ValueError("give either 'epochs' (one stage) or 'stages', not both; the other may be null")
        rest = {key: value for key, value in given.items() if key != "epochs"}
        return {**rest, "stages": [{"name": "main", "epochs": given["epochs"]}]}

    @model_validator(mode="after")
    def _check(self) -> Self:
        size, identities = self.batch_size, self.identities
        if size % identities or (size // identities) % 2:
            below = size // (2 * identities) * 2 * identities
            near = [n for n in (below, below + 2 * identities) if n > 0]
            divisors = [p for p in range(1, size // 2 + 1) if size % (2 * p) == 0]
            below_p, above_p = [p for p in divisors if p < identities], [p for p in divisors if p > identities]
            counts = below_p[-1:] + above_p[:1]
            remedy = f"batch_size {' or '.join(map(str, near))} with {identities} identities"
            if counts:
                remedy += f", or {' or '.join(map(str, counts))} identities with batch_size {size}"
            raise ValueError(
                f"batch_size {size} over {identities} identities gives K = {size / identities:g} images each; K must "
                f"be an even integer (half visible, half infrared): use {remedy}"
            )
        if len({stage.name for stage in self.stages}) < len(self.stages):
            raise ValueError("two stages have the same name")
        self._check_schedule(self.schedule, self.total_epochs, "schedule")
        for position, stage in enumerate(self.stages):
            if stage.schedule is not None:
                self._check_schedule(stage.schedule, stage.epochs, f"stages.{position}.schedule")
        return self

    def _check_schedule(self, schedule: ScheduleConfig, epochs: int, where: str) -> None:
        if schedule.warmup_epochs > epochs:
            raise ValueError(f"{where}.warmup_epochs {schedule.warmup_epochs:g} exceeds the {epochs} epochs")
        if isinstance(schedule, StepSchedule) and schedule.milestones[-1] >= epochs:
            raise ValueError(
                f"{where}.milestones has {schedule.milestones[-1]}, which the {epochs} epochs never reach: give "
                f"milestones below {epochs} or another schedule"
            )
        if isinstance(schedule, CosineSchedule) and schedule.min_lr > self.optimiser.lr:
            raise ValueError(f"{where}.min_lr {schedule.min_lr:g} exceeds optimiser.lr {self.optimiser.lr:g}")

    @property
    def images_per_identity(self) -> int:
        """K: rows of one identity in a batch, half of them visible."""
        return self.batch_size // self.identities

    @property
    def total_epochs(self) -> int:
        """Epochs over all stages."""
        return sum(stage.epochs for stage in self.stages)

    def stage_at(self, epoch: int) -> int:
        """Position in ``stages`` of the stage that ``epoch`` (from 0) belongs to."""
        end = 0
        for position, stage in enumerate(self.stages):
            end += stage.epochs
            if epoch < end:
                return position
        raise IndexError(f"epoch {epoch} lies beyond the {end} epochs of the recipe")

    def schedule_at(self, epoch: int) -> tuple[ScheduleConfig, int, int]:
        """The schedule that holds in ``epoch``, the epoch from which it counts, and the epochs that it runs over."""
        position = self.stage_at(epoch)
        schedule = self.stages[position].schedule
        if schedule is None:
            return self.schedule, 0, self.total_epochs
        return schedule, sum(stage.epochs for stage in self.stages[:position]), self.stages[position].epochs
