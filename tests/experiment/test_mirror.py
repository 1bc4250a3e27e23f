"""A fit evaluated under every rule for test time, from configuration to records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.tiny import tiny
from vireid.experiment.context import RunContext
from vireid.experiment.fit import embeddings, evaluate_step, fit_step
from vireid.experiment.identity import deployed_protocols
from vireid.experiment.reload import config_of_fit
from vireid.store import Store

RULES = ("none", "flip", "flip-summed", "flip-weighted")
PROTOCOLS = ", ".join(f"{{name: sysu/official, test_time: {rule}}}" for rule in RULES)


def test_every_rule_is_a_record_of_its_own(rendered: Path, tmp_path: Path) -> None:
    settings = [f"data.root={rendered}", "model=deen_small", "model.width=0.125", "augmentation=deen"]
    config = tiny(*settings, f"evaluation.protocols=[{PROTOCOLS}]")
    run = RunContext(config, Store(tmp_path))
    fit = fit_step(run)
    records = evaluate_step(run)
    assert [record.protocol["test_time_augmentation"] for record in records] == list(RULES)
    assert len({record.id for record in records}) == len(RULES)
    assert all(0 < record.metrics["mAP"] <= 1 for record in records)
    later = config_of_fit(fit, ["{name: sysu/official, test_time: flip}"], rendered, run.store)
    assert [record.id for record in evaluate_step(RunContext(later, run.store))] == [records[1].id], "never retrains"
    plain, mirrored, summed = (embeddings(run, rule) for rule in RULES[:3])
    assert plain.shape == mirrored.shape == (len(plain), 6 * 64)
    assert summed.shape == (len(plain), 6 * 64 + 2)
    assert not np.allclose(plain, mirrored, atol=1e-3)
    assert np.linalg.norm(summed, axis=1) == pytest.approx(np.sqrt(24), rel=1e-5)
    assert deployed_protocols(config) == [config.evaluation.protocols[0]], "a deployed file reads an image once"
