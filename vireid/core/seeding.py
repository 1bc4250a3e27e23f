"""Counter-based randomness: a draw is a pure function of its key, never of what was drawn before.

Keys are (seed, stream name, epoch, step, …). The position of a run is therefore two integers, a resumed run is the
same run, and the number of workers decides nothing.
"""

import hashlib
import random

import numpy as np


def key_to_int(*key: int | str) -> int:
    """Hash a key of integers and strings to 128 bits (BLAKE2b), stable over machines and Python versions."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in key)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")


def generator(*key: int | str) -> np.random.Generator:
    """Return a NumPy generator (Philox) for a key such as ``(seed, "sampler", epoch, step)``."""
    return np.random.Generator(np.random.Philox(key=key_to_int(*key)))


def seed_everything(*key: int | str) -> None:
    """Seed the global generators of Python, NumPy and torch (all devices) from a key.

    Called at the start of every epoch, so that whatever draws from a global generator (dropout) is a function of the
    epoch too.
    """
    import torch  # whoever draws with NumPy alone does without torch's start

    value = key_to_int(*key)
    random.seed(value)
    np.random.seed(value % (2**32))  # noqa: NPY002 - third-party code draws from the global generator
    torch.manual_seed(value % (2**63))
