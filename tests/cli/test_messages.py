"""Bad input: one clear message that names the culprit, a non-zero exit, no traceback."""

import json
import os
import sys
from pathlib import Path

import pytest

from tests.tiny import TINY, tiny
from vireid.ablation.engines.local import LocalEngine
from vireid.cli import root_option
from vireid.core.errors import UserError
from vireid.experiment.context import RunContext
from vireid.experiment.images import RootNotSetError
from vireid.experiment.progress import silent
from vireid.store import Store

ABLATIONS = Path(__file__).parents[2] / "ablations"


def _refused(result, *words):
    assert result.returncode != 0
    text = " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in text, f"'{word}' not in: {text}"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["config", "recipe.batchsize=8"], ["recipe.batchsize", "did you mean 'batch_size'"]),
        (["config", "modle=idkl"], ["modle", "did you mean 'model'"]),
        (["config", "model=idlk"], ["model=idlk", "did you mean 'idkl'"]),
        (["config", "model.backbone=resnet19"], ["model.backbone = 'resnet19'", "did you mean"]),
        (
            ["config", "recipe.batch_size=60", "recipe.identities=8"],
            ["batch_size 60 over 8 identities", "even integer"],
        ),
        (["config", "model.name=nowhere:Thing"], ["module 'nowhere'"]),
        (["train", "data=sysu", "recipe.precision=fp32"], ["data.root is not set"]),
        (
            ["train", "data=sysu", "data.root=/no/such/place", "recipe.precision=fp32"],
            ["/no/such/place", "not a directory"],
        ),
        (["ablate", str(ABLATIONS / "quick.yaml"), "--only", "ibn=c", "--plan"], ["factor 'ibn' has no level 'c'"]),
        (["ablate", "missing.yaml"], ["missing.yaml", "no such file"]),
        (["report", "nothing"], ["nothing"]),
        (["results", "show", "abc"], ["run 'abc'", "no record matches"]),
        (["evaluate", "abc"], ["run 'abc'"]),
    ],
)
def test_faults_on_the_command_line_are_named(shell, arguments, words):
    _refused(shell.run(*arguments), *words)


def test_a_study_with_an_unknown_level_is_refused_before_anything_runs(shell):
    study = (ABLATIONS / "quick.yaml").read_text().replace("design: cumulative", "design: explicit\ncells: [{ibn: aa}]")
    (shell.folder / "study.yaml").write_text(study)
    _refused(shell.run("ablate", "study.yaml"), "study.yaml", "factor 'ibn' has no level 'aa'", "did you mean 'a'")
    assert not shell.store.exists()


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/proc").is_dir(), reason="root may write anywhere")
def test_a_store_that_cannot_be_written_is_named(shell):
    place = "/proc/vireid" if os.geteuid() == 0 else "/vireid-store"
    _refused(shell.run("train", *TINY, "--store", place), place, "cannot write")


def test_a_store_below_a_file_is_named(shell):
    (shell.folder / "file").write_text("")
    _refused(shell.run("train", *TINY, "--store", "file/store"), "file/store")


def test_a_corrupt_image_is_named_with_its_path(shell, rendered_copy):
    victim = sorted((rendered_copy / "cam1").rglob("*.jpg"))[0]
    victim.write_bytes(victim.read_bytes()[:200])
    checked = shell.run("data", "check", str(rendered_copy), "--decode")
    assert checked.returncode == 2
    assert victim.name in checked.stdout
    split = (rendered_copy / "exp" / "train_id.txt").read_text()
    if int(victim.parent.name) in {int(part) for part in split.split(",")}:
        _refused(shell.run("train", *TINY, f"data.root={rendered_copy}"), str(victim))


def test_a_learning_rate_that_breaks_the_loss_stops_with_term_and_epoch(shell, rendered_copy):
    result = shell.run("train", *TINY, f"data.root={rendered_copy}", "recipe.optimiser.lr=1e30")
    _refused(result, "epoch 1", "learning rate")
    assert list(shell.store.glob("runs/*.failed-1.json"))


def test_help_is_real(shell):
    for command in (
        ["data", "synth"],
        ["train"],
        ["evaluate"],
        ["score"],
        ["compare"],
        ["profile"],
        ["ablate"],
        ["report"],
        ["results", "list"],
    ):
        result = shell.run(*command, "--help")
        assert result.returncode == 0
        assert "Usage" in result.stdout
        assert len(result.stdout.splitlines()) > 6


def test_one_broken_record_and_one_of_an_unknown_component_stop_no_list(shell):
    runs = shell.store / "runs"
    runs.mkdir(parents=True)
    fit = (ABLATIONS.parent / "tests" / "historic_records" / "v1-fit.json").read_text()
    name = json.loads(fit)["id"]
    (runs / f"{name}.json").write_text(fit.replace('"name": "idkl"', '"name": "dropped"'))
    (runs / "00000000000b.json").write_text("{")
    for arguments in (["results", "list"], ["results", "export", "out.csv", "--kind", "fit"]):
        result = shell.run(*arguments)
        assert result.returncode == 0, result.stderr
        assert result.stderr.count("1 record is left out; the first: ") == 1
    listed = shell.run("results", "list").stdout
    assert name in listed
    assert "model dropped" in " ".join(listed.split())
    _refused(shell.run("results", "show", "00000000000b"), "not a readable record")


def test_a_command_that_names_a_run_asks_for_its_images_by_its_own_option():
    with (
        pytest.raises(UserError, match=r"run 0123: nothing says where.*add --root "),
        root_option("0123"),
    ):
        raise RootNotSetError("data.root is not set: add data.root=")


def test_files_of_the_working_folder_take_no_librarys_name(shell, monkeypatch):
    for name in ("statistics", "logging", "json", "random", "socket"):
        (shell.folder / f"{name}.py").write_text("raise SystemExit('the wrong file was imported')\n")
    (shell.folder / "mine.py").write_text(
        "from vireid.models.agw import AGW\nclass Mine(AGW):\n"
        "    class Config(AGW.Config):\n        name: str = 'mine:Mine'\n"
    )
    result = shell.run("config", "model={name: 'mine:Mine'}", "data=sysu_quick")
    assert result.returncode == 0, result.stderr
    monkeypatch.chdir(shell.folder)
    monkeypatch.setattr(sys, "path", [*sys.path, str(shell.folder)])
    done = LocalEngine().run_job(RunContext(tiny("model={name: 'mine:Mine'}"), Store(shell.store)), [], silent)
    assert done.reason is None, done.log.read_text()
