"""How long each module of PyTorch's eager mode takes, by hooks around its forward."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter_ns
from typing import Any

from torch import Tensor, nn

from vireid.profiling.runtimes.layer_times import LayersUntoldError, LayerTime, LayerTimes, Repeat, calm, mean, typical


def module_times(module: nn.Module, run: Callable[[Tensor], Any], example: Tensor, repeat: Repeat) -> LayerTimes:
    """Time every module of ``module``, which ``run`` calls, on ``example`` (B×3×H×W): its forward less its children's.

    What a block computes between its children (a sum, a reshape) is the block's own time.

    Raises:
        LayersUntoldError: an accelerator, whose kernels run after the call that starts them has returned.
    """
    if example.device.type != "cpu":
        raise LayersUntoldError(f"hooks time calls, and on {example.device} kernels run after their call has returned")
    plain = repeat(lambda: run(example))
    clock = _Clock()
    with _hooked(module, clock):
        profiled = repeat(lambda: clock.around(lambda: run(example)))
    rows, chosen = clock.rows[-len(profiled) :], calm(profiled)
    paths = {id(inner): path for path, inner in module.named_modules()}
    layers = [
        LayerTime(paths[inner], mean([row.get(inner, 0) / 1e9 for row in rows], chosen))
        for inner in dict.fromkeys(inner for row in rows for inner in row)
    ]
    return LayerTimes(layers, mean(profiled, chosen), typical(plain), "hooks around every module")


class _Clock:
    """Keeps, of each forward, the nanoseconds that every module (by ``id``) spent outside its children."""

    def __init__(self) -> None:
        self.rows: list[dict[int, int]] = []
        self._running: list[int] = []
        self._since = 0

    def around(self, forward: Callable[[], object]) -> object:
        """Call a forward as a row of its own."""
        self.rows.append({})
        return forward()

    def enter(self, module: nn.Module, _inputs: Any) -> None:
        self._charge()
        self._running.append(id(module))
        self.rows[-1].setdefault(id(module), 0)

    def leave(self, _module: nn.Module, _inputs: Any, _output: Any) -> None:
        self._charge()
        self._running.pop()

    def _charge(self) -> None:
        """Give the time since the last event to the module that ran."""
        now = perf_counter_ns()
        if self._running:
            self.rows[-1][self._running[-1]] += now - self._since
        self._since = now


@contextmanager
def _hooked(module: nn.Module, clock: _Clock) -> Iterator[None]:
    handles = []
    for inner in module.modules():
        handles.append(inner.register_forward_pre_hook(clock.enter))
        handles.append(inner.register_forward_hook(clock.leave, always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
