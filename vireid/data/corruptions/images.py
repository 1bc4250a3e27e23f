"""The corrupted images of an index, at the size that a network reads: drawn, cached, and known by one digest."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from vireid.core.corruption import CORRUPTIONS, OF_COLOUR, SEVERITIES, VERSION, CorruptionName
from vireid.core.seeding import generator
from vireid.core.types import ByteArray, ImageIndex, Modality
from vireid.data.cache import built_once
from vireid.data.corruptions import corrupt
from vireid.data.images import READER, read_image
from vireid.data.layout import Progress, fingerprint

SIZE = (288, 144)
"""Height and width, in pixels, at which images are corrupted, as the benchmark does with SYSU-MM01 and RegDB
(Zoky-2020/CIL-CrossModal, ``test.py``): its constants are in pixels, and stored sizes differ."""


class CorruptionDraw(NamedTuple):
    """What decides the corruption of every image, beside its path; None is drawn."""

    seed: int
    kind: CorruptionName | None = None
    severity: int | None = None


class CorruptedImages(NamedTuple):
    """Images N×3×H×W (uint8) in the order of their index, and a digest of their pixels at ``SIZE``.

    The digest is of the protocol, not of the network: it is the same for every H and W, and on every machine.
    """

    array: ByteArray
    digest: str


def corrupted(pixels: ByteArray, path: str, modality: Modality, draw: CorruptionDraw) -> ByteArray:
    """Corrupt an image H×W×3 as ``draw`` has it for the image at ``path``; uint8, of the same shape.

    An infrared image is corrupted as the one channel that it is, and stays grey; of colour it has nothing to lose.
    """
    grey = modality is Modality.INFRARED
    random = generator(draw.seed, "corruption", path)
    kinds = [kind for kind in CORRUPTIONS if not (grey and kind in OF_COLOUR)]
    kind = kinds[int(random.integers(len(kinds)))]
    severity = SEVERITIES[int(random.integers(len(SEVERITIES)))]
    result = corrupt(pixels[:, :, :1] if grey else pixels, draw.kind or kind, draw.severity or severity, random)
    return np.repeat(result, 3, axis=2) if grey else result


def corrupted_images(
    index: ImageIndex,
    draw: CorruptionDraw,
    height: int,
    width: int,
    cache_dir: Path,
    *,
    workers: int = 4,
    progress: Progress | None = None,
) -> CorruptedImages:
    """Decode, bring to ``SIZE``, corrupt and resize every image of ``index``, or map what an earlier call wrote.

    Raises:
        UserError: an image is unreadable, or the cache directory is not writable or full.
    """
    content = fingerprint(index, cache_dir, workers=workers)
    modalities = ",".join(map(str, index.modality.tolist()))
    key = "|".join(
        [content, f"{height}x{width}", f"reader {READER}", VERSION, *map(str, draw), modalities, *index.paths]
    )
    file = cache_dir / "corrupted" / f"{hashlib.blake2b(key.encode(), digest_size=8).hexdigest()}.npy"
    digest_file = file.with_suffix(".sha256")
    digests = [b""] * len(index)

    def image(row: int) -> ByteArray:
        pixels = np.asarray(read_image(index.root, index.paths[row]).resize(SIZE[::-1], Image.Resampling.BILINEAR))
        pixels = corrupted(pixels, index.paths[row], Modality(int(index.modality[row])), draw)
        digests[row] = hashlib.sha256(pixels.tobytes()).digest()
        resized = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(resized).transpose(2, 0, 1)

    def whole() -> None:
        digest_file.write_text(hashlib.sha256(b"".join(digests)).hexdigest(), encoding="utf-8")

    shape = (len(index), 3, height, width)
    array = built_once(file, shape, image, workers=workers, progress=progress, whole=whole)
    return CorruptedImages(array, digest_file.read_text(encoding="utf-8"))
