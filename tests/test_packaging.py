"""The three ways to install agree, and the lock names no package index."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import yaml

from vireid.experiment.identity import RunIds
from vireid.overrides import compose

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def _name(requirement: str) -> str:
    return re.split(r"[<>=!~\[; ]", requirement)[0].lower().replace("_", "-")


def test_environment_yml_installs_the_project_itself():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["name"] == PROJECT["name"]
    pip = next(d["pip"] for d in environment["dependencies"] if isinstance(d, dict))
    assert pip == ["--editable .[dev]"], "packages belong into pyproject.toml, which environment.yml installs"
    python = next(d for d in environment["dependencies"] if isinstance(d, str) and d.startswith("python"))
    assert python.removeprefix("python") == PROJECT["requires-python"]


def test_lock_holds_every_dependency_and_no_address():
    text = (ROOT / "requirements.lock").read_text()
    locked = {_name(line) for line in text.splitlines() if line and not line.startswith((" ", "#"))}
    wanted = {_name(r) for r in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]}
    assert wanted <= locked, f"run `make lock`: {wanted - locked} not in requirements.lock"
    assert not re.search(r"https?://|--index|--extra-index|--find-links", text)


def test_version_stands_in_three_places_once():
    import vireid

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert vireid.__version__ == PROJECT["version"] == citation["version"]


def test_the_wheel_has_what_the_checkout_has_beside_the_package(tmp_path):
    """Built, unpacked outside any checkout, and run there: studies by name, trunks, systems, notebooks."""
    command = [sys.executable, "-c", f"from hatchling.build import build_wheel; build_wheel({str(tmp_path)!r})"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    for folder in ("ablations", "notebooks", "results/published", "results/systems", "results/trunks"):
        ours = {p.relative_to(ROOT).as_posix() for p in (ROOT / folder).iterdir() if p.is_file()}
        assert ours <= {name.removeprefix("vireid/shipped/") for name in names}, folder
    assert not any(name.startswith(("tests/", "results/")) for name in names)
    (tmp_path / "empty").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "PYTHONSAFEPATH": "1"}
    program = "from vireid.cli import main; import vireid, sys; sys.stderr.write(vireid.__file__); main()"

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            cwd=tmp_path / "empty",
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr.startswith(str(tmp_path / "site")), "the installed suite would prove nothing"
        return done.stdout

    assert "quick" in run("ablate", "--list")
    plan = run("ablate", "quick", "--plan")
    assert (
        RunIds(
            compose(
                [
                    "data=sysu_quick",
                    "model=idkl_small",
                    "model.pretrained=trunk",
                    "recipe=from_trunk",
                    "recipe.epochs=10",
                    "recipe.schedule={name: cosine, warmup_epochs: 1, min_lr: 1.0e-5, every: step}",
                    "recipe.evaluate_every=2",
                    "augmentation.pad=3",
                    "seed=1",
                ]
            )
        ).fit
        in plan
    )
    assert "23.51" in run("models")
