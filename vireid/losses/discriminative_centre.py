"""Discriminative centre loss of PMT (Lu et al., AAAI 2023), Euclidean and un-normalised."""

import torch
from torch import Tensor

from vireid.losses.numeric import euclidean, full_precision


def discriminative_centre(features: Tensor, labels: Tensor) -> Tensor:
    """Distance of images to the centre of their identity ÷ distance of centres to the nearer images of others.

    A centre is the mean of an identity's rows of both modalities. Above: the mean over all rows. Below: for each
    identity the mean over those rows of others that are no farther from its centre than they are on average, then the
    mean over identities.

    Args:
        features: B×D, un-normalised.
        labels: B, identities; of a single one the loss is 0, as there are no others.
    """
    features = full_precision(features)
    names, row_of = labels.unique(return_inverse=True)  # type: ignore[no-untyped-call]
    member = names[:, None] == labels[None, :]  # P×B
    if len(names) == 1:
        return features.sum() * 0
    centres = member.to(features.dtype) @ features / member.sum(dim=1, keepdim=True)
    distances = euclidean(torch.cat([centres, features]))[: len(names), len(names) :]
    own = distances[row_of, torch.arange(len(labels), device=labels.device)].mean()
    strangers = distances.masked_fill(member, 0.0)
    average = strangers.sum(dim=1, keepdim=True) / (~member).sum(dim=1, keepdim=True)
    nearest = distances.masked_fill(member, torch.inf).amin(dim=1, keepdim=True)
    near = ~member & (
        distances <= average.maximum(nearest)
    )  # an average of equal distances may round to less than each
    loss: Tensor = own / (distances.masked_fill(~near, 0.0).sum(dim=1) / near.sum(dim=1)).mean()
    return loss
