"""The systems that the suite has at full size: where each comes from, at which resolution, and what is known of it."""

from dataclasses import dataclass
from pathlib import Path

from vireid.config import ExperimentConfig
from vireid.core.errors import UserError
from vireid.core.published import PUBLISHED, method, published_records
from vireid.core.records import CostRecord, EvaluationRecord, read_record
from vireid.core.shipped import shipped
from vireid.experiment.context import RunContext
from vireid.experiment.progress import ProgressCallback, silent
from vireid.models.importers import IMPORTERS
from vireid.overrides import compose
from vireid.store import Store, write_atomically

COUNTED = shipped("results/systems")  # cost records of the systems, one file each, named by preset


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
    System("caj", "Ye et al., ICCV 2021", (288, 144), "caj", "caj", ("augmentation=caj",)),
    System(
        "caj_released",
        "code mangye16/Cross-Modal-Re-ID-baseline, ICCV21_CAJ",
        (288, 144),
        "caj",
        "caj",
        ("augmentation=caj",),
    ),
    System("caj_plus", "Ye et al., TPAMI 2023", (288, 144), "caj", "caj_plus", ("augmentation=caj_plus",)),
    System("deen", "Zhang and Wang, CVPR 2023", (384, 144), "deen", "deen", ("augmentation=deen",)),
    System("deen_released", "code ZYK100/LLCM", (384, 144), "deen", "deen", ("augmentation=deen",)),
    System("deen_regdb", "code ZYK100/LLCM, RegDB", (384, 144), "deen_regdb", "deen", ("augmentation=deen",)),
    System("vit", "trunk of TransReID, He et al., ICCV 2021", (256, 128)),
    System("compact", "plain ResNet-18 baseline, He et al., CVPR 2016", (384, 144)),
    System("compact_mobilenet_v3_small", "Howard et al., ICCV 2019", (384, 144)),
    System("compact_mobilenet_v3_large", "Howard et al., ICCV 2019", (384, 144)),
)


@dataclass(frozen=True, slots=True)
class SystemFacts:
    """A system with what it costs and what its authors report."""

    system: System
    cost: CostRecord | None  # None where nobody has counted it
    reason: str  # why not; empty otherwise
    published: list[EvaluationRecord]


def system_facts(folder: Path = COUNTED) -> list[SystemFacts]:
    """Every system with its cost as it is on record, and its published numbers. Composes and builds nothing.

    Tests and ``count_systems`` check that the records are of the presets as they are.
    """
    published = published_evaluations()
    return [_facts(system, published, folder) for system in SYSTEMS]


def count_systems(store: Store, progress: ProgressCallback = silent) -> dict[str, CostRecord | str]:
    """Count every system anew: its record, or why it cannot be built here, by preset.

    Args:
        store: an empty one, or one whose records are to be taken where they are there.
        progress: called with every system.
    """
    from vireid.experiment.cost.profile import cost_step  # builds models, and so needs torch: the list does not

    counts: dict[str, CostRecord | str] = {}
    for done, system in enumerate(SYSTEMS):
        progress("count parameters and MACs", done, len(SYSTEMS), system.preset)
        try:
            counts[system.preset] = cost_step(RunContext(system_config(system), store))
        except UserError as error:  # an extra that is not installed
            counts[system.preset] = str(error)
    progress("count parameters and MACs", len(SYSTEMS), len(SYSTEMS))
    return counts


def write_counts(counts: dict[str, CostRecord | str], folder: Path = COUNTED) -> list[Path]:
    """Keep counted costs for ``system_facts``; files that say the same already stay as they are."""
    written = []
    for preset, record in counts.items():
        path = folder / f"{preset}.json"
        if isinstance(record, str) or (path.is_file() and same_cost(record, _read(path))):
            continue
        write_atomically(path, record.model_dump_json(indent=1) + "\n")
        written.append(path)
    return written


def same_cost(one: CostRecord, other: CostRecord) -> bool:
    """Whether two counts agree in all that a table shows: graph, parameters, MACs, resolution."""
    fields = ("id", "artefact", "parameters", "text_parameters", "macs", "resolution", "num_classes")
    return all(getattr(one, name) == getattr(other, name) for name in fields)


def published_evaluations(folder: Path = PUBLISHED) -> list[EvaluationRecord]:
    """Published accuracies, in order of file name; see ``published_records``."""
    return [record for record in published_records(folder) if isinstance(record, EvaluationRecord)]


def _facts(system: System, published: list[EvaluationRecord], folder: Path) -> SystemFacts:
    if system.importer is not None and system.importer not in IMPORTERS.names():
        raise ValueError(f"system {system.preset} names an importer that is not registered: {system.importer}")
    mine = [record for record in published if method(record) == system.published]
    path = folder / f"{system.preset}.json"
    if not path.is_file():
        return SystemFacts(system, None, f"{path} is missing: count it with `vireid models --count`", mine)
    return SystemFacts(system, _read(path), "", mine)


def _read(path: Path) -> CostRecord:
    record = read_record(path.read_bytes(), str(path))
    if not isinstance(record, CostRecord):
        raise UserError(f"{path}: a record of kind '{record.kind}', not of a cost; `vireid models --count` makes one")
    return record


def system_config(system: System) -> ExperimentConfig:
    """The configuration whose cost is a system's: its preset at the resolution of its recipe."""
    height, width = system.resolution
    settings = [f"model={system.preset}", f"data.height={height}", f"data.width={width}", *system.overrides]
    return compose(settings, system.preset)
