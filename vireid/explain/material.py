"""What the report on single runs shows, beside ranked lists: written as files, which reports read without a network.

``map.csv`` where t-SNE puts images; ``similarities_start.csv`` similarities of the same images before and after
training; ``queries.json`` the best and the worst queries; ``heat.json`` and grey pictures: Grad-CAM and attention;
``explain.json`` how all of it was made, and why a part is absent.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from vireid.config import ExperimentConfig
from vireid.core.errors import UserError
from vireid.core.files import map_paths
from vireid.core.seeding import generator
from vireid.core.types import Batch, FloatArray, ImageIndex, IntArray, Modality, Model
from vireid.data.loader import EvaluationLoader
from vireid.evaluation.extraction import extract
from vireid.experiment.data import evaluation_loader
from vireid.experiment.fit import build_model, trained_model
from vireid.experiment.records import device_of
from vireid.experiment.start import initialise_from
from vireid.explain import data
from vireid.explain.attention import attention_maps
from vireid.explain.embedding import embedding_map
from vireid.explain.grad_cam import METHOD, last_map, similarity_maps, without
from vireid.explain.seen import PICTURES, Seen
from vireid.models.trunk import TRUNKS
from vireid.report.records.explained import BEFORE, HEAT, MAP, QUERIES, SETTINGS
from vireid.store import write_atomically

PAIRS = 16  # queries with heat maps; a page shows the first few, and counts over all
BEST = 6
START_IMAGES = 300  # of each modality, whose similarities are compared with those before training
HIDDEN = 0.25  # share of an image that is hidden to see what its similarity loses


def write_material(seen: Seen, hardest: Sequence[Mapping[str, Any]]) -> None:
    """Write the files beside a run whose ``explain/pictures`` is there.

    Args:
        seen: the run.
        hardest: its worst queries with their ranked lists, as pictures show them.
    """
    settings: dict[str, Any] = {"protocol": seen.result.card}
    mapped = embedding_map(data.unit_rows(seen.features, seen.config.normalise), seen.index)
    if mapped is None:
        settings["map"] = {"skipped": "too few images of people in both modalities"}
    else:
        write_atomically(seen.folder / MAP, mapped.table.to_csv(index=False))
        settings["map"] = {"perplexity": mapped.perplexity, "seed": mapped.seed, "divergence": mapped.divergence}
    settings["start"] = _write_start(seen)
    _write_queries(seen, hardest)
    heat = _heat(seen)
    write_atomically(seen.folder / HEAT, json.dumps(heat, indent=1))
    write_atomically(seen.folder / SETTINGS, json.dumps(settings, indent=1))


def _write_start(seen: Seen) -> dict[str, Any]:
    """Similarities of the same images by the weights that training began with, and by those that it ended with."""
    run = seen.run
    if run.config.imported is not None:
        return {"skipped": "imported weights: what their training began with is not known"}
    try:
        model = build_model(_where_trunks_lie(run.config), seen.fit.data["identities"])
        initialise_from(model, run)
    except UserError as error:
        return {"skipped": str(error)}
    rows = start_rows(seen.index)
    before = extract(model, _loader(seen, rows), device=device_of(run.config))
    some, key = seen.index.select(rows), "start"  # the same pairs of images for both
    tables = []
    for weights, features in (("start", before), ("trained", seen.features[rows])):
        tables.append(data.histogram_table(data.similarities(features, some, key)).assign(weights=weights))
    text = tables[0].to_csv(index=False) + tables[1].to_csv(index=False, header=False)
    write_atomically(seen.folder / BEFORE, text)
    began = "an earlier fit" if run.config.start_from is not None else _trunk(run.config.model)
    return {"images": len(rows), "weights": began}


def _trunk(settings: Any) -> str:
    return "random weights" if getattr(settings, "pretrained", None) is None else "a trunk, everything else random"


def _where_trunks_lie(config: ExperimentConfig) -> ExperimentConfig:
    """The configuration of a record, which names files alone, with the suite's own trunks found again."""

    def give(_: str, path: Path, __: bool) -> Path:
        own = TRUNKS / path.name
        return own if (TRUNKS / path.name.partition("@")[0]).is_file() else path

    return config.model_copy(update={"model": map_paths(config.model, "model", give)})


def start_rows(index: ImageIndex) -> IntArray:
    """Rows of at most ``START_IMAGES`` images of each modality, whole people at a time, the same for every fit."""
    people = generator("similarities before training").permutation(np.unique(index.identity))
    rows: list[int] = []
    for modality in Modality:
        own = [np.flatnonzero((index.identity == person) & (index.modality == modality)) for person in people]
        rows += np.concatenate(own)[:START_IMAGES].tolist()
    return np.array(sorted(rows), dtype=np.int64)


def _loader(seen: Seen, rows: IntArray) -> EvaluationLoader:
    """The images at ``rows`` of the evaluation images, which are decoded already."""
    every = evaluation_loader(seen.run)
    return EvaluationLoader(every.array[rows], every.index.select(rows), workers=every.workers)


def _batch(seen: Seen, rows: Sequence[int]) -> Batch:
    loader = _loader(seen, np.asarray(rows, dtype=np.int64))
    loader.batch_size = max(1, len(rows))
    return next(iter(loader))


def _write_queries(seen: Seen, hardest: Sequence[Mapping[str, Any]]) -> None:
    easiest = data.easiest_queries(seen.result.per_query, BEST, 1)
    best = seen.entries(list(easiest["query"]), "best")
    for entry, ap in zip(best, easiest["ap"], strict=True):
        entry["note"] = f"AP {100 * ap:.1f} %"
    content = {"protocol": seen.result.card, "best": best, "worst": list(hardest)}
    write_atomically(seen.folder / QUERIES, json.dumps(content, indent=1))


def heat_queries(seen: Seen) -> list[str]:
    """Valid queries of the first trial, of different people, drawn by the images alone: the same for every fit."""
    table = seen.result.per_query
    valid = table[(table["trial"] == 0) & table["valid"]]
    queries = np.sort(valid["query"].to_numpy(dtype=str))
    of = dict(zip(valid["query"], valid["identity"], strict=True))
    chosen: dict[int, str] = {}
    for query in generator("heat maps").permutation(queries).tolist():
        chosen.setdefault(of[query], query)
    return list(chosen.values())[:PAIRS]


def _heat(seen: Seen) -> dict[str, Any]:
    """Queries and their best true matches with where their similarity comes from, and what the model attends to."""
    queries = [seen.rows[query] for query in heat_queries(seen)]
    found = data.best_matches(seen.features, seen.index, seen.trial, seen.config, queries)
    matches = [found[query][0] for query in queries]
    model = cast(nn.Module, trained_model(seen.run)).to(device_of(seen.run.config)).eval()
    unit = data.unit_rows(seen.features, True)
    pairs: list[dict[str, Any]] = []
    for number, (query, match) in enumerate(zip(queries, matches, strict=True)):
        pairs.append(
            {
                "query": seen.picture(query, f"heat{number}-query"),
                "match": seen.picture(match, f"heat{number}-match") | {"rank": found[query][1]},
                "similarity": float(unit[query] @ unit[match]),
            }
        )
    content: dict[str, Any] = {"protocol": seen.result.card, "pairs": pairs}
    content["grad_cam"] = _add_grad_cam(seen, model, pairs, queries, matches)
    content["attention"] = _add_attention(seen, model, pairs, queries, matches)
    return content


def _add_grad_cam(
    seen: Seen, model: nn.Module, pairs: Sequence[dict[str, Any]], queries: Sequence[int], matches: Sequence[int]
) -> dict[str, Any]:
    if not pairs:
        return {"skipped": "no query has a match"}
    layers = {}
    try:
        for side, rows, others in (("query", queries, matches), ("match", matches, queries)):
            for number, (row, other) in enumerate(zip(rows, others, strict=True)):
                modality = Modality(int(seen.index.modality[row]))
                embedder = cast(Model, model).deployable(modality)
                batch = _batch(seen, [row]).to(device_of(seen.run.config))
                target = torch.from_numpy(seen.features[[other]]).to(batch.images.device)
                name, layer = last_map(embedder, batch.images)
                layers[modality.name.lower()] = name
                maps = similarity_maps(embedder, layer, batch.images, target)
                pairs[number].setdefault("grad_cam", {})[side] = _grey(seen, maps[0], f"heat{number}-{side}-grad_cam")
                pairs[number].setdefault("hidden", {})[side] = _hidden(embedder, batch.images, maps, target)
    except UserError as error:
        return {"skipped": str(error)}
    return {"method": METHOD, "layers": layers, "share": HIDDEN}


def _hidden(embedder: nn.Module, images: Tensor, maps: FloatArray, target: Tensor) -> dict[str, float]:
    """The similarity of an image as it is, and with the hottest and the coldest part of its map hidden."""
    heat = torch.from_numpy(np.array(maps)).to(images.device)
    shown = {"whole": images}
    shown |= {end: without(images, heat, HIDDEN, hottest=end == "hottest") for end in ("hottest", "coldest")}
    with torch.inference_mode():
        return {
            name: float(nn.functional.cosine_similarity(embedder(image).float(), target))
            for name, image in shown.items()
        }


def _add_attention(
    seen: Seen, model: nn.Module, pairs: Sequence[dict[str, Any]], queries: Sequence[int], matches: Sequence[int]
) -> list[dict[str, str]]:
    if not pairs:
        return []
    batch = _batch(seen, [*queries, *matches]).to(device_of(seen.run.config))
    maps = attention_maps(model, batch)
    height, width = batch.images.shape[2:]
    for found in maps:
        large = nn.functional.interpolate(
            found.received[:, None].float(), (height, width), mode="bilinear", align_corners=False
        )[:, 0].cpu()
        low, high = large.amin((1, 2), keepdim=True), large.amax((1, 2), keepdim=True)
        scaled = ((large - low) / (high - low).clamp(min=1e-12)).numpy()
        for number, pair in enumerate(pairs):
            for side, row in (("query", number), ("match", len(pairs) + number)):
                file = _grey(seen, scaled[row], f"heat{number}-{side}-{found.module}")
                pair.setdefault("attention", {}).setdefault(found.module, {})[side] = file
    return [{"module": found.module, "kind": found.kind} for found in maps]


def _grey(seen: Seen, heat: FloatArray, name: str) -> str:
    """Write a map of 0…1 as a grey picture; returns its name beside the run."""
    file = f"{PICTURES}/{name}.png"
    Image.fromarray((255 * heat + 0.5).clip(0, 255).astype(np.uint8)).save(seen.folder / file)
    return file
