"""The images of a configuration, counted and looked at for a report."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from vireid.core.errors import UserError
from vireid.core.seeding import generator
from vireid.core.types import ImageIndex, Modality
from vireid.data.check import CheckReport, check, detect
from vireid.data.images import read_image
from vireid.data.layout import fingerprint
from vireid.experiment.context import RunContext
from vireid.experiment.identity import hydra_text
from vireid.experiment.progress import ProgressCallback, silent
from vireid.overrides import compose
from vireid.remote.copy import store_folder
from vireid.report.dataset import DatasetFacts, DatasetReport, Tile
from vireid.report.page import passing_folder
from vireid.report.render import check_template, render_notebook
from vireid.store import Store

if TYPE_CHECKING:
    from vireid.config import ExperimentConfig

PEOPLE = 6  # rows of the contact sheet
CAMERAS = 5  # of each modality that it shows
PER_MODALITY = 4  # images of each modality, where there are fewer cameras
TILE_HEIGHT = 160


def open_dataset(
    data: Sequence[str], store: str | Path = "", out: str | Path = "", formats: Collection[str] = ()
) -> DatasetReport:
    """Open the report on a dataset in a notebook.

    Args:
        data: overrides that choose it, such as ``["data=sysu", "data.root=/data/SYSU-MM01"]``; rendered where they name
            rendered people that are not there.
        store: root of the record store, whose ``data/`` takes rendered images; empty: a folder that goes with the
            process.
        out: folder that takes ``figures/`` and ``tables/``; empty: one that goes with the process.
        formats: kinds of file beside the page, such as ``["csv", "png"]``; by default all but PNG.

    Raises:
        UserError: no such configuration or kind, no root, a root that does not hold the dataset.
    """
    run = RunContext(compose(list(data)), Store(store_folder(store) if store else passing_folder()))
    return DatasetReport(dataset_facts(run), Path(out) if out else passing_folder(), formats)


def overrides_of(chosen: Sequence[str]) -> list[str]:
    """Overrides as a user names a dataset: as they are, or a folder, whose layout is detected.

    Raises:
        UserError: the folder holds no known layout.
    """
    overrides: list[str] = []
    for text in chosen:
        if "=" in text:
            overrides.append(text)
        else:
            overrides += [f"data={detect(Path(text))}", f"data.root={hydra_text(str(Path(text).absolute()))}"]
    return overrides


def render_dataset(
    run: RunContext, overrides: Sequence[str], template: Path, out: Path | None = None, formats: Sequence[str] = ()
) -> Path:
    """Render the report on a run's images and return the path of its page.

    Args:
        run: whose images; rendered where they are synthetic and absent.
        overrides: that make its configuration.
        template: notebook with a cell tagged ``parameters`` (data, store, out, formats).
        out: folder of the report; by default ``datasets/<name>-<fingerprint>`` in the store.
        formats: kinds of file beside the page; by default all but PNG.

    Raises:
        UserError: as ``dataset_facts``; a cell of the notebook failed, or ``out`` cannot be written.
    """
    check_template(template)
    run.progress("look at images", 0, 1)
    name = f"{run.config.data.dataset.name}-{run.data.train_fingerprint}"
    target = run.store.root / "datasets" / name if out is None else out
    kept = {"formats": list(formats)} if formats else {}
    if (root := run.config.data.root) is not None:  # the notebook runs in another folder
        overrides = [*overrides, f"data.root={hydra_text(str(root.absolute()))}"]
    page = render_notebook(template, target, name, None, {"data": list(overrides), **kept}, {"store": run.store.root})
    run.progress("look at images", 1, 1)
    return page


def dataset_facts(run: RunContext, progress: ProgressCallback = silent) -> DatasetFacts:
    """Count the images of a run's dataset, whichever of its splits the run is about.

    Raises:
        UserError: no root, a root that does not hold the dataset, an image that cannot be read.
    """
    layout = run.data.layout
    checked = check(layout.root, run.config.data.dataset.name, progress=partial(progress, "look at images"))
    listed: dict[str, ImageIndex] = {}
    missing: dict[str, str] = {}
    for part, load in (("training", partial(layout.training, "final")), ("test", partial(layout.evaluation, "test"))):
        try:
            listed[part] = load()
        except UserError as error:
            missing[part] = str(error)
    development = set(np.unique(layout.evaluation("dev").identity).tolist()) if "training" in listed else set()
    return DatasetFacts(
        title=layout.title,
        synthetic=checked.synthetic,
        fingerprints={part: fingerprint(index, run.cache, workers=run.workers) for part, index in listed.items()},
        images=pd.concat([_frame(part, index, development) for part, index in listed.items()], ignore_index=True),
        checks=_checks(checked),
        literature=dict(layout.expected),
        findings=[_without(layout.root, str(finding)) for finding in checked.findings],
        missing={part: _without(layout.root, reason) for part, reason in missing.items()},
        sheet=contact_tiles(next(iter(listed.values()))),
        settings=_settings(run.config),
    )


def _frame(part: str, index: ImageIndex, development: set[int]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "part": part,
            "development": np.isin(index.identity, sorted(development)) & (part == "training"),
            "identity": index.identity,
            "modality": [Modality(value).name.lower() for value in index.modality],
            "camera": index.camera,
        }
    )


def _checks(checked: CheckReport) -> pd.DataFrame:
    rows = [row.model_dump() for row in checked.rows]
    table = pd.DataFrame(rows, columns=["name", "count", "expected", "ok", "note"], dtype=object)
    root = Path(checked.root)
    return table.assign(note=[_without(root, note) for note in table["note"]])


def _without(root: Path, text: str) -> str:
    """A message without the place of the dataset on this machine, which no page should carry."""
    return text.replace(f"{root}/", "").replace(str(root), root.name)


def _settings(config: ExperimentConfig) -> dict[str, str]:
    synthetic = config.data.synthetic
    if synthetic is None:
        return {}
    return {key: json.dumps(value).strip('"') for key, value in synthetic.specification().items()}


def contact_tiles(index: ImageIndex) -> list[Tile]:
    """Pictures of a few identities, row by row, visible ones first: an image from every camera, at most ``CAMERAS``.

    Identities are drawn among those that the most cameras see, by the numbers of identities alone; of an identity and
    camera the first images in the order of their paths are shown.
    """
    cameras = {modality: _busiest(index, modality) for modality in Modality if bool((index.modality == modality).any())}
    known = np.unique(index.identity)
    seen = np.array([len(np.unique(index.camera[index.identity == identity])) for identity in known])
    order = generator("contact sheet", len(known)).permutation(len(known))
    chosen = sorted(known[sorted(order, key=lambda row: -seen[row])[:PEOPLE]].tolist())
    tiles = []
    for identity in chosen:
        for modality, shown in cameras.items():
            for camera in shown:
                own = (index.identity == identity) & (index.modality == modality) & (index.camera == camera)
                rows = sorted(np.flatnonzero(own).tolist(), key=lambda row: index.paths[row])
                for row in rows[: max(1, PER_MODALITY // len(shown))]:
                    image = read_image(index.root, index.paths[row])
                    image.thumbnail((10 * TILE_HEIGHT, TILE_HEIGHT))
                    tiles.append(Tile(np.asarray(image), identity, modality.name.lower(), camera))
    return tiles


def _busiest(index: ImageIndex, modality: Modality) -> list[int]:
    cameras, counts = np.unique(index.camera[index.modality == modality], return_counts=True)
    return sorted(cameras[np.argsort(-counts, kind="stable")[:CAMERAS]].tolist())
