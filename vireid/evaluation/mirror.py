"""Embeddings of an image together with its mirror image, by the rules of ``vireid.evaluation.test_time``."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vireid.core.types import Modality
from vireid.evaluation.extraction import Deployable
from vireid.evaluation.test_time import MAP_WEIGHTS, TestTimeRule


class WithMirror(nn.Module):
    """Images to features whose cosine is the rule's similarity; see ``ModelProtocol.test_time``.

    The sum of maps' inner products is no cosine of them, as the sum of two unit features is the longer the more alike
    they are. Here every feature is filled up to the length that it could have at most, by one value that query and
    gallery have in different places: their inner product stays, and the cosine is the sum ÷ its largest value.

    Args:
        embedder: B×3×H×W → B×(M·D), M features side by side.
        modality: of its images; queries are of one and gallery images of the other.
        rule: but ``none``.
        maps: what each of the M features is.
    """

    weights: Tensor

    def __init__(self, embedder: nn.Module, modality: Modality, rule: TestTimeRule, maps: Sequence[str]) -> None:
        super().__init__()
        self.embedder, self.place, self.count = embedder, int(modality), len(maps)
        self.summed = rule != "flip"
        weights = [MAP_WEIGHTS[name] if rule == "flip-weighted" else 1.0 for name in maps]
        self.register_buffer("weights", torch.tensor(weights))

    def forward(self, images: Tensor) -> Tensor:
        """B×3×H×W → B×(M·D), with two more values where similarities are summed."""
        both = self.embedder(torch.cat([images, images.flip(3)])).float()
        units = nn.functional.normalize(both.view(2, len(images), self.count, -1), dim=3)
        added = units.sum(dim=0)  # B×M×D, of lengths 0 to 2
        if not self.summed:
            return nn.functional.normalize(added, dim=2).flatten(1)
        weighted = (added * self.weights.sqrt()[:, None]).flatten(1)
        rest = (4 * self.weights.sum() - weighted.square().sum(dim=1)).clamp(min=0).sqrt()
        filling = torch.zeros(len(images), len(Modality), device=images.device)
        filling[:, self.place] = rest
        return torch.cat([weighted, filling], dim=1)


def with_mirror(model: Deployable, rule: TestTimeRule, maps: Sequence[str]) -> dict[Modality, WithMirror]:
    """What a model deploys for each modality, under a rule other than ``none``."""
    return {m: WithMirror(model.deployable(m), m, rule, maps) for m in Modality}
