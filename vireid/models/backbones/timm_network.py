"""Convolutional networks of timm (Wightman, github.com/huggingface/pytorch-image-models), which the extra brings."""

from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from vireid.core.errors import UserError, did_you_mean, optional_module
from vireid.models.backbones import LastStride
from vireid.models.backbones.networks import load_weights
from vireid.models.resnet import match_memory

_PROBE = (64, 32)  # pixels


class TimmNetwork(nn.Module):
    """A network of timm up to its final map.

    Args:
        name: as ``timm.list_models()`` has it.
        last_stride: 1 asks timm for a map of H/16 rows, which it gives by dilation and not for every network.

    Raises:
        UserError: timm is not installed, the name is unknown, or the network gives no such map.
    """

    def __init__(self, name: str, last_stride: LastStride) -> None:
        super().__init__()
        timm = optional_module("timm", "backbones", "use a ResNet or MobileNetV3")
        if not timm.is_model(name):
            raise UserError(f"backbone timm/{name}: timm {timm.__version__} has no such model{_hint(timm, name)}")
        stride: dict[str, int] = {} if last_stride == 2 else {"output_stride": 16}
        try:
            self.network: nn.Module = timm.create_model(name, num_classes=0, global_pool="", **stride)
            self.features, self._after_the_map = self._only_the_map()
        except (TypeError, ValueError, AssertionError, NotImplementedError, RuntimeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(
                f"backbone timm/{name} gives no final map of any image size at last_stride={last_stride} ({reason}); "
                "use a convolutional network, or last_stride=2"
            ) from error

    def forward(self, images: Tensor) -> Tensor:
        """B×3×H×W → B×D×h×w."""
        result: Tensor = cast(Any, self.network).forward_features(match_memory(self.network, images))
        return result

    def last_parameters(self) -> list[nn.Parameter]:
        """Those of the last part of the network that has any."""
        parts = [list(part.parameters()) for part in self.network.children()]
        return next(part for part in reversed(parts) if part)

    def load(self, path: Path) -> None:
        """Load timm's weights for this network, without its classifier and what else comes after the map."""
        classifier = cast(Any, self.network).pretrained_cfg.get("classifier") or ()
        names = (classifier,) if isinstance(classifier, str) else tuple(classifier)
        load_weights(path, self.network, dropped=tuple(f"{name}." for name in (*names, *self._after_the_map)))

    def _only_the_map(self) -> tuple[int, list[str]]:
        """Channels of the map, and the names of the parts that come after it, which are taken away.

        Seen on an empty image, in evaluation mode; draws no random number.
        """
        network = cast(Any, self.network)
        network.eval()
        result = network.forward_features(torch.zeros(1, 3, *_PROBE))
        if not isinstance(result, Tensor) or result.dim() != 4:
            raise ValueError("its features are no map of channels, rows and columns")
        result.sum().backward()  # type: ignore[no-untyped-call]
        after = [
            name
            for name, part in network.named_children()
            if (own := list(part.parameters())) and all(parameter.grad is None for parameter in own)
        ]
        for name in after:
            setattr(network, name, nn.Identity())
        network.zero_grad(set_to_none=True)
        network.train()
        return int(result.shape[1]), after


def _hint(timm: Any, name: str) -> str:
    hint = did_you_mean(name, timm.list_models())
    return hint if "did you mean" in hint else "; timm.list_models() names them"
