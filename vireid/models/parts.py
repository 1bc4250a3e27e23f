"""What one trained model has in common with another method's, as the beginning of it.

A model class says in an attribute ``parts`` which of its modules play which part (``stem``, ``branch``, ``neck``,
``identity``: the linear layer from embeddings to identity logits), for each the deployed branch's first, then those of
other branches, which begin as copies of it.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

Parts = Mapping[str, tuple[str, ...]]
_TRUNK = ("stem", "branch")  # without which two models have nothing in common


def load_parts(state: Mapping[str, Tensor], theirs: Parts, model: nn.Module, ours: Parts) -> None:
    """Load the parts that another model and ``model`` have in common; everything else of ``model`` keeps its start.

    Args:
        state: all weights of the other model, trained on the same identities.
        theirs: its parts.
        model: gets the weights.
        ours: its parts; modules that its configuration leaves out are skipped.

    Raises:
        RuntimeError: a ResNet of another depth, width or kind of norms, or none at all.
    """
    modules = dict(model.named_modules())
    for part, places in ours.items():
        source = f"{theirs[part][0]}."
        weights = {name.removeprefix(source): value for name, value in state.items() if name.startswith(source)}
        found = [modules[place] for place in places if place in modules]
        if part in _TRUNK and not (weights and found):
            raise RuntimeError(f"one of the two backbones is no ResNet of the suite's: it has no {part}")
        for module in found if weights else []:
            module.load_state_dict(weights, strict=True)
