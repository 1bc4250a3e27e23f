"""Damaged input, systematically: sound files, and what a seed makes of them.

A subject is a kind of input with a reader of the suite's. A mutated file may be read (not every change is damage) or be
refused by one ``UserError``, a line per fault; every other end is a fault of the suite. ``python -m tests.mutations``
tries thousands.
"""

from __future__ import annotations

import copy
import io
import json
import math
import random
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from safetensors.torch import save

from tests.bundle.contributions import contribution
from vireid.ablation.plan import make_plan
from vireid.ablation.study import read_study
from vireid.bundle.contributed import check_file
from vireid.bundle.write import FORMAT, SPECIFIED, VERSION, digest_of, read_records
from vireid.core.errors import UserError
from vireid.core.identity import run_id
from vireid.core.published import published_records
from vireid.core.records import LatencyRecord
from vireid.data.images import read_header, read_image
from vireid.evaluation.features import evaluate_set, read_feature_set
from vireid.external.features import loss_terms_of_file
from vireid.models.pretrained import read_state
from vireid.overrides import compose
from vireid.report.page import open_report
from vireid.store import Store

ROOT = Path(__file__).parents[2]
HISTORIC = ROOT / "tests/historic_records"
ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1.5, 10**30, 1e308, math.nan, math.inf, "", " ", "none", "-1", "1e999", "../../x", "a\x00b",
    "é" * 300, "<script>", "[red]", "${seed}", "${oc.env:HOME}", "!!python/object:os.system", [],
    [None], [[]], {}, {"name": None},
)  # fmt: skip
Mutation = Callable[[random.Random], bytes]


@dataclass(frozen=True)
class Subject:
    """A kind of input.

    Args:
        name: what it is.
        file: what the damaged file is called.
        sound: a file that is read.
        mutate: a damaged file's bytes, by a generator of random numbers.
        read: what the suite does with such a file.
    """

    name: str
    file: str
    sound: bytes
    mutate: Mutation
    read: Callable[[Path], object]


def damaged_bytes(sound: bytes, draw: random.Random) -> bytes:
    """Bytes cut, flipped, repeated, left out or replaced."""
    content = bytearray(sound)
    for _ in range(draw.choice((1, 1, 2, 8))):
        place = draw.randrange(len(content)) if content else 0
        kind = draw.randrange(6)
        if kind == 0:
            del content[place:]
        elif kind == 1 and content:
            content[place] ^= 1 << draw.randrange(8)
        elif kind == 2:
            content[place:place] = content[place : place + draw.randrange(1, 64)]
        elif kind == 3:
            del content[place : place + draw.randrange(1, 64)]
        elif kind == 4:
            content[place : place + 4] = draw.randbytes(4)
        else:
            content[place : place + 8] = b"\xff" * 8
    return bytes(content)


def damaged_tree(sound: Any, draw: random.Random) -> Any:
    """A document with values replaced, left out, doubled, renamed or exchanged somewhere in it."""
    tree = copy.deepcopy(sound)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        holders = list(_holders(tree))
        if not holders:
            return draw.choice(ODD)
        holder = draw.choice(holders)
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key = draw.choice(keys)
        kind = draw.randrange(6)
        if kind <= 2:
            holder[key] = copy.deepcopy(draw.choice(ODD))
        elif kind == 3:
            del holder[key]
        elif kind == 4 and isinstance(holder, dict):
            holder[draw.choice(("", "name", f"{key}x", 7, None))] = holder.pop(key)
        else:
            other = draw.choice(holders)
            holder[key] = copy.deepcopy(other)
    return tree


def _holders(tree: Any) -> Iterator[Any]:
    if isinstance(tree, dict | list) and tree:
        yield tree
        for value in tree.values() if isinstance(tree, dict) else tree:
            yield from _holders(value)


def _json_bytes(tree: Any) -> bytes:
    return json.dumps(tree, ensure_ascii=False, default=str).encode("utf-8", "surrogatepass")


def _yaml_bytes(tree: Any) -> bytes:
    return yaml.safe_dump(tree, allow_unicode=True, sort_keys=False).encode()


def _npz_bytes(arrays: dict[str, Any], *, compressed: bool = False) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file.getvalue()


def _json(sound: Any) -> Mutation:
    def mutate(draw: random.Random) -> bytes:
        text = _json_bytes(damaged_tree(sound, draw))
        return damaged_bytes(text, draw) if draw.random() < 0.2 else text

    return mutate


def _yaml(sound: Any) -> Mutation:
    def mutate(draw: random.Random) -> bytes:
        text = _yaml_bytes(damaged_tree(sound, draw))
        return damaged_bytes(text, draw) if draw.random() < 0.3 else text

    return mutate


def _arrays(sound: dict[str, np.ndarray[Any, Any]]) -> Mutation:
    """An ``.npz`` with arrays of other shapes, types and values, or damaged as a zip."""

    def mutate(draw: random.Random) -> bytes:
        arrays: dict[str, Any] = {name: array.copy() for name, array in sound.items()}
        for _ in range(draw.choice((0, 1, 1, 2))):
            name = draw.choice(list(arrays))
            array = arrays[name]
            changes: tuple[Callable[[], Any], ...] = (
                lambda a=array: a[: draw.randrange(len(a) + 1)] if a.ndim else a,
                lambda a=array: a.astype(draw.choice(("f2", "f8", "i1", "u8", "c16", "U4", "?"))),
                lambda a=array: a.reshape(-1),
                lambda a=array: a[None],
                lambda a=array: np.full(a.shape, draw.choice((np.nan, np.inf, -1.0, 0.0, 1e30))),
                lambda a=array: np.empty((0, *a.shape[1:]), a.dtype),
                lambda: np.array(draw.choice(ODD), dtype=object),
                lambda: np.float64(draw.random()),
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                arrays[name] = draw.choice(changes)()
            if draw.random() < 0.2:
                arrays[draw.choice(("", "x", "query", "../up", "query/../gallery"))] = arrays.pop(name)
        content = _npz_bytes(arrays, compressed=draw.random() < 0.3)
        return damaged_bytes(content, draw) if draw.random() < 0.4 else content

    return mutate


def _bytes(*sound: bytes) -> Mutation:
    return lambda draw: damaged_bytes(draw.choice(sound), draw)


def _overrides(draw: random.Random) -> bytes:
    """Words of a command line, one per line."""
    keys = ("seed", "recipe.epochs", "recipe.optimiser.lr", "model", "model.ibn", "data.synthetic.seed", "data.height",
            "evaluation.protocols", "recipe.schedule.milestones", "model.weights", "weighting",
            "runtime.threads", "augmentation.erasing.area", "profile.runtimes", "recipe", "data.root", "model.name",
            "nothing", "")  # fmt: skip
    values = (*map(str, ODD), "[1,", "{a: 1", "a=b", "1,2", "'", '"x"', "[0.1, 0.2]", "{name: sysu/official, mode: x}")
    words = [
        f"{draw.choice(('', '+', '~', '++'))}{draw.choice(keys)}={draw.choice(values)}"
        for _ in range(draw.choice((1, 1, 2)))
    ]
    return "\0".join(words).encode("utf-8", "surrogatepass")


def _read_overrides(path: Path) -> object:
    return compose(path.read_bytes().decode("utf-8", "replace").split("\0"))


def _plan_study(path: Path) -> object:
    study = read_study(path)
    if len(study.seeds) > 20:
        return study
    return make_plan(study)


def _read_store(path: Path) -> object:
    """A record where a store keeps them: read by its id, and among all."""
    folder = path.parent / "store" / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    (folder / "000000000000.json").write_bytes(path.read_bytes())
    store = Store(folder.parent)
    store.get("000000000000")
    return list(store.records())


def _open_study(path: Path) -> object:
    """A plan in a store without records: its report's tables."""
    folder = path.parent / "planned" / "studies" / "smoke"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.json").write_bytes(path.read_bytes())
    report = open_report(folder.parents[1], "smoke")
    return [report.section(name) for name in ("overview", "summary", "ablation", "effects")]


def _read_published(path: Path) -> object:
    folder = path.parent / "published"
    folder.mkdir(exist_ok=True)
    (folder / "a.json").write_bytes(path.read_bytes())
    (folder / "references.bib").write_bytes((ROOT / "results/published/references.bib").read_bytes())
    return published_records(folder)


def _score(path: Path) -> object:
    return evaluate_set(read_feature_set(path, "sysu"))


def _look(path: Path) -> object:
    read_header(path.parent, path.name)
    return read_image(path.parent, path.name)


def _features() -> dict[str, np.ndarray[Any, Any]]:
    draw = np.random.RandomState(0)
    ids = np.repeat(np.arange(5), 4)
    return {
        "query": draw.normal(size=(20, 8)).astype(np.float32),
        "gallery": draw.normal(size=(20, 8)).astype(np.float32),
        "query_id": ids,
        "gallery_id": ids,
        "query_cam": np.tile([3, 3, 6, 6], 5),
        "gallery_cam": np.tile([1, 2, 4, 5], 5),
    }


def _pictures() -> tuple[bytes, ...]:
    picture = Image.fromarray(np.random.RandomState(0).randint(0, 255, (24, 12, 3), dtype=np.uint8))
    made = []
    for kind, options in (("JPEG", {}), ("PNG", {}), ("BMP", {}), ("TIFF", {"compression": "tiff_lzw"})):
        file = io.BytesIO()
        picture.save(file, kind, **options)
        made.append(file.getvalue())
    return tuple(made)


def _checkpoints() -> tuple[bytes, ...]:
    state = {"conv1.weight": torch.zeros(4, 3, 3, 3), "bn1.running_mean": torch.zeros(4)}
    whole, legacy = io.BytesIO(), io.BytesIO()
    torch.save({"net": state, "epoch": 3}, whole)
    torch.save({"state_dict": state}, legacy, _use_new_zipfile_serialization=False)
    return whole.getvalue(), legacy.getvalue(), save(state)


def _zip_of(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def _hostile_archives(draw: random.Random) -> bytes:
    """Archives that leave their folder, link, lie about sizes or burst."""
    names = (
        "../up.npy",
        "/etc/x.npy",
        "query.npy",
        "a/../../b.npy",
        "query.npy/",
        "C:\\x.npy",
        "\u202equery.npy",
        "a" * 400,
    )
    array = io.BytesIO()
    np.save(array, np.zeros((3, 2), np.float32))
    files = {
        draw.choice(names): draw.choice((array.getvalue(), b"", b"\x93NUMPY", b"0" * 1000))
        for _ in range(draw.randrange(1, 5))
    }
    content = _zip_of(files)
    return damaged_bytes(content, draw) if draw.random() < 0.5 else content


def _historic(name: str) -> Any:
    return json.loads((HISTORIC / name).read_text(encoding="utf-8"))


def _device_records(latency: dict[str, Any]) -> dict[str, Any]:
    """A record file as a bundle writes it."""
    machine = LatencyRecord.model_validate(latency).environment.machine
    specification = {**{key: latency.get(key) for key in SPECIFIED}, "device": machine}
    record = latency | {"id": run_id(specification)}
    entry = {"specification": specification, "digest": digest_of(record), "record": record}
    return {"format": FORMAT, "version": VERSION, "records": [entry]}


def _loss_arrays() -> dict[str, np.ndarray[Any, Any]]:
    with np.load(ROOT / "tests/golden/loss_a.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}


@cache
def subjects() -> tuple[Subject, ...]:
    """Every kind of input that users or other programs hand over."""
    studies = [
        yaml.safe_load((ROOT / f"ablations/{name}.yaml").read_text()) for name in ("smoke", "optimized_idkl", "tvi_lfm")
    ]
    plan = json.loads((ROOT / "results/studies/tvi_lfm/plan.json").read_text()) | {"name": "smoke"}
    published = json.loads((ROOT / "results/published/pmt-sysu-all.json").read_text())
    records = [_historic(path.name) for path in sorted(HISTORIC.glob("v1-*.json"))]
    device, board = _device_records(_historic("v1-latency-isolated.json")), contribution()
    losses = _loss_arrays()
    kinds: tuple[tuple[str, str, bytes, Mutation, Callable[[Path], object]], ...] = (
        ("study", "study.yaml", _yaml_bytes(studies[0]), _one_of(*map(_yaml, studies)), _plan_study),
        ("overrides", "words", b"seed=3", _overrides, _read_overrides),
        ("record", "record.json", _json_bytes(records[0]), _one_of(*map(_json, records)), _read_store),
        ("plan", "plan.json", _json_bytes(plan), _json(plan), _open_study),
        ("published record", "published.json", _json_bytes(published), _json(published), _read_published),
        ("record of a device", "device.json", _json_bytes(device), _json(device), read_records),
        ("file of a board", "out.json", _json_bytes(board), _json(board), lambda p: check_file(p, {})),
        ("features", "features.npz", _npz_bytes(_features()), _arrays(_features()), _score),
        ("hostile archive", "hostile.npz", _npz_bytes(_features()), _hostile_archives, _score),
        (
            "arrays of losses",
            "losses.npz",
            _npz_bytes(losses),
            _arrays(losses),
            lambda p: loss_terms_of_file(p, "idkl"),
        ),
        ("image", "0001.jpg", _pictures()[0], _bytes(*_pictures()), _look),
        ("checkpoint", "weights.pth", _checkpoints()[0], _bytes(*_checkpoints()), read_state),
    )
    return tuple(Subject(*kind) for kind in kinds)


def _one_of(*mutations: Mutation) -> Mutation:
    return lambda draw: draw.choice(mutations)(draw)


def outcome(subject: Subject, number: int, folder: Path) -> str:
    """What the suite does with one damaged input: ``read``, or the message that refuses it.

    Raises:
        Exception: anything else than a ``UserError``: a fault of the suite.
    """
    content = subject.mutate(random.Random(f"{subject.name} {number}"))
    path = folder / subject.file
    path.write_bytes(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            subject.read(path)
    except UserError as error:
        message = str(error)
        lines = message.splitlines()  # a line per fault of the file
        if not lines or not all(line.strip() for line in lines) or "Traceback" in message:
            raise AssertionError(f"no message to act on: {message!r}") from error
        return message
    return "read"
