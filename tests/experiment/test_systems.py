"""Every system from configuration to records on each layout: it trains, resumes exactly, is evaluated and counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.tiny import tiny
from vireid.experiment.context import RunContext
from vireid.experiment.cost.profile import cost_step
from vireid.experiment.fit import evaluate_step, fit_step
from vireid.experiment.reload import weights_file
from vireid.store import Store

STAGES = "recipe.stages=[{name: one, epochs: 1, terms: [id, triplet, self_mimic]}, {name: two, epochs: 1}]"
TEXT_STAGES = (
    "recipe.stages=[{name: base, epochs: 1, trainable: ['visual.*', 'neck.*', 'classifier.*'], terms: [id, triplet]}, "
    "{name: text, epochs: 1, trainable: ['text.*', 'neck.*', 'classifier.*'], terms: [id_text, triplet_text]}]"
)
# Preset, and what it needs beside itself.
SYSTEMS: dict[str, list[str]] = {
    "idkl_small": [],
    "iv_reid_small": ["augmentation=crop_flip"],
    "agw_small": ["augmentation=crop_flip"],
    "tskd_small": ["augmentation=tskd", "recipe.epochs=null", STAGES],
    "caj_small": ["augmentation=caj"],
    "deen_small": ["augmentation=deen"],
    "vit_small": ["augmentation=crop_flip", "model.dim=48", "model.depth=2", "model.image_size=[64,32]"],
    "compact_small": [],
    "compact_mobilenet_small": [],
    "tvi_lfm_small": [
        "augmentation=tvi_lfm",
        "data.captions={captioner: Blip}",
        "model.text_width=32",
        "recipe.epochs=null",
        TEXT_STAGES,
    ],
}
NEEDS_TEXT = {"tvi_lfm_small"}
NEEDS_TIMM = {"vit_small"}  # which has no width either
LAYOUTS: dict[str, list[str]] = {
    "sysu": [],
    "regdb": ["data=regdb_synthetic", "data.synthetic.visible_per_camera=3", "data.synthetic.infrared_per_camera=3"],
    "llcm": ["data=llcm_synthetic", "data.synthetic.visible_per_camera=1", "data.synthetic.infrared_per_camera=1"],
}
SIZES = [
    "data.synthetic.train_ids=6",
    "data.synthetic.val_ids=5",
    "data.synthetic.test_ids=4",
    "data.synthetic.height=64",
    "data.synthetic.width=32",
    "data.height=64",
    "data.width=32",
]


def layout_settings(layout: str) -> list[str]:
    return [*LAYOUTS[layout], *SIZES] if LAYOUTS[layout] else []


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Where each layout's people lie, rendered once."""
    stores = {layout: Store(tmp_path_factory.mktemp(layout)) for layout in LAYOUTS}
    runs = {layout: RunContext(tiny(*layout_settings(layout)), store) for layout, store in stores.items()}
    return {layout: run.data.train.root for layout, run in runs.items()}


class KilledError(Exception):
    """Stands for the end of the process."""


def kill_in_the_second_epoch(phase: str, done: int, total: int, *_: Any) -> None:
    if phase == "train" and done > total // 2:
        raise KilledError


@pytest.mark.check
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("system", SYSTEMS)
def test_system_on_layout(roots: dict[str, Path], tmp_path: Path, system: str, layout: str) -> None:
    if system in NEEDS_TEXT:
        pytest.importorskip(
            "open_clip", reason="text needs open_clip and transformers, which belong to every installation"
        )
    if system in NEEDS_TIMM:
        pytest.importorskip("timm", reason="a vision transformer needs the extra: make install EXTRAS=backbones")
    settings = [*layout_settings(layout), f"data.root={roots[layout]}", f"model={system}", *SYSTEMS[system]]
    config = tiny(*settings, "model.width=0.125", scaled=system not in NEEDS_TIMM)
    whole, parts = Store(tmp_path / "whole"), Store(tmp_path / "parts")
    fit = fit_step(RunContext(config, whole))
    assert fit.status == "ok"
    assert len(fit.curves) == 2

    with pytest.raises(KilledError):
        fit_step(RunContext(config, parts, kill_in_the_second_epoch))
    resumed = fit_step(RunContext(config, parts))
    assert [entry["terms"] for entry in resumed.curves] == [entry["terms"] for entry in fit.curves]
    assert weights_file(parts, fit.id).read_bytes() == weights_file(whole, fit.id).read_bytes()

    evaluations = evaluate_step(RunContext(config, whole))
    assert len(evaluations) == len(config.evaluation.protocols)
    assert all(0 < record.metrics["mAP"] <= 1 for record in evaluations)

    cost = cost_step(RunContext(config, whole))
    assert [counter["status"] for counter in cost.counters] == ["ok"] * 3
    assert cost.disagreement is not None
    assert cost.disagreement < 0.01
    assert cost.parameters["dead"] == 0
