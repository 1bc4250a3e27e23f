"""The pipeline of one query: JPEG file → decode → preprocess → backbone → neck → search → ranked list.

Every stage is the suite's own code, as evaluation runs it: its decoder, its resize rule, its normalisation, the
deployed graph, its products and its ranking. The gallery's features are prepared before, as a deployed gallery's are.

Shapes: G gallery rows, D feature width, H×W pixels.
"""

import hashlib
import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from vireid.core.config import parse
from vireid.core.errors import UserError
from vireid.core.seeding import generator
from vireid.core.types import IntArray
from vireid.data.augmentation import normalise
from vireid.data.images import read_header, read_image
from vireid.data.synthetic.config import RENDERER_VERSION, SyntheticConfig
from vireid.data.synthetic.render import cameras_for, draw_person, render
from vireid.evaluation.neighbours import nearest
from vireid.evaluation.scorers import Multiplied, unit_
from vireid.profiling import RUNTIMES
from vireid.profiling.complexity import example_images
from vireid.profiling.config import ProfileConfig, StagesConfig
from vireid.profiling.deployed_file import StoresFiles, load_module
from vireid.profiling.device import thread_limit
from vireid.profiling.latency import Mark, attempt, measure_chain, run_in_child
from vireid.profiling.runtimes.base import Session

TASK = "vireid.experiment.cost.query_pipeline:measure_in_child"


def identify_image(stages: StagesConfig) -> dict[str, Any]:
    """What tells the measured file apart: its digest, or the renderer's version.

    Raises:
        UserError: the file is missing or no JPEG.
    """
    if stages.image is None:
        return {"rendered": RENDERER_VERSION}
    return {"digest": hashlib.sha256(_jpeg(stages)).hexdigest()[:12]}


def measure_query(
    deployable: nn.Module,
    height: int,
    width: int,
    single: ProfileConfig,
    device: torch.device,
    *,
    emulate: bool = False,
) -> dict[str, Any]:
    """Measure one query through ``deployable``; fields of a ``LatencyRecord``.

    Args:
        deployable: images (B×3×H×W) → embedding (B×D).
        height: H, of the network's input.
        width: W.
        single: a profile with stages, of one runtime and thread count.
        device: where the network runs; the gallery lies there too.
        emulate: measure a precision too that the processor has no instructions for.

    Raises:
        UserError: the image is missing or no JPEG.
    """
    assert single.stages is not None
    content = _jpeg(single.stages)

    def measured(runtime: Any) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="vireid-query-") as name:
            file = Path(name) / "query.jpg"
            file.write_bytes(content)
            if single.isolated:
                return run_in_child(TASK, deployable, height, width, single, device, {"image": str(file)})
            example = example_images(1, height, width, device)
            session, split = prepare_session(runtime, deployable, example)
            return _measure(session, split, deployable, file, example, single)

    return {
        "batch": 1,
        "resolution": [height, width],
        "threads": (single.threads or [1])[0],
        "stage_settings": {"gallery": single.stages.gallery, "top": single.stages.top},
        **attempt(single, device, emulate, measured),
    }


def measure_in_child(
    pickled: str, stored: str, profile: Mapping[str, Any], height: int, width: int, device: str, image: str
) -> dict[str, Any]:
    """The task of the isolated process."""
    single = parse(ProfileConfig, profile, "profile")
    (runtime_config,), (threads,) = single.runtimes, single.threads or [1]
    runtime = RUNTIMES.load(runtime_config.name)(runtime_config)
    example = example_images(1, height, width, device)
    module = load_module(Path(pickled), device)
    with thread_limit(threads):
        if isinstance(runtime, StoresFiles):
            session, split = runtime.load(Path(stored), example), Split()
        else:
            session, split = prepare_session(runtime, module, example)
    return _measure(session, split, module, Path(image), example, single)


def preprocess(picture: Image.Image, height: int, width: int) -> Tensor:
    """Resize by the suite's rule and normalise: 1×3×H×W, float32."""
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.array(picture)  # a copy: torch wants writable memory
    return normalise(torch.from_numpy(pixels).permute(2, 0, 1)[None])


def search(gallery: Multiplied, query: Tensor, top: int) -> IntArray:
    """The ``top`` gallery rows most like the query (1×D, any length), by cosine, best first."""
    similarity = gallery.inner(unit_(query.float().clone()))
    (ranked,) = nearest(-similarity.cpu().numpy(), min(top, len(gallery)))
    return np.asarray(ranked)


def gallery_of(rows: int, width: int, device: torch.device) -> Tensor:
    """G×D random unit features: what is in a gallery decides nothing of how long it is searched."""
    features = generator("gallery of a profile", rows, width).standard_normal((rows, width), dtype=np.float32)
    return unit_(torch.from_numpy(features).to(device))


class Split:
    """Marks the end of the backbone where a network's pooling begins; ``known`` where a network has one."""

    def __init__(self) -> None:
        self.known = False
        self.mark: Mark = lambda _: None

    def attach(self, module: nn.Module) -> None:
        """Watch ``module.pool``, which every network of the suite has between its last map and its neck."""
        pool = dict(module.named_children()).get("pool")
        if pool is not None:
            pool.register_forward_pre_hook(lambda *_: self.mark("backbone"))
            self.known = True


def prepare_session(runtime: Any, module: nn.Module, example: Tensor) -> tuple[Session, Split]:
    """Session of ``module`` and, in eager mode, where its backbone ends; other runtimes run it as one."""
    split = Split()
    if runtime.config.name != "eager":
        return runtime.prepare(module, example), split
    split.attach(module)
    return runtime.prepare(module, example), split


def _measure(
    session: Session, split: Split, module: nn.Module, file: Path, example: Tensor, single: ProfileConfig
) -> dict[str, Any]:
    assert single.stages is not None
    height, width = example.shape[2:]
    features = int(torch.as_tensor(session(example)).shape[1])
    rows = gallery_of(single.stages.gallery, features, example.device)
    gallery, top = Multiplied(rows), single.stages.top

    def query(mark: Mark) -> None:
        picture = read_image(file.parent, file.name)
        mark("decode")
        images = preprocess(picture, height, width).to(example.device)
        mark("preprocess")
        split.mark = mark
        embedding = torch.as_tensor(session(images))
        mark("neck" if split.known else "network")
        search(gallery, embedding, top)
        mark("search")

    measured = measure_chain(query, lambda: module, example, single)
    stored = read_header(file.parent, file.name)
    size = {"bytes": file.stat().st_size, "height": stored.height, "width": stored.width}
    settings = {
        "image": {**identify_image(single.stages), **size},
        "gallery": single.stages.gallery,
        "gallery_bytes": rows.numel() * rows.element_size(),
        "features": features,
        "top": top,
    }
    return {**measured, "stage_settings": settings}


def _jpeg(stages: StagesConfig) -> bytes:
    """The configured file's content, or a rendered person's, as the renderer's first infrared camera writes it."""
    if stages.image is not None:
        read_image(stages.image.parent, stages.image.name)  # missing and broken files are named here
        with Image.open(stages.image) as picture:
            if picture.format != "JPEG":
                raise UserError(f"profile.stages.image={stages.image} is {picture.format}, not JPEG: give a JPEG file")
        return stages.image.read_bytes()
    shown, quality = infrared_person(1)
    buffer = io.BytesIO()
    shown.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def infrared_person(person: int, shot: int = 1) -> tuple[Image.Image, int]:
    """A shot of a rendered person by the renderer's first near-infrared camera, and that camera's JPEG quality."""
    settings = SyntheticConfig()
    cameras = cameras_for(settings.layout, settings.seed).values()
    camera = min((c for c in cameras if c.spectrum == "nir"), key=lambda c: c.number)
    drawn, size = draw_person(settings.seed, person), {"height": settings.height, "width": settings.width}
    return Image.fromarray(render(drawn, camera, seed=settings.seed, shot=shot, **size).image), camera.jpeg_quality
