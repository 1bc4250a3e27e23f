import numpy as np
import pytest

from vireid.core.errors import UserError
from vireid.data.synthetic.config import SyntheticConfig
from vireid.data.synthetic.credibility import credibility, credibility_of_dataset, rank1
from vireid.data.synthetic.dataset import write_dataset


def test_rank1_equals_a_naive_loop_with_ties_by_expectation():
    rng = np.random.default_rng(0)
    similarity = rng.integers(0, 4, (30, 40)).astype(float)
    identity = rng.integers(0, 5, 30), rng.integers(0, 5, 40)
    match = identity[0][:, None] == identity[1][None, :]
    allowed = rng.random((30, 40)) < 0.5
    allowed[3] &= ~match[3]
    hits, chances = [], []
    for q in range(30):
        row = [g for g in range(40) if allowed[q, g]]
        if not any(match[q, g] for g in row):
            continue
        best = max(similarity[q, g] for g in row)
        tied = [g for g in row if similarity[q, g] == best]
        hits.append(sum(match[q, g] for g in tied) / len(tied))
        chances.append(sum(match[q, g] for g in row) / len(row))
    figure = rank1(similarity, identity[0], match, allowed)
    assert figure.queries == len(hits) < 30
    assert figure.rank1 == pytest.approx(np.mean(hits), abs=1e-12)
    assert figure.chance == pytest.approx(np.mean(chances), abs=1e-12)
    assert figure.low < figure.rank1 < figure.high


def test_no_match_anywhere_is_refused():
    with pytest.raises(UserError, match="no image has a second image"):
        rank1(np.zeros((2, 2)), np.arange(2), np.zeros((2, 2), dtype=bool), np.ones((2, 2), dtype=bool))


def planted(leak: str | None) -> dict[str, float]:
    """Noise images of 20 people; ``leak`` names the one channel that tells the person."""
    rng = np.random.default_rng(1)
    identity = np.repeat(np.arange(20), 6)
    modality = np.tile([0, 0, 0, 1, 1, 1], 20)
    camera = np.tile([1, 2, 4, 3, 6, 6], 20)
    count = len(identity)
    code = rng.standard_normal((20, 48, 24))
    images = rng.integers(0, 256, (count, 48, 24, 3)).astype(np.uint8)
    masks = np.zeros((count, 48, 24), dtype=bool)
    masks[:, 8:44, 6:18] = True
    masks &= rng.random(masks.shape) < 0.9
    if leak == "background":
        pattern = np.clip(128 + 60 * code[identity], 0, 255).astype(np.uint8)
        images = np.where(masks[..., None], images, pattern[..., None])
    if leak == "silhouette":
        masks = masks & (code[identity] > -1.0)
    size = rng.standard_normal((count, 1)) * (0.01 if leak == "file_size" else 1.0)
    if leak == "file_size":
        size += identity[:, None]
    metadata = {"file_size": size, "box": rng.standard_normal((count, 4))}
    own = [frozenset({f"{name}: {code[i, k, 0] > 0}" for k, name in enumerate("abcdefghijkl")}) for i in identity]
    figures = credibility(images, masks, identity, modality, camera, metadata, own)
    return {name: figure.rank1 for name, figure in figures.items()}


def test_each_planted_leak_is_found_and_by_its_own_figure():
    clean = planted(None)
    for name in ("across_background_pixels", "across_silhouette", "across_file_size", "across_raw_pixels"):
        assert clean[name] < 0.2
    assert planted("background")["across_background_pixels"] > 0.9
    outlined = planted("silhouette")
    assert outlined["across_silhouette"] > 0.9
    assert outlined["across_background_pixels"] < 0.2, "an outline is not background"
    assert planted("file_size")["across_file_size"] > 0.9
    assert clean["across_shared_attributes"] > 0.9


@pytest.mark.parametrize("layout", ["sysu", "regdb", "llcm"])
def test_a_dataset_on_disk_is_measured(layout, datasets):
    figures = credibility_of_dataset(datasets[layout])
    assert {"across_raw_pixels", "across_background_pixels", "across_metadata", "visible_stripes"} <= figures.keys()
    for figure in figures.values():
        assert 0 <= figure.rank1 <= 1
        assert 0 < figure.chance < 1
    assert figures["across_shared_attributes"].rank1 == 1.0


def test_what_is_no_synthetic_dataset_or_split_is_refused(datasets, tmp_path):
    with pytest.raises(UserError, match="not a synthetic dataset"):
        credibility_of_dataset(tmp_path)
    with pytest.raises(UserError, match="no images in split 'dev'"):
        credibility_of_dataset(datasets["sysu"], "dev")


@pytest.mark.check
@pytest.mark.parametrize("layout", ["sysu", "regdb", "llcm"])
def test_a_rendered_dataset_is_credible(layout, tmp_path):
    config = SyntheticConfig(layout=layout, train_ids=1, val_ids=40, test_ids=1, height=96, width=48, seed=11)
    figures = credibility_of_dataset(write_dataset(tmp_path / layout, config))
    at_chance = ("background_pixels", "background_histogram", "file_size", "order", "box", "metadata")
    for name in at_chance:
        figure = figures[f"across_{name}"]
        assert figure.low - 0.02 <= figure.chance <= figure.high + 0.02, (name, figure)
    assert figures["across_raw_pixels"].rank1 < figures["across_raw_pixels"].chance + 0.06
    assert figures["across_shared_attributes"].rank1 >= 0.9
    for modality in ("visible", "infrared"):
        assert figures[f"{modality}_stripes"].rank1 > 0.6
        assert figures[f"{modality}_stripes"].rank1 > figures["across_stripes"].rank1 + 0.5
