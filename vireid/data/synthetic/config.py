"""What decides a synthetic dataset: its specification, which enters the identity of every run; its card in the root."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from vireid.core.config import Strict
from vireid.core.errors import UserError
from vireid.data.synthetic.cameras import Spectrum

Layout = Literal["sysu", "regdb", "llcm"]

RENDERER_VERSION = "1"
"""Raised when the same person in the same place looks different: with any change of the renderer or its difficulty."""

WRITER_VERSION = "1"
"""Raised when who is seen where, the index files or the captions change for the same configuration."""

# Images per identity and camera where the configuration names none: (visible, infrared). RegDB's ten are the real ones.
_IMAGES_PER_CAMERA: dict[str, tuple[int, int]] = {"sysu": (6, 8), "regdb": (10, 10), "llcm": (4, 4)}


class SyntheticConfig(Strict):
    """A synthetic dataset: layout, identities per split, images per camera, image size in pixels and render seed.

    ``val_ids`` are SYSU-MM01's official validation identities, the ``dev`` split. The other two layouts have no such
    split on disk: there these identities count as training identities in the index files. RegDB shares all identities
    half and half between training and test, anew in each of its ten splits.

    ``visible_per_camera`` and ``infrared_per_camera`` are the most images that a camera takes of an identity. In the
    SYSU and LLCM layouts an identity has between half as many and all of them, in RegDB's exactly as many.
    """

    layout: Layout = "sysu"
    train_ids: int = Field(default=100, ge=1, le=100_000)
    val_ids: int = Field(default=25, ge=1, le=100_000)
    test_ids: int = Field(default=42, ge=1, le=100_000)
    visible_per_camera: int | None = Field(default=None, ge=1, le=9999)
    infrared_per_camera: int | None = Field(default=None, ge=1, le=9999)
    height: int = Field(default=288, ge=32, le=2048)
    width: int = Field(default=144, ge=16, le=2048)
    seed: int = Field(default=0, ge=0)

    @property
    def num_ids(self) -> int:
        """Number of identities over all splits."""
        return self.train_ids + self.val_ids + self.test_ids

    def images_per_camera(self, spectrum: Spectrum) -> int:
        """Most images that one camera takes of one identity."""
        visible, infrared = _IMAGES_PER_CAMERA[self.layout]
        if spectrum == "visible":
            return visible if self.visible_per_camera is None else self.visible_per_camera
        return infrared if self.infrared_per_camera is None else self.infrared_per_camera

    def specification(self) -> dict[str, Any]:
        """Everything that decides the images and files, defaults resolved, with the renderer's and writer's version."""
        return {
            **self.model_dump(mode="json"),
            "visible_per_camera": self.images_per_camera("visible"),
            "infrared_per_camera": self.images_per_camera("nir"),
            "renderer_version": RENDERER_VERSION,
            "writer_version": WRITER_VERSION,
        }


def split_identities(total: int) -> dict[str, int]:
    """Share ``total`` identities out as 60 % training, 15 % validation and 25 % test, each at least one.

    Raises:
        UserError: fewer than four identities.
    """
    if total < 4:
        raise UserError(f"--ids {total}: a synthetic dataset needs at least 4 identities (training, validation, test)")
    val, test = max(1, round(0.15 * total)), max(1, round(0.25 * total))
    return {"train_ids": total - val - test, "val_ids": val, "test_ids": test}


CARD = "synthetic.json"


def read_card(root: Path) -> dict[str, Any] | None:
    """Return the content of ``synthetic.json``, or None where ``root`` is not a synthetic dataset.

    Raises:
        UserError: the file is there but is not valid JSON.
    """
    path = root / CARD
    if not path.is_file():
        return None
    try:
        card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not valid JSON ({error}); remove the folder and render it again") from error
    return card
