"""The three ways to install agree, and the lock names no package index."""

import re
import tomllib
from pathlib import Path

import yaml

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
