"""How much attention each position of a map receives, of the modules of the suite that attend over positions.

The modules compute their output without ever forming the weights; here these are formed from the queries and keys that
pass through, so that nothing in the models has to be changed for it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vireid.core.types import Batch
from vireid.models.attention import CrossAttention, SelfAttention
from vireid.models.two_stream import NonLocal
from vireid.models.vit_trunk import VisionTrunk


@dataclass(frozen=True, slots=True)
class AttentionMap:
    """What one module attends to."""

    module: str  # its name in the model
    kind: str  # in words
    received: Tensor  # B×h×w; the mean over positions is 1 where weights sum to 1


def attention_maps(model: nn.Module, batch: Batch) -> list[AttentionMap]:
    """Received attention of every attending module of a model; empty where it has none.

    Softmax attention: the weight that a position gets, averaged over heads and querying positions, times the number of
    positions. Non-local blocks have no softmax: the mean magnitude of a position's affinities.

    Args:
        model: in evaluation mode.
        batch: images that go through its ``forward``, training-only parts included.
    """
    found = [(name, part) for name, part in model.named_modules() if type(part) in _READERS]
    if not found:
        return []
    readers = [_READERS[type(part)](part) for _, part in found]
    handles = [handle for reader in readers for handle in reader.handles]
    try:
        with torch.inference_mode():
            model(batch)
    finally:
        for handle in handles:
            handle.remove()
    return [
        AttentionMap(name, reader.kind, reader.received())
        for (name, _), reader in zip(found, readers, strict=True)
        if reader.seen
    ]


class _Reader:
    """Keeps what passes through parts of a module in one forward pass."""

    kind: str

    def __init__(self, module: Any) -> None:
        self.module = module
        self.seen: dict[str, Tensor] = {}
        self.handles: list[Any] = []

    def keep(self, name: str, part: nn.Module) -> None:
        def hook(_: nn.Module, __: Any, output: Tensor) -> None:
            self.seen[name] = output.detach()

        self.handles.append(part.register_forward_hook(hook))

    def keep_input(self, name: str, position: int) -> None:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self.seen[name] = inputs[position].detach()

        self.handles.append(self.module.register_forward_pre_hook(hook))

    def received(self) -> Tensor:
        raise NotImplementedError

    def softmax(self, query: Tensor, key: Tensor, source: Tensor) -> Tensor:
        """Of B×N×inner queries over B×M×inner keys, as B×h×w of the map that the keys are of."""
        heads = self.module.heads
        query, key = (x.reshape(*x.shape[:2], heads, -1).transpose(1, 2) for x in (query, key))
        weights: Tensor = (query @ key.transpose(2, 3) * query.shape[-1] ** -0.5).softmax(-1)
        return (weights.mean((1, 2)) * key.shape[2]).reshape(len(source), *source.shape[2:])


class _SelfReader(_Reader):
    kind = "self-attention over positions of the final map"

    def __init__(self, module: SelfAttention) -> None:
        super().__init__(module)
        self.keep("projected", module.query_key_value)
        self.keep_input("map", 0)

    def received(self) -> Tensor:
        query, key, _ = self.seen["projected"].chunk(3, dim=-1)
        return self.softmax(query, key, self.seen["map"])


class _CrossReader(_Reader):
    kind = "cross-attention of the shared map over the purified specific map (training only)"

    def __init__(self, module: CrossAttention) -> None:
        super().__init__(module)
        self.keep("query", module.query)
        self.keep("source", module.key_value)
        self.keep_input("map", 1)

    def received(self) -> Tensor:
        key, _ = self.seen["source"].chunk(2, dim=-1)
        return self.softmax(self.seen["query"], key, self.seen["map"])


class _NonLocalReader(_Reader):
    kind = "non-local block, magnitude of affinities"

    def __init__(self, module: NonLocal) -> None:
        super().__init__(module)
        self.keep("theta", module.theta)
        self.keep("phi", module.phi)

    def received(self) -> Tensor:
        theta, phi = self.seen["theta"].flatten(2), self.seen["phi"].flatten(2)
        affinity = theta.transpose(1, 2) @ phi
        return affinity.abs().mean(1).reshape(len(phi), *self.seen["phi"].shape[2:])


class _VisionReader(_Reader):
    kind = "self-attention of the last block, from the class token"

    def __init__(self, module: VisionTrunk) -> None:
        super().__init__(module)
        self.module = module.network.blocks[-1].attn
        self.keep("projected", self.module.qkv)
        self.keep("patches", module.network.patch_embed)

    def received(self) -> Tensor:
        """Among patches alone: what the class token gives itself is left out, so that the mean is 1 here too."""
        query, key, _ = self.seen["projected"].chunk(3, dim=-1)
        return self.softmax(query[:, :1], key[:, 1:], self.seen["patches"])


_READERS: dict[type[nn.Module], Callable[[Any], _Reader]] = {
    SelfAttention: _SelfReader,
    CrossAttention: _CrossReader,
    NonLocal: _NonLocalReader,
    VisionTrunk: _VisionReader,
}
