"""Renders and encodes the images of one identity, in the caller's process or in a pool of worker processes."""

import io
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import wait as wait_for_sentinel
from pathlib import Path

import numpy as np
from PIL import Image
from threadpoolctl import threadpool_limits

from vireid.core.errors import UserError
from vireid.core.types import BoolArray
from vireid.data.synthetic.config import SyntheticConfig
from vireid.data.synthetic.render import Rendering, cameras_for, draw_person, render
from vireid.data.synthetic.shots import Shot, duplicate


@dataclass(frozen=True, slots=True)
class Written:
    """What is known of a written image beside the file: size in bytes, box (left, top, right, bottom), silhouette."""

    path: str
    file_size: int
    box: tuple[float, ...]
    silhouette: bytes  # PNG with one bit per pixel


def encode_mask(mask: BoolArray) -> bytes:
    """PNG with one bit per pixel of a silhouette (H×W)."""
    buffer = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).convert("1").save(buffer, "PNG")
    return buffer.getvalue()


def decode_mask(content: bytes) -> BoolArray:
    """Silhouette (H×W) from ``encode_mask``."""
    return np.asarray(Image.open(io.BytesIO(content)), dtype=bool)


def render_shot(config: SyntheticConfig, shot: Shot) -> Rendering:
    """Render one planned image; a pure function of configuration and shot."""
    camera = cameras_for(config.layout, config.seed)[shot.spectrum, shot.camera]
    person = draw_person(config.seed, shot.identity)
    return render(person, camera, seed=config.seed, shot=shot.number, height=config.height, width=config.width)


def write_identity(root: Path, config: SyntheticConfig, shots: Sequence[Shot]) -> list[Written]:
    """Render the images of one identity and write them under ``root`` as JPEG files in each camera's quality.

    Raises:
        UserError: the place cannot be written.
    """
    cameras = cameras_for(config.layout, config.seed)
    person = draw_person(config.seed, shots[0].identity)
    written = []
    for shot in shots:
        camera = cameras[shot.spectrum, shot.camera]
        image = render(person, camera, seed=config.seed, shot=shot.number, height=config.height, width=config.width)
        buffer = io.BytesIO()
        Image.fromarray(image.image).save(buffer, "JPEG", quality=camera.jpeg_quality)
        path = root / shot.path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(buffer.getbuffer())
            for copy in shot.copies:
                duplicate(path, root / copy)
        except OSError as error:
            raise unwritable(root, error) from error
        box = tuple(float(value) for value in image.box)
        written.append(Written(shot.path, buffer.getbuffer().nbytes, box, encode_mask(image.mask)))
    return written


def unwritable(path: Path, error: OSError) -> UserError:
    """Turn an operating-system error into a message that names the path and the remedy."""
    return UserError(
        f"{path}: cannot write the dataset ({error.strerror or error}); free some space, fix its permissions or choose "
        "another directory, and run the same command again"
    )


def write_all(
    root: Path, config: SyntheticConfig, groups: Sequence[Sequence[Shot]], workers: int
) -> Iterator[list[Written]]:
    """Yield what was written, one identity at a time, in the order in which they are finished.

    With one worker everything runs in this process; otherwise in ``workers`` processes, each with one BLAS thread, that
    end with this process however it ends.

    Raises:
        UserError: the place cannot be written, or a worker died.
    """
    if workers <= 1 or len(groups) <= 1:
        with threadpool_limits(limits=1):
            for group in groups:
                yield write_identity(root, config, group)
        return
    pool = ProcessPoolExecutor(
        min(workers, len(groups)), mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker
    )
    queue = iter(groups)
    pending: set[Future[list[Written]]] = set()
    try:
        while True:
            # a short queue, so that an error or an interrupt does not wait for a thousand submitted identities
            pending |= {
                pool.submit(write_identity, root, config, group) for group in islice(queue, 2 * workers - len(pending))
            }
            if not pending:
                return
            finished, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in finished:
                yield future.result()
    except BrokenProcessPool as error:
        raise UserError(
            f"{root}: a rendering process died, most likely for want of memory; run again with fewer workers"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """Use one BLAS thread, leave an interrupt to the parent, and exit when the parent dies.

    A killed parent would otherwise leave its workers waiting for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threadpool_limits(limits=1)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_with, args=(parent.sentinel,), daemon=True).start()


def _exit_with(sentinel: int) -> None:
    wait_for_sentinel([sentinel])
    os._exit(1)
