"""What a configuration says of a teacher."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from vireid.core.config import Strict


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
