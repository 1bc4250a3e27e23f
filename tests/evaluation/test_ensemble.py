import torch
import torch.nn.functional as F

from vireid.evaluation.scorers import modality_ensemble


def test_the_ensemble_ranks_by_the_sum_of_cosines():
    torch.manual_seed(0)
    fused, infrared, text = torch.randn(3, 7, 16)
    gallery = torch.randn(9, 16)
    expected = torch.zeros(7, 9)
    for q in range(7):
        for g in range(9):
            for part in (fused, infrared, text):
                expected[q, g] += F.cosine_similarity(part[q], gallery[g], dim=0)
    joined = modality_ensemble([fused, infrared, text])
    assert torch.allclose(joined @ F.normalize(gallery).T, expected, atol=1e-6)
    cosine = F.normalize(joined) @ F.normalize(gallery).T
    assert torch.equal(cosine.argsort(1), expected.argsort(1))
