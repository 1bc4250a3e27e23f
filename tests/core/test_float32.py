import pytest
import torch

from vireid.core.float32 import exact_float32


def flags() -> tuple[bool, bool]:
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


@pytest.fixture(params=[(True, False), (True, True), (False, False)])
def before(request):
    found = flags()
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = request.param
    yield request.param
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = found


def test_no_tf32_inside_and_as_before_afterwards(before):
    with exact_float32(torch.device("cuda")):
        assert flags() == (False, False)
    assert flags() == before


def test_a_processor_needs_nothing(before):
    with exact_float32(torch.device("cpu")):
        assert flags() == before
