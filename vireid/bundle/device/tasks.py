"""What isolated processes do: compare features, time the network, time the network and a search.

Shapes: B images of H×W pixels, D feature width, G gallery rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from ...evaluation.gallery import Gallery, random_gallery, stand_in
from ...profiling import sensors
from ...profiling.sampling import sample
from ...profiling.sensors.reading import machine_notes
from . import heat
from .features import compare
from .machine import peak_resident_bytes, usable_cores
from .network import Network, example_images, normalise

Array = npt.NDArray[Any]


def check(
    *,
    model: str,
    runtime: Mapping[str, Any],
    threads: int,
    images: str,
    features: str,
    mean: Sequence[float],
    std: Sequence[float],
) -> dict[str, Any]:
    """Features of the stored images, one image at a time, against the stored features."""
    network = Network(Path(model), runtime, threads)
    pixels = normalise(np.load(images, allow_pickle=False), mean, std)
    computed = np.concatenate([network(image[None]) for image in pixels])
    compared = compare(computed, np.load(features, allow_pickle=False))
    return {**compared, "onnxruntime": onnxruntime.__version__, "images": len(pixels)}


def measure(
    *,
    model: str,
    runtime: Mapping[str, Any],
    threads: int,
    batch: int,
    resolution: Sequence[int],
    budget: Mapping[str, float],
    sustained_seconds: float | None,
    gallery: int = 0,
    top: int = 0,
    storage: str = "fp32",
    idle_seconds: float | None = None,
    drop: float = 0.05,
    root: str = "/",
) -> dict[str, Any]:
    """Time the network, and where ``gallery`` has rows the network and a search in it: fields of a latency record.

    With ``idle_seconds`` the machine rests for so long before, loaded, so that the power of rest is known. ``drop`` is
    the share of its rate that a sustained run may lose before it is called throttled; sensors are read under ``root``.
    """
    files = Path(root)
    images = example_images(batch, *resolution)
    begin = time.perf_counter()
    network = Network(Path(model), runtime, threads)
    width = network(images).shape[1]
    loaded = time.perf_counter() - begin
    searched = random_gallery(stand_in(storage, width), gallery) if gallery else None
    query = None if searched is None else TimedQuery(network, images, searched, top)
    call: Callable[[], object] = query if query is not None else lambda: network(images)
    resting = None if idle_seconds is None else heat.idle(idle_seconds, files)
    before, meter = sensors.describe(files), sensors.EnergyMeter(files)
    wall, monotonic = time.time(), time.monotonic()
    samples = sample(
        call,
        batch=batch,
        budget=SimpleNamespace(**budget),
        cores=usable_cores(),
        sustained_seconds=sustained_seconds,
        watch=lambda: sensors.watch(files),
        during=meter,
    )
    clock = {"wall": time.time() - wall, "monotonic": time.monotonic() - monotonic}
    after, resident = sensors.describe(files), peak_resident_bytes()
    power = None if resting is None else heat.power(resting, meter, len(samples.seconds) * batch)
    lasting = heat.sustained(samples.seconds, batch, samples.windows, drop)
    notes = [*samples.notes, *machine_notes(before, after)]
    notes += [heat.heat_note(lasting)] if lasting is not None and lasting["throttled"] else []
    return {
        "warmup": samples.warmup,
        "seconds": samples.seconds,
        "windows": samples.windows,
        "notes": notes,
        "load_seconds": loaded,
        "rss_bytes": resident,
        "joules_per_image": None if meter.joules is None else meter.joules / (len(samples.seconds) * batch),
        "sensors": {
            "before": before,
            "after": {name: reading for name, reading in after.items() if reading["value"] is not None},
            "energy_by": meter.method or meter.reason,
            "clock": clock,
            **({} if power is None else {"power": power}),
            **({} if lasting is None else {"sustained": lasting}),
        },
        **({} if query is None else query.described(samples.warmup)),
    }


class TimedQuery:
    """One query through the network and a search; keeps how long each took."""

    def __init__(self, network: Network, images: Array, gallery: Gallery, top: int) -> None:
        self._network, self._images, self._gallery, self._top = network, images, gallery, min(top, gallery.rows)
        self._seconds: dict[str, list[float]] = {"network": [], "search": []}

    def __call__(self) -> Array:
        """The best rows of the gallery for the image."""
        begin = time.perf_counter_ns()
        features = self._network(self._images)
        between = time.perf_counter_ns()
        ranked = self._gallery.search(features[0], self._top)
        self._seconds["search"].append((time.perf_counter_ns() - between) / 1e9)
        self._seconds["network"].append((between - begin) / 1e9)
        return ranked

    def described(self, warmup: int) -> dict[str, Any]:
        """The stages of the samples that followed ``warmup`` calls, and what was searched."""
        return {
            "stages": {name: seconds[warmup:] for name, seconds in self._seconds.items()},
            "stage_settings": {
                "measured": ["network", "search"],
                "not_measured": "decode and preprocess: pixels were ready in memory",
                "gallery": self._gallery.rows,
                "gallery_bytes": self._gallery.nbytes,
                "storage": self._gallery.codec.name,
                "features": self._gallery.codec.width,
                "top": self._top,
            },
        }
