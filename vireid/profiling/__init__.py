"""What a deployed model costs: parameters, MACs, latency, memory, and the machine they were measured on."""

from __future__ import annotations

from vireid.core.registry import Registry

COUNTERS = Registry(
    "counter",
    {
        "torch": "vireid.profiling.counters.torch_counter:TorchCounter",
        "fvcore": "vireid.profiling.counters.fvcore_counter:FvcoreCounter",
        "thop": "vireid.profiling.counters.thop_counter:ThopCounter",
    },
)
RUNTIMES = Registry("runtime", {"eager": "vireid.profiling.runtimes.eager:Eager"})
