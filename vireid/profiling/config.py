"""What to measure of a deployed model, and for how long."""

from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from vireid.core.config import Strict, component
from vireid.core.errors import UserError
from vireid.profiling import COUNTERS, RUNTIMES
from vireid.profiling.limits import Limit


class LatencyBudget(Strict):
    """How long to warm up and to measure one (runtime, batch size, threads) combination."""

    warmup_seconds: float = Field(
        default=1.0, ge=0, description="warm-up ends here even if not steady; one call at least"
    )
    min_seconds: float = Field(default=1.0, ge=0, description="measure at least this long")
    min_repeats: int = Field(default=10, ge=1, description="and at least this often")
    max_seconds: float = Field(default=3.0, gt=0, description="but no longer than this, once three samples exist")
    max_repeats: int = Field(default=1000, ge=1)


class StagesConfig(Strict):
    """The way of one query from a JPEG file to a ranked list."""

    gallery: int = Field(default=1000, ge=1, description="rows that are searched")
    top: int = Field(default=20, ge=1, description="length of the ranked list")
    image: Path | None = Field(default=None, description="the JPEG file; a rendered person when null")


class ProfileConfig(Strict):
    """Counters, runtimes, batch sizes and thread counts of a profile. By default a few seconds per small model."""

    counters: list[str] = Field(default=["torch", "fvcore", "thop"], min_length=1)
    runtimes: list[component(RUNTIMES)] = Field(default=[{"name": "eager"}], min_length=1)  # type: ignore[valid-type]
    batches: list[int] = Field(default=[1, 32], min_length=1, description="images per forward")
    threads: list[int] | None = Field(default=None, min_length=1, description="CPU threads; all cores when null")
    budget: LatencyBudget = LatencyBudget()
    memory: bool = Field(default=True, description="measure peak inference memory")
    isolate: bool = Field(default=False, description="each measurement in a fresh process, pinned to its cores")
    limit: str | None = Field(default=None, description="what it may use, as 'x86, 1 core, 512 MB'; isolates")
    sustained_seconds: float | None = Field(default=None, gt=0, description="measure for so long, in windows of 10 s")
    peaks: bool = Field(default=False, description="also the roofs: arithmetic and memory bandwidth at these threads")
    timeout_seconds: float = Field(default=600.0, gt=0, description="of an isolated process, beside sustained_seconds")
    stages: StagesConfig | None = Field(default=None, description="also the way from a JPEG file to a ranked list")

    @property
    def isolated(self) -> bool:
        """Whether measurements run in processes of their own; a limit is applied to nothing else."""
        return self.isolate or self.limit is not None

    def thread_counts(self, cores: int) -> list[int]:
        """The thread counts to measure with: as asked for, else the limit's cores, else ``cores``."""
        return self.threads or [Limit.parse(self.limit).cores if self.limit is not None else cores]

    @field_validator("counters")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        for name in names:
            try:
                COUNTERS.check(name)
            except UserError as error:
                raise ValueError(str(error)) from error
        return names

    @field_validator("limit", mode="before")
    @classmethod
    def _named_by_what_it_is(cls, limit: Any) -> Any:
        if limit in (None, "none"):
            return None
        try:
            return Limit.parse(str(limit)).name
        except UserError as error:
            raise ValueError(str(error)) from error

    @model_validator(mode="after")
    def _threads_fit_the_limit(self) -> Self:
        if self.limit is not None and self.threads is not None:
            cores = Limit.parse(self.limit).cores
            if max(self.threads) > cores:
                raise ValueError(f"threads={max(self.threads)} is more than the {cores} of limit '{self.limit}'")
        return self

    @field_validator("batches", "threads")
    @classmethod
    def _positive(cls, values: Any) -> Any:
        if values is not None and min(values) < 1:
            raise ValueError("must be at least 1")
        return values
