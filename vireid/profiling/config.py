"""What to measure of a deployed model, and for how long."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from vireid.core.config import Strict, component
from vireid.core.errors import UserError
from vireid.profiling import COUNTERS, RUNTIMES


class LatencyBudget(Strict):
    """How long to warm up and to measure one (runtime, batch size, threads) combination."""

    warmup_seconds: float = Field(
        default=1.0, ge=0, description="warm-up ends here even if not steady; one call at least"
    )
    min_seconds: float = Field(default=1.0, ge=0, description="measure at least this long")
    min_repeats: int = Field(default=10, ge=1, description="and at least this often")
    max_seconds: float = Field(default=3.0, gt=0, description="but no longer than this, once three samples exist")
    max_repeats: int = Field(default=1000, ge=1)


class ProfileConfig(Strict):
    """Counters, runtimes, batch sizes and thread counts of a profile. By default a few seconds per small model."""

    counters: list[str] = Field(default=["torch", "fvcore", "thop"], min_length=1)
    runtimes: list[component(RUNTIMES)] = Field(default=[{"name": "eager"}], min_length=1)  # type: ignore[valid-type]
    batches: list[int] = Field(default=[1, 32], min_length=1, description="images per forward")
    threads: list[int] | None = Field(default=None, min_length=1, description="CPU threads; all cores when null")
    budget: LatencyBudget = LatencyBudget()
    memory: bool = Field(default=True, description="measure peak inference memory")

    @field_validator("counters")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        for name in names:
            try:
                COUNTERS.load(name)
            except UserError as error:
                raise ValueError(str(error)) from error
        return names

    @field_validator("batches", "threads")
    @classmethod
    def _positive(cls, values: Any) -> Any:
        if values is not None and min(values) < 1:
            raise ValueError("must be at least 1")
        return values
