"""``vireid score --method``: what it prints, and the commands that meet its records beside those of a fit."""

import json
import re
import runpy
from pathlib import Path

import numpy as np
import pytest

from tests.tiny import tiny
from vireid.experiment.context import RunContext
from vireid.experiment.fit import evaluate_step, fit_step
from vireid.store import Store

PROTOCOL = "{name: sysu/official, trials: 2}"
NAMED = ("--method", "ADCA", "--citation", "Yang et al., ACM MM 2022")


@pytest.fixture
def options(shell, rendered):
    paths = sorted(p.relative_to(rendered).as_posix() for p in rendered.glob("cam*/*/*.jpg"))
    features = np.random.default_rng(0).random((len(paths), 4), dtype=np.float32)
    np.savez(shell.folder / "images.npz", features=features, paths=np.array(paths))
    return "images.npz", "--protocol", PROTOCOL, "--root", str(rendered)


def said(result):
    assert result.returncode == 0, result.stderr
    return " ".join(result.stdout.split())


def test_without_a_method_nothing_is_kept(shell, options):
    said(shell.run("score", *options))
    assert not shell.store.exists()


def test_records_stand_beside_those_of_a_fit(shell, options, rendered):
    config = tiny(f"data.root={rendered}", "data.split=test", f"evaluation.protocols=[{PROTOCOL}]")
    run = RunContext(config, Store(shell.store))
    fit_step(run)
    (ours,) = evaluate_step(run)
    printed = said(shell.run("score", *options, *NAMED))
    fit, evaluation = re.search(r"kept as fit (\w{12}), evaluation (\w{12}): ", printed).groups()
    kept = json.loads(shell.run("score", *options, *NAMED, "--json").stdout)
    assert (kept["fit"], kept["evaluation"]) == (fit, evaluation)
    listed = said(shell.run("results", "list"))
    assert f"{fit} fit ok synthetic" in listed
    assert "images.npz features of ADCA" in listed
    assert f"{fit}, ADCA: sysu/official" in listed
    shown = said(shell.run("results", "show", evaluation))
    for words in (
        "features of ADCA, computed by another program: Yang et al., ACM MM 2022",
        "not comparable with published results",
        "vireid score images.npz --protocol",
        "not known: features of ADCA",
    ):
        assert words in shown
    shown = said(shell.run("results", "show", fit))
    assert "source features of ADCA" in shown
    assert evaluation in shown
    assert "not known" not in shown.partition("Evaluations")[0]
    made = json.loads(shell.run("results", "show", fit, "--json").stdout)
    assert (made["evaluations"], made["stale"]) == ([evaluation], [])
    assert "features" in said(shell.run("results", "diff", run.ids.fit, fit))
    assert "mAP" in said(shell.run("results", "diff", ours.id, evaluation))
    compared = said(shell.run("compare", run.ids.fit, fit))
    assert f"run {fit}, ADCA" in compared
    assert "weights chosen: first last epoch; second not known: features of ADCA" in compared
    assert "not comparable with published results" in compared
    (found,) = json.loads(shell.run("compare", run.ids.fit, fit, "--json").stdout)
    assert found["selection"] == ["last epoch", "not known: features of ADCA"]
    assert found["mAP"]["second"] == pytest.approx(kept["mAP"])


@pytest.mark.parametrize(
    "command",
    [
        ("evaluate",),
        ("audit",),
        ("explain",),
        ("export", "--to", "deployed"),
        ("quantise", "--to", "deployed"),
        ("bundle", "--to", "bundle.zip"),
        ("gallery",),
        ("robustness",),
        ("profile",),
        ("transfer", "data=regdb_synthetic"),
    ],
)
def test_what_needs_weights_refuses_features(shell, options, command):
    fit = json.loads(shell.run("score", *options, *NAMED, "--json").stdout)["fit"]
    name, *rest = command
    refused = shell.run(name, fit, *rest)
    assert refused.returncode == 2
    assert f"run {fit} is features of ADCA, computed by another program" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--citation", "x"), "--citation works with --method only"),
        (("--paper", "Zhang2023DEEN"), "--paper works with --method only"),
        (("--test-time", "flip"), "--test-time works with --method only"),
        (("--store", "there"), "--store works with --method only"),
        (("--method", "ADCA"), "--method ADCA needs --citation"),
        (("--method", " ", "--citation", "x"), "--method: whose features"),
        ((*NAMED, "--paper", "Zhang2023DEN"), "did you mean 'Zhang2023DEEN'"),
    ],
)
def test_what_does_not_go_together_is_refused(shell, options, more, words):
    refused = shell.run("score", *options, *more)
    assert refused.returncode == 2
    assert words in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    assert not shell.store.exists()


def test_a_rule_does_not_say_which_images_they_are(shell, options):
    refused = shell.run("score", options[0], "--rule", "sysu", *NAMED)
    assert refused.returncode == 2
    assert "--method works with --protocol only" in refused.stderr
    assert not shell.store.exists()


def test_the_page_on_other_code_writes_a_file_that_is_scored(shell, rendered, monkeypatch):
    """The recipes' common part, with a network that takes no weights in place of theirs."""
    page = (Path(__file__).parents[2] / "docs/other-code.md").read_text(encoding="utf-8")
    common, *recipes = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (shell.folder / "write_features.py").write_text(common)
    written = runpy.run_path(str(shell.folder / "write_features.py"))
    seen = set()

    def embed(images, infrared):
        seen.add((tuple(images.shape[1:]), infrared))
        return images.mean(dim=(2, 3))

    monkeypatch.chdir(shell.folder)
    written["write_features"]("theirs.npz", rendered, written["SYSU"], embed, size=(32, 64), device="cpu")
    assert seen == {((3, 64, 32), False), ((3, 64, 32), True)}
    with np.load("theirs.npz") as content:
        assert np.linalg.norm(content["features"], axis=1) == pytest.approx(2)  # a mirrored mean is the mean
    options = ("--protocol", "{name: sysu/seeded, trials: 2}", "--root", str(rendered), "--test-time", "flip")
    kept = json.loads(shell.run("score", "theirs.npz", *options, *NAMED, "--json").stdout)
    assert 0 < kept["mAP"] < 1
    assert len(recipes) == 3
    for recipe in recipes:
        compile(recipe, "recipe", "exec")
        assert "from write_features import" in recipe
