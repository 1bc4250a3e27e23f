"""Float32 is float32, also on an accelerator whose convolutions PyTorch would round to TF32."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def exact_float32(device: torch.device) -> Iterator[None]:
    """Multiply float32 numbers as they are inside, and as before afterwards; does nothing on a CPU.

    From Ampere on PyTorch's own default has convolutions in TF32, 10 bits of mantissa instead of 23, and matrix
    products in float32. What is recorded as fp32 has neither; precisions of autocast are not touched.
    """
    if device.type != "cuda":
        yield
        return
    convolutions, products = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = convolutions, products
