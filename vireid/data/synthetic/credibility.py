"""Shortcuts through a synthetic dataset, measured: what does *not* identify a person, and what does.

Every figure is a rank-1 retrieval rate by a simple feature, with the chance level beside it. A credible dataset has
raw pixels, background, file size, order and box at chance across modalities, silhouettes well below a trained model,
retrieval within a modality far easier than across, and the true shared attributes near certainty.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from vireid.core.config import Strict
from vireid.core.errors import UserError
from vireid.core.types import BoolArray, ByteArray, FloatArray, IntArray, Modality
from vireid.data.images import read_image
from vireid.data.synthetic.config import read_card
from vireid.data.synthetic.dataset import ATTRIBUTES, SILHOUETTES
from vireid.data.synthetic.rendering_worker import decode_mask
from vireid.statistics.bootstrap import intervals, resampled

Similarity = Callable[[IntArray, IntArray], FloatArray]

SMALL = (48, 24)  # height and width at which pixels are compared
STRIPES = 6
DRAWS = 2000  # for an interval
_BINS = 4


class Figure(Strict):
    """A rank-1 rate with what is needed to read it.

    ``chance`` is the rate of a random ranking of the same gallery; ``low`` and ``high`` bound the rate with 95 %
    confidence by resampling the queried identities, whose images are not independent.
    """

    rank1: float
    low: float
    high: float
    chance: float
    queries: int
    gallery: int


def rank1(similarity: FloatArray, identity: IntArray, match: BoolArray, allowed: BoolArray) -> Figure:
    """Share of queries whose most similar gallery image is of the same identity, ties counted by their expectation.

    Args:
        similarity: Q×G, larger is more alike.
        identity: Q, of the queries.
        match: Q×G, same identity.
        allowed: Q×G, gallery images that the query may be compared with. A query without an allowed match is left out.

    Raises:
        UserError: no query has a match.
    """
    usable = (match & allowed).any(axis=1)
    if not usable.any():
        raise UserError("credibility: no image has a second image of the same person to be found; render more of each")
    similarity, identity, match, allowed = similarity[usable], identity[usable], match[usable], allowed[usable]
    similarity = np.where(allowed, similarity, -np.inf)
    best = similarity.max(axis=1, keepdims=True)
    tied = similarity >= best - 1e-9 * np.maximum(1.0, np.abs(best))
    hits = (tied & match).sum(axis=1) / tied.sum(axis=1)
    chance = (match & allowed).sum(axis=1) / allowed.sum(axis=1)
    _, person = np.unique(identity, return_inverse=True)
    hit_counts, asked = (np.bincount(person, weights=weights).astype(np.float64) for weights in (hits, None))
    (rate,) = intervals(resampled(hit_counts[None, None], asked[None], DRAWS), len(asked))
    return Figure(
        rank1=float(hits.mean()),
        low=rate.low,
        high=rate.high,
        chance=float(chance.mean()),
        queries=len(match),
        gallery=match.shape[1],
    )


def credibility(
    images: ByteArray,
    masks: BoolArray,
    identity: IntArray,
    modality: IntArray,
    camera: IntArray,
    metadata: dict[str, FloatArray],
    attributes: Sequence[frozenset[str]],
    *,
    excluded: frozenset[tuple[int, int]] = frozenset(),
) -> dict[str, Figure]:
    """Measure the shortcuts on N images.

    Args:
        images: N×h×w×3, all at the same small size.
        masks: N×h×w, true on the person.
        identity: N.
        modality: N, values of ``Modality``.
        camera: N.
        metadata: named N×k arrays of what is known of a file without opening it (size, order, box).
        attributes: N sets of the attributes that both modalities show.
        excluded: (query camera, gallery camera) pairs not compared across modalities; SYSU-MM01's protocol leaves out
            camera 2 for queries of camera 3, which stands in the same place.

    Returns:
        Figures by name. ``across_*`` have infrared queries and a visible gallery; ``visible_*`` and ``infrared_*`` stay
        within a modality, across cameras where the modality has several, else across images.
    """
    visible = np.flatnonzero(modality == int(Modality.VISIBLE))
    infrared = np.flatnonzero(modality == int(Modality.INFRARED))
    grey = images.astype(np.float64).mean(axis=3)
    count = len(images)
    stripes = _stripe_histograms(grey[..., None], masks)
    features: dict[str, Similarity] = {
        "across_raw_pixels": _cosine(grey.reshape(count, -1), centre=True),
        "across_stripes": _cosine(stripes),
        "across_silhouette": _cosine(masks.reshape(count, -1).astype(np.float64), centre=True),
        "across_background_pixels": _common_background(grey, ~masks),
        "across_background_histogram": _within_modality_distance(_background_statistics(grey, ~masks), modality),
        "across_shared_attributes": _jaccard(attributes),
    }
    for name, values in metadata.items():
        features[f"across_{name}"] = _within_modality_distance(values, modality)
    features["across_metadata"] = _within_modality_distance(np.hstack(list(metadata.values())), modality)

    match = identity[infrared][:, None] == identity[visible][None, :]
    allowed = np.ones_like(match)
    for query_camera, gallery_camera in excluded:
        allowed &= ~((camera[infrared] == query_camera)[:, None] & (camera[visible] == gallery_camera)[None, :])
    people = identity[infrared]
    figures = {
        name: rank1(similarity(infrared, visible), people, match, allowed) for name, similarity in features.items()
    }

    colour = _stripe_histograms(images.astype(np.float64), masks)
    for name, rows, histogram in (("visible", visible, colour), ("infrared", infrared, stripes)):
        match = identity[rows][:, None] == identity[rows][None, :]
        allowed = ~np.eye(len(rows), dtype=bool)
        if len(np.unique(camera[rows])) > 1:
            allowed &= camera[rows][:, None] != camera[rows][None, :]
        figures[f"{name}_raw_pixels"] = rank1(features["across_raw_pixels"](rows, rows), identity[rows], match, allowed)
        figures[f"{name}_stripes"] = rank1(_cosine(histogram)(rows, rows), identity[rows], match, allowed)
    return figures


def credibility_of_dataset(root: Path, split: str = "val") -> dict[str, Figure]:
    """Measure the shortcuts on one split (``dev`` is ``val``) of a synthetic dataset on disk.

    Raises:
        UserError: ``root`` is no synthetic dataset, or the split is empty.
    """
    card = read_card(root)
    if card is None:
        raise UserError(f"{root}: not a synthetic dataset; credibility needs the renderer's own masks and attributes")
    table = pd.read_parquet(root / ATTRIBUTES, filters=[("split", "==", split)])
    if table.empty:
        raise UserError(f"{root}: no images in split '{split}'; valid: train, val, test")
    stored = pd.read_parquet(root / SILHOUETTES).set_index("path")["silhouette"]
    height, width = SMALL
    images = np.empty((len(table), height, width, 3), dtype=np.uint8)
    masks = np.empty((len(table), height, width), dtype=bool)
    for row, path in enumerate(table["path"]):
        image = read_image(root, path)
        images[row] = np.asarray(image.resize((width, height), Image.Resampling.BOX))
        mask = Image.fromarray(decode_mask(stored[path]).astype(np.uint8) * 255)
        masks[row] = np.greater_equal(np.asarray(mask.resize((width, height), Image.Resampling.BOX)), 64)
    box = table[["box_left", "box_top", "box_right", "box_bottom"]].to_numpy(np.float64)
    return credibility(
        images,
        masks,
        table["identity"].to_numpy(np.int64),
        table["modality"].to_numpy(np.int64),
        table["camera"].to_numpy(np.int64),
        {
            "file_size": table[["file_size"]].to_numpy(np.float64),
            "order": table[["number"]].to_numpy(np.float64),
            "box": box,
        },
        [frozenset(names) for names in table["shared"]],
        excluded=frozenset({(3, 2)}) if card["specification"]["layout"] == "sysu" else frozenset(),
    )


def _cosine(features: FloatArray, *, centre: bool = False) -> Similarity:
    """Cosine of the rows of N×D; with ``centre``, of each row without its mean (its contrast)."""
    if centre:
        features = features - features.mean(axis=1, keepdims=True)
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    return lambda queries, gallery: unit[queries] @ unit[gallery].T


def _within_modality_distance(features: FloatArray, modality: IntArray) -> Similarity:
    """Negative squared distance of N×D features standardised within each modality, as a shortcut seeker would do."""
    standard = np.empty_like(features)
    for value in np.unique(modality):
        rows = modality == value
        spread = features[rows].std(axis=0)
        standard[rows] = (features[rows] - features[rows].mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    squares = (standard**2).sum(axis=1)
    return lambda queries, gallery: (
        2 * standard[queries] @ standard[gallery].T - squares[queries][:, None] - squares[gallery][None, :]
    )


def _common_background(grey: FloatArray, background: BoolArray) -> Similarity:
    """Negative mean squared difference over the pixels (N×h×w) that are background in both images of a pair.

    Filling the person's place with a constant would leave its outline to be seen; this does not.
    """
    count = len(grey)
    weight = background.reshape(count, -1).astype(np.float64)
    area = np.maximum(weight.sum(axis=1, keepdims=True), 1.0)
    pixels = grey.reshape(count, -1)
    pixels = pixels - (weight * pixels).sum(axis=1, keepdims=True) / area
    spread = np.sqrt((weight * pixels**2).sum(axis=1, keepdims=True) / area)
    pixels = weight * pixels / np.maximum(spread, 1e-12)

    def similarity(queries: IntArray, gallery: IntArray) -> FloatArray:
        total = (
            pixels[queries] ** 2 @ weight[gallery].T
            + weight[queries] @ (pixels[gallery] ** 2).T
            - 2 * pixels[queries] @ pixels[gallery].T
        )
        mean: FloatArray = total / np.maximum(weight[queries] @ weight[gallery].T, 1.0)
        return -mean

    return similarity


def _background_statistics(grey: FloatArray, background: BoolArray) -> FloatArray:
    """Mean, deviation and a 16-bin histogram of the background's grey values: N×18."""
    edges = np.linspace(0, 256, 17)
    rows = []
    for image, mask in zip(grey, background, strict=True):
        values = image[mask] if mask.any() else image.ravel()
        histogram = np.histogram(values, edges)[0] / len(values)
        rows.append(np.concatenate([[values.mean(), values.std()], histogram]))
    return np.asarray(rows)


def _stripe_histograms(images: FloatArray, masks: BoolArray) -> FloatArray:
    """Joint colour histograms of the person in horizontal stripes of its own height: N×(stripes · bins^channels).

    Values are first stretched to the person's own range, channel by channel about a common mean, so that a camera's
    exposure does not decide.
    """
    count, channels = len(images), images.shape[-1]
    bins = _BINS if channels > 1 else 2 * _BINS
    result = np.zeros((count, STRIPES, bins**channels))
    for row, (image, mask) in enumerate(zip(images, masks, strict=True)):
        heights = np.flatnonzero(mask.any(axis=1))
        if len(heights) == 0:
            continue
        person = image[mask]
        low, high = np.percentile(person, (2, 98))
        codes = np.clip((person - low) / max(high - low, 1e-9) * bins, 0, bins - 1).astype(np.int64)
        code = codes @ (bins ** np.arange(channels))
        position = (np.nonzero(mask)[0] - heights[0]) * STRIPES // (heights[-1] - heights[0] + 1)
        np.add.at(result[row], (position, code), 1.0)
        result[row] /= np.maximum(result[row].sum(axis=1, keepdims=True), 1.0)
    histograms: FloatArray = np.sqrt(result.reshape(count, -1))
    return histograms


def _jaccard(attributes: Sequence[frozenset[str]]) -> Similarity:
    """Shared share of the attributes of two images."""
    names = sorted(frozenset[str]().union(*attributes))
    position = {name: column for column, name in enumerate(names)}
    has = np.zeros((len(attributes), len(names)))
    for row, names_of_image in enumerate(attributes):
        has[row, [position[name] for name in names_of_image]] = 1.0
    size = has.sum(axis=1)

    def similarity(queries: IntArray, gallery: IntArray) -> FloatArray:
        common = has[queries] @ has[gallery].T
        union = size[queries][:, None] + size[gallery][None, :] - common
        share: FloatArray = common / np.maximum(union, 1.0)
        return share

    return similarity
