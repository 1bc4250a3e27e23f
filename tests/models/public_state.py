"""State dicts and images that a test and the public code can both rebuild from names alone.

Values come from the raw bits of a counter-based generator keyed by name, whose stream never changes between versions.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vireid.core.seeding import key_to_int
from vireid.models.importers import IMPORTERS

GOLDEN = Path(__file__).parents[1] / "golden"


def uniform(name: str, shape: tuple[int, ...]) -> Tensor:
    """Float32 values in [−1, 1), the same on every machine."""
    count = math.prod(shape)
    bits = np.random.Philox(key=key_to_int("parity", name)).random_raw((count + 1) // 2).view(np.uint32)[:count]
    return torch.from_numpy(((bits >> 8).astype(np.float32) * np.float32(2.0**-23) - 1).reshape(shape))


def shapes(arch: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a public state dict at 20 classes, as the public code gives them."""
    keys = json.loads((GOLDEN / f"{arch}_state_keys.json").read_text())["keys"]
    return {key: tuple(shape) for key, shape in keys.items()}


# Whose file of names and shapes an architecture has: CAJ's network and its names are AGW's.
_FILES = {"idkl": "idkl", "idkl_fork": "fork", "agw": "caj", "caj": "caj", "deen": "deen", "tvi_lfm": "tvi_lfm"}


def public_shapes(arch: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of an architecture of ``IMPORTERS`` at 20 classes.

    From a file of the public code's own where there is one; else as its importer knows them, which other tests hold to
    the public code (IV-REID by a digest; DEEN for RegDB and TVI-LFM's base network by the other of theirs).
    """
    if arch in _FILES:
        return shapes(_FILES[arch])
    layout = IMPORTERS.load(arch)().layout(20)
    return {key: entry.shape for key, entry in layout.items()}


def filled(shape_of: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Random weights with which activations stay of order one through all layers, in training and in evaluation."""
    return {key: _fill(key, shape) for key, shape in shape_of.items()}


def drawn(key: str, shape: tuple[int, ...]) -> Tensor:
    """The tensor of a key with which the golden values of CAJ, DEEN and TVI-LFM (``model_*.npz``) were made."""
    leaf = key.rpartition(".")[2]
    if leaf == "num_batches_tracked":
        return torch.tensor(0)
    value = np.asarray(np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape))
    if leaf == "p":  # exponent of a pooling
        return torch.from_numpy(3 + 0.05 * value).float()
    if leaf == "running_var":
        return torch.from_numpy(0.5 + np.abs(value)).float()
    if leaf == "running_mean":
        return torch.from_numpy(0.1 * value).float()
    if len(shape) > 1:
        value *= math.sqrt(2 / math.prod(shape[1:]))
    else:
        value = 1 + 0.1 * value if leaf == "weight" else 0.05 * value
    if ".CNL." in key or ".PNL." in key or key.startswith(("NL_", "DEE.")):
        value = 0.1 * value
    if key.endswith(("bn3.weight", "downsample.1.weight")):
        value = 0.5 * value
    return torch.from_numpy(np.asarray(value)).float()


def _fill(key: str, shape: tuple[int, ...]) -> Tensor:
    leaf = key.rpartition(".")[2]
    if leaf == "num_batches_tracked":
        return torch.tensor(0)
    value = uniform(key, shape)
    if leaf == "running_var":
        return 1 + 0.5 * value
    if leaf in ("running_mean", "bias", "in_proj_bias"):
        return 0.1 * value
    if len(shape) == 1:  # scale of a normalisation; small at the end of a residual, so that depth does not amplify
        return (1 + 0.5 * value) * (0.3 if ".bn3." in key else 1.0)
    return value * math.sqrt(6 / math.prod(shape[1:]))


def batch_arrays(identities: int, images: int, height: int, width: int, *, alternating: bool) -> dict[str, Tensor]:
    """Images in [−2, 2) with labels (0, 1, …) and a mask of the infrared rows.

    Args:
        identities: P.
        images: K, half of them of either modality.
        height: pixels.
        width: pixels.
        alternating: identity by identity, infrared and visible in turn, as the released sampler gives them; otherwise
            all visible rows, then all infrared rows, as the fork's gives them.
    """
    count = identities * images
    pictures = 2 * uniform(f"images {identities}x{images}x{height}x{width}", (count, 3, height, width))
    if alternating:
        labels = torch.arange(identities).repeat_interleave(images)
        infrared = torch.arange(count) % 2 == 0
    else:
        labels = torch.arange(identities).repeat_interleave(images // 2).repeat(2)
        infrared = torch.arange(count) >= count // 2
    return {"images": pictures, "labels": labels, "infrared": infrared}
