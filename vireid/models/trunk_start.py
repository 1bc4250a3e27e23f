"""The ResNet of one trained model as the beginning of another's, as ImageNet weights would be.

A model class names the parts of its ResNet in an attribute ``trunk``: the stem, the branch that is deployed, and
branches that begin as copies of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn


def load_trunk_of(state: Mapping[str, Tensor], theirs: Sequence[str], model: nn.Module, ours: Sequence[str]) -> None:
    """Load another model's ResNet; everything else of ``model`` keeps its start.

    Args:
        state: all weights of the other model.
        theirs: names of its parts, stem and deployed branch first.
        model: gets the weights.
        ours: names of its parts; those that its configuration leaves out are skipped.

    Raises:
        RuntimeError: a ResNet of another depth, width or kind of norms, or none at all.
    """
    modules = dict(model.named_modules())
    if not {*ours[:2]} <= modules.keys():
        raise RuntimeError("the backbone to train is no ResNet of the suite's")
    for position, part in enumerate(ours):
        if part in modules:
            source = f"{theirs[min(position, 1)]}."
            weights = {name.removeprefix(source): value for name, value in state.items() if name.startswith(source)}
            if not weights:
                raise RuntimeError(f"no '{source}*' among them: its backbone is no ResNet of the suite's")
            modules[part].load_state_dict(weights, strict=True)
