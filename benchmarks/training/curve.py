"""The first steps of training from the same weights on the same batches: the released code, ours, ours in bf16.

What differs between two runs of one contestant is dropout in the modality discriminators: that is the noise in which
the difference between contestants must lie. Small images, full ResNet-50.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import torch
from training.contestants import Size, make_batch, make_run
from training.released import ReleasedStep

from vireid.core.seeding import seed_everything
from vireid.core.types import Batch
from vireid.models.idkl import IDKL
from vireid.models.importers.load import convert_state
from vireid.overrides import compose
from vireid.training.allocator import keep_freed_memory

SIZE = Size(identities=8, images=4, height=96, width=48, classes=395)
STEPS, SEEDS = 16, 4


def training_batches() -> list[Batch]:
    """Batches of identities that can be told apart: noise around a pattern of each."""
    patterns = make_batch(replace(SIZE, images=1), key=1).images.repeat_interleave(SIZE.images, dim=0)
    batches = [make_batch(SIZE, key=2 + step) for step in range(STEPS)]
    return [replace(batch, images=0.5 * batch.images + patterns) for batch in batches]


def released_curve(start: ReleasedStep, batches: Sequence[Batch], checkout: Path, seed: int) -> list[float]:
    """Losses of the released code from the weights of ``start``."""
    step = ReleasedStep(checkout, SIZE.classes)
    step.model.load_state_dict(start.model.state_dict())
    seed_everything("curve", seed)
    return [step(batch.images, batch.labels, batch.infrared) for batch in batches]


def our_curve(start: IDKL, batches: Sequence[Batch], precision: str, seed: int) -> list[float]:
    """Losses of ours from the weights of ``start``."""
    losses: list[float] = []
    run = make_run(deepcopy(start), batches, SIZE, precision, epochs=1, seed=seed)
    run.epoch(None, None, lambda *event: losses.append(event[4]), None)
    run.close()
    return losses


def as_ours(released: ReleasedStep) -> IDKL:
    """The released weights in our model, with the loss weights that the released code has at this batch size."""
    model = IDKL(compose(["model=idkl_released_other_batch"]).model, SIZE.classes)
    model.load_state_dict(convert_state(released.model.state_dict(), "idkl", "released model").model.state_dict())
    return model


def main() -> None:
    """Print every curve (contestant → seeds × steps) as JSON. Arguments: checkout, threads."""
    checkout = Path(sys.argv[1])
    torch.set_num_threads(int(sys.argv[2]))
    seed_everything("benchmark")
    start = ReleasedStep(checkout, SIZE.classes)
    model, batches = as_ours(start), training_batches()
    with keep_freed_memory(torch.device("cpu")):
        curves = {
            "released fp32": [released_curve(start, batches, checkout, seed) for seed in range(SEEDS)],
            "ours fp32": [our_curve(model, batches, "fp32", seed) for seed in range(SEEDS)],
            "ours bf16": [our_curve(model, batches, "bf16", seed) for seed in range(SEEDS)],
        }
    sys.stdout.write(json.dumps(curves) + "\n")


if __name__ == "__main__":
    main()
