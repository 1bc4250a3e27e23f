"""What a bundle says of itself: ``bundle.json``."""

import hashlib
from collections.abc import Mapping
from typing import Any

import vireid
from vireid.bundle.device.record import canonical_json
from vireid.core.config import Strict
from vireid.core.records import DataKind

FORMAT, VERSION = "vireid bundle", 1
MANIFEST = "bundle.json"


class KnownAccuracy(Strict):
    """An evaluation of a model's file, or of the trained model that a float32 file has the features of. Fractions."""

    evaluation: str
    """Id of the record."""
    key: str
    """Equal where protocol and evaluated images are: such figures may be compared."""
    protocol: str
    mAP: float  # noqa: N815 - as the field writes it
    low: float | None
    high: float | None
    level: float | None
    """Of the interval."""
    over: str | None
    """What was resampled."""
    note: str
    """What the images were, and what the figure may not be compared with."""


class References(Strict):
    """Images (N×H×W, or N×H×W×3, uint8) and the features that the file gave for them where the bundle was made."""

    images: str
    features: str
    """N×D, float32."""


class BundledModel(Strict):
    """One model of a bundle. Files are named from the bundle's top."""

    name: str
    file: str
    bytes: int
    model: str
    modality: str
    run: str | None
    """The fit whose weights it has; None: initial weights, of no use for finding people."""
    dataset: str
    data_kind: DataKind
    graph: str
    """Digest of the deployed graph, as latency records name it."""
    runtime: dict[str, Any]
    """As latency records hold it."""
    precision: str
    resolution: tuple[int, int]
    """Height, width in pixels."""
    feature_size: int
    mean: tuple[float, float, float]
    """Of pixels in 0…1."""
    std: tuple[float, float, float]
    references: References
    accuracy: list[KnownAccuracy] = []


def manifest(models: list[BundledModel], files: Mapping[str, bytes]) -> dict[str, Any]:
    """Content of ``bundle.json``: the models, size and SHA-256 of every file, and the digest of all that."""
    content: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "vireid": vireid.__version__,
        "models": [model.model_dump(mode="json") for model in models],
        "files": {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in sorted(files.items())
        },
    }
    return {**content, "digest": hashlib.sha256(canonical_json(content).encode()).hexdigest()}
