"""Captions of synthetic images from the attributes that were drawn, in the ``Text/`` layout of TVI-LFM.

Hu et al., "Empowering Visible-Infrared Person Re-Identification with Large Foundation Models", NeurIPS 2024. There a
captioner describes each image and a language model rephrases it; here a grammar does both. What a modality cannot show
is not said: infrared captions know no colour, and no pattern whose ink does not show there. The folder names of that
release are kept because readers look for them, and so is a root in front of the paths, which a reader has to replace.

``Text/Witness_IR`` is the suite's own: what somebody who saw the person by daylight says of the one on an infrared
image. A witness knows colours, and finds words of their own: they are drawn anew, not taken from a visible image.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from vireid.core.seeding import generator
from vireid.core.types import Modality
from vireid.data.synthetic.config import SyntheticConfig
from vireid.data.synthetic.render import draw_person
from vireid.data.synthetic.shots import Shot
from vireid.data.synthetic.wording import Clause, wording

CAPTIONER = "Blip"
WITNESS = "Witness"
KEY_ROOT = {"sysu": "datasets/SYSU-MM01/", "regdb": "datasets/RegDB/", "llcm": "datasets/LLCM/"}
_FOLDER = {Modality.VISIBLE: "RGB", Modality.INFRARED: "IR"}

_DESCRIPTIONS = (
    "{person} wearing {clothes}{carrying}",
    "{person} in {clothes}{carrying}",
    "there is {person} who is wearing {clothes}{carrying}",
    "{person} walking in {clothes}{carrying}",
    "a full body picture of {person} wearing {clothes}{carrying}",
    "{person} dressed in {clothes}{carrying}",
)
_REPHRASINGS = (
    "The image shows {person}, dressed in {clothes}{carrying}.",
    "Pictured is {person} who has {clothes} on{carrying}.",
    "Seen here is {person} whose outfit is {clothes}{carrying}.",
    "Dressed in {clothes}, {person} is moving through the scene{carrying}.",
    "This pedestrian is {person}, outfitted with {clothes}{carrying}.",
)
_OTHER_WORDS = (
    ("trousers", "pants"),
    ("backpack", "rucksack"),
    ("handbag", "purse"),
    ("t-shirt", "tee"),
    ("dots", "spots"),
    ("sneakers", "trainers"),
    ("shoes", "footwear"),
    ("slim", "slender"),
    ("broad", "heavily built"),
    ("carrying", "holding"),
    ("person", "figure"),
)


def caption(clause: Clause, rng: np.random.Generator) -> tuple[str, str]:
    """A description as a captioner would give it, and a rephrasing of the same facts."""
    said = clause.some(rng)
    description = _fill(_DESCRIPTIONS, said, rng)
    rephrasing = _fill(_REPHRASINGS, said.reordered(rng), rng)
    for word, other in _OTHER_WORDS:
        if rng.random() < 0.5:
            rephrasing = re.sub(rf"\b{word}\b", other, rephrasing)
    return description, rephrasing


def _fill(templates: Sequence[str], clause: Clause, rng: np.random.Generator) -> str:
    template = templates[int(rng.integers(len(templates)))]
    return template.format(person=clause.person(), clothes=clause.clothes(), carrying=clause.carrying())


def caption_files(config: SyntheticConfig, shots: Sequence[Shot]) -> dict[str, str]:
    """Content of the caption files by relative path.

    Under ``Text/Blip_RGB`` and ``Text/Blip_IR``, with ``<N>`` the folder's name: ``caption_dict_<N>.json`` maps a path
    to its identity and ``description``, ``caption_llm_dict_<N>.json`` adds ``aug_description``, and
    ``id_caption_map_<N>.json`` maps an identity to the descriptions of its images.
    """
    people = {identity: draw_person(config.seed, identity) for identity in sorted({s.identity for s in shots})}
    files: dict[str, str] = {}
    for modality, suffix in _FOLDER.items():
        seen = [shot for shot in shots if shot.modality is modality]
        clauses = [wording(people[shot.identity], shot.spectrum) for shot in seen]
        files |= _folder(config, f"{CAPTIONER}_{suffix}", "synthetic/caption", seen, clauses)
    return files | witness_files(config, shots)


def witness_files(config: SyntheticConfig, shots: Sequence[Shot]) -> dict[str, str]:
    """Content of the files of ``Text/Witness_IR`` by relative path."""
    people = {identity: draw_person(config.seed, identity) for identity in sorted({s.identity for s in shots})}
    seen = [shot for shot in shots if shot.modality is Modality.INFRARED]
    clauses = [wording(people[shot.identity], "visible") for shot in seen]
    return _folder(config, f"{WITNESS}_{_FOLDER[Modality.INFRARED]}", "synthetic/witness", seen, clauses)


def _folder(
    config: SyntheticConfig, name: str, stream: str, shots: Sequence[Shot], clauses: Sequence[Clause]
) -> dict[str, str]:
    plain: dict[str, dict[str, str]] = {}
    rephrased: dict[str, dict[str, str]] = {}
    by_identity: dict[str, list[str]] = {}
    for shot, clause in zip(shots, clauses, strict=True):
        rng = generator(config.seed, stream, shot.identity, shot.spectrum, shot.camera, shot.number)
        description, rephrasing = caption(clause, rng)
        key, identity = KEY_ROOT[config.layout] + shot.path, str(shot.identity)
        plain[key] = {"id": identity, "description": description}
        rephrased[key] = {"id": identity, "description": description, "aug_description": rephrasing}
        by_identity.setdefault(identity, []).append(description)
    return {
        f"Text/{name}/caption_dict_{name}.json": _json(plain),
        f"Text/{name}/caption_llm_dict_{name}.json": _json(rephrased),
        f"Text/{name}/id_caption_map_{name}.json": _json(by_identity),
    }


def _json(content: Any) -> str:
    return json.dumps(content, indent=1) + "\n"
