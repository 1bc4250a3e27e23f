"""The systems that the suite has at full size: where each comes from, at which resolution, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import nn

from vireid.config import compose
from vireid.core.errors import UserError
from vireid.core.records import CostRecord, EvaluationRecord, read_record
from vireid.experiment.fit import build_model
from vireid.experiment.profile import REFERENCE_CLASSES, cost_step
from vireid.experiment.progress import ProgressCallback, silent
from vireid.models.importers import IMPORTERS
from vireid.store import Store

PUBLISHED = Path(__file__).parents[2] / "results" / "published"  # beside the package in a checkout; absent elsewhere


@dataclass(frozen=True, slots=True)
class System:
    """A full-size preset of ``vireid/conf/model``."""

    preset: str
    source: str
    resolution: tuple[int, int]  # height, width of its recipe, pixels
    importer: str | None = None  # name in IMPORTERS
    published: str | None = None  # its key among the published records; None where nothing is published for the preset
    overrides: tuple[str, ...] = ()  # what its configuration needs beside the model


SYSTEMS = (
    System("idkl", "Ren and Zhang, CVPR 2024", (384, 144), None, "idkl"),
    System("idkl_released", "code 1KK077/IDKL", (384, 144), "idkl", "idkl"),
    System("idkl_released_other_batch", "code 1KK077/IDKL, other batch sizes", (384, 144), "idkl"),
    System("optimized", "the fork's four toggles as meant", (384, 128)),
    System("optimized_fork", "code quocnhut134/IDKL", (384, 128), "idkl_fork", "optimized_fork"),
    System("agw", "Ye et al., TPAMI 2021", (288, 144), "agw", "agw"),
    System("agw_released", "code mangye16/Cross-Modal-Re-ID-baseline", (288, 144), "agw", "agw"),
    System("iv_reid", "code linyq17/IV-REID", (384, 128), "iv_reid", "iv_reid"),
    System("iv_reid_regdb", "code linyq17/IV-REID, RegDB", (384, 128), "iv_reid", "iv_reid"),
    System("tskd", "Pattern Recognition 169, 2026", (288, 144), None, "tskd", ("augmentation=tskd",)),
    System(
        "tvi_lfm",
        "Hu et al., NeurIPS 2024",
        (288, 144),
        None,
        "tvi_lfm",
        ("augmentation=tvi_lfm", "data.captions={captioner: Blip}"),
    ),
    System("compact", "plain ResNet-18 baseline, He et al., CVPR 2016", (384, 144)),
    System("compact_mobilenet_v3_small", "Howard et al., ICCV 2019", (384, 144)),
    System("compact_mobilenet_v3_large", "Howard et al., ICCV 2019", (384, 144)),
)


@dataclass(frozen=True, slots=True)
class SystemFacts:
    """A system with what it costs and what its authors report."""

    system: System
    cost: CostRecord | None  # None where it cannot be built here
    reason: str  # why not; empty otherwise
    text_parameters: int  # of the text encoder that runs for a query with text; 0 without one
    published: list[EvaluationRecord]


def system_facts(store: Store, progress: ProgressCallback = silent) -> list[SystemFacts]:
    """Every system with its cost, counted on first use and kept in ``store``, and its published numbers."""
    published = published_evaluations()
    facts = []
    for done, system in enumerate(SYSTEMS):
        progress("count parameters and MACs", done, len(SYSTEMS), system.preset)
        facts.append(_facts(system, store, published))
    progress("count parameters and MACs", len(SYSTEMS), len(SYSTEMS))
    return facts


def published_evaluations(folder: Path = PUBLISHED) -> list[EvaluationRecord]:
    """Published accuracies, in order of file name; none where the package lies outside a checkout.

    Raises:
        UserError: a file is not a record, or one that does not say where its number comes from.
    """
    records = []
    for path in sorted(folder.glob("*.json")):
        record = read_record(path.read_bytes(), str(path))
        if record.source.kind != "published" or not record.source.citation:
            raise UserError(f"{path}: a published record needs source.kind 'published' and a citation")
        if isinstance(record, EvaluationRecord):
            records.append(record)
    return records


def _facts(system: System, store: Store, published: list[EvaluationRecord]) -> SystemFacts:
    if system.importer is not None and system.importer not in IMPORTERS.names():
        raise ValueError(f"system {system.preset} names an importer that is not registered: {system.importer}")
    mine = [record for record in published if record.components["model"].name == system.published]
    height, width = system.resolution
    settings = [f"model={system.preset}", f"data.height={height}", f"data.width={width}", *system.overrides]
    try:
        config = compose(settings, system.preset)
        model: Any = build_model(config, REFERENCE_CLASSES, pretrained=False)
    except UserError as error:  # an extra that is not installed
        return SystemFacts(system, None, str(error), 0, mine)
    encoder = getattr(model, "text", None)
    text = 0 if encoder is None else sum(parameter.numel() for parameter in cast(nn.Module, encoder).parameters())
    return SystemFacts(system, cost_step(config, store), "", text, mine)
