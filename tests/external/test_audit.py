"""One model under every convention."""

import json

import numpy as np
import pytest
import torch

from vireid.core.errors import UserError
from vireid.data.config import SYSUConfig
from vireid.data.sysu import SYSUMM01
from vireid.evaluation.evaluate import evaluate
from vireid.evaluation.protocols import PROTOCOLS, KReciprocal, ProtocolConfig
from vireid.external import audit as module
from vireid.external.audit import KNOWN, audit, features_of_checkpoint, features_of_run, protocols_of, run_at, to_table
from vireid.store import Store


@pytest.fixture(scope="module")
def read(rendered):
    layout = SYSUMM01(SYSUConfig(), rendered)
    index = layout.evaluation("test")
    random = np.random.default_rng(0)
    centres = random.normal(size=(int(index.identity.max()) + 1, 6))
    scale = random.uniform(0.2, 5, size=(len(index), 1))  # raw and normalised features rank differently
    features = (scale * (centres[index.identity] + random.normal(size=(len(index), 6)))).astype(np.float32)
    return layout, index, features, audit(features, index, layout)


def test_every_protocol_with_every_choice_that_it_offers():
    names = [(c.name, c.mode, c.shots) for c in protocols_of("sysu")]
    assert len(names) == len(set(names)) == 6
    assert {(c.name, c.direction) for c in protocols_of("llcm")} == {
        (name, direction)
        for name, spec in PROTOCOLS.items()
        if name.startswith("llcm/") and spec.of_the_field
        for direction in ("i2v", "v2i")
    }
    assert {c.name for c in protocols_of("regdb", regdb_split=2)} == {"regdb/10split"}
    assert {c.name for c in protocols_of("regdb")} == {"regdb/10split", "regdb/split1"}


def test_what_is_known_of_public_code_names_protocols_that_exist():
    for name, _, reranking, _ in KNOWN:
        assert name in PROTOCOLS
        assert reranking in {r.name for r in module.RERANKINGS}


def test_readings_are_the_protocols_own_numbers(read):
    layout, index, features, readings = read
    assert len(readings) == 6 * 2 * 3
    prescribed = [reading for reading in readings if reading.prescribed]
    assert len(prescribed) == 6
    for reading in prescribed:
        wanted = evaluate(features, index, reading.config, layout.permutations())
        assert reading.results["dedup"].metrics == wanted.metrics
    by_choice = {
        (r.config.name, r.config.mode, r.config.shots, r.config.normalise, r.config.reranking.name): r for r in readings
    }
    config = ProtocolConfig(name="sysu/official", normalise=False)
    raw = by_choice["sysu/official", "all", 1, False, "none"]
    assert raw.results["dedup"].metrics == evaluate(features, index, config, layout.permutations()).metrics
    assert raw.results["dedup"].metrics != by_choice["sysu/official", "all", 1, True, "none"].results["dedup"].metrics


def test_conventions_differ_where_they_must_and_only_there(read):
    for reading in read[3]:
        if not reading.results:
            continue
        dedup, plain = (reading.results[cmc].metrics for cmc in ("dedup", "plain"))
        assert dedup["r1"] == plain["r1"]
        assert dedup["mAP"] == plain["mAP"]
        assert dedup["r10"] >= plain["r10"]


def test_a_reading_that_the_images_do_not_allow_says_why(read, monkeypatch):
    layout, index, features, _ = read
    monkeypatch.setattr(module, "RERANKINGS", (KReciprocal(name="query-only", k1=500),))
    readings = audit(features, index, layout)
    assert not any(reading.results for reading in readings)
    assert all("k1=500" in reading.reason for reading in readings)
    assert to_table(readings).empty


def test_features_that_are_not_finite_are_no_reading(read):
    layout, index, features, _ = read
    spoilt = features.copy()
    spoilt[3] = np.nan
    with pytest.raises(UserError, match="not finite"):
        audit(spoilt, index, layout)


def test_the_table_has_a_row_per_convention_with_intervals(read):
    table = to_table(read[3])
    assert len(table) == 2 * sum(bool(reading.results) for reading in read[3])
    row = table[
        table["prescribed"] & (table["name"] == "sysu/official") & (table["mode"] == "all") & (table["shots"] == 1)
    ]
    assert len(row) == 1
    assert row["mAP_low"].item() <= row["mAP"].item() <= row["mAP_high"].item()
    assert {"r1", "r10", "mINP", "cmc", "reranking", "feature_normalisation", "mAP_sd_over_trials"} <= set(
        table.columns
    )
    known = table[table["known_from"] == "code of AGW, CAJ, DEEN"]
    assert set(known["name"]) == {"sysu/seeded"}
    assert set(known["cmc"]) == {"dedup"}


def test_misuse_is_named(tmp_path, rendered):
    store, weights = Store(tmp_path), tmp_path / "weights.pth"
    torch.save({"a": torch.zeros(1)}, weights)
    with pytest.raises(UserError, match=r"--arch \(idkl"):
        features_of_checkpoint(weights, None, rendered, store)
    with pytest.raises(UserError, match="does not fit --arch idkl"):
        features_of_checkpoint(weights, "idkl", rendered, store)
    with pytest.raises(UserError, match="leave the option out"):
        features_of_checkpoint(weights, "idkl", rendered, store, regdb_split=2)
    with pytest.raises(UserError, match="knows its own"):
        features_of_checkpoint(tmp_path, "idkl", rendered, store)
    with pytest.raises(UserError, match="no record matches"):
        features_of_run("abc", None, store)


def test_the_folder_of_a_run_is_that_run(tmp_path):
    folder = tmp_path / "runs" / "0123456789ab"
    folder.mkdir(parents=True)
    assert run_at(folder) is None
    (tmp_path / "runs" / "0123456789ab.json").write_text("{}")
    store, run = run_at(folder)
    assert (store.root, run) == (tmp_path, "0123456789ab")


@pytest.mark.check
def test_published_weights_from_file_to_table(tmp_path, rendered, monkeypatch, capsys):
    import sys

    from tests.models.public_state import filled, shapes
    from vireid.cli import main

    torch.save(filled(shapes("idkl")), tmp_path / "released.pth")
    arguments = ["--root", str(rendered), "--height", "64", "--width", "32", "--store", str(tmp_path / "store")]
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setattr(sys, "argv", ["vireid", "audit", str(tmp_path / "released.pth"), "--arch", "idkl", *arguments])
    with pytest.raises(SystemExit, match="0"):
        main()
    printed = capsys.readouterr().out
    assert "released.pth (idkl) · test" in printed
    assert "not comparable with published results" in printed
    assert "read so by the code of AGW, CAJ, DEEN" in printed
    assert (tmp_path / "store" / "audits" / "released-sysu-test.csv").is_file()
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--json"])
    with pytest.raises(SystemExit, match="0"):
        main()
    rows = json.loads(capsys.readouterr().out)
    assert {row["name"] for row in rows} == {"sysu/official", "sysu/seeded"}
    assert all(0 < row["mAP"] < 1 for row in rows)
