"""Pages say what is there: paths, links, extras, commands, and the numbers of the records."""

import importlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import get_args

import pytest
import yaml

from vireid import load_study
from vireid.ablation.plan import make_plan
from vireid.ablation.study import Study
from vireid.cli import app
from vireid.core.errors import Extra
from vireid.report.records.keys import signed

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
STUDIES = ROOT / "results/studies"


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_every_path_that_is_named_exists(page):
    named = re.findall(r"`((?:vireid|tests|ablations|notebooks|benchmarks|docs)/[\w./]*)`", (ROOT / page).read_text())
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_drawing_has_every_package():
    drawing = (ROOT / "docs/architecture.md").read_text().partition("```mermaid")[2].partition("```")[0]
    packages = {path.name for path in (ROOT / "vireid").iterdir() if (path / "__init__.py").is_file()}
    assert {package for package in packages if not re.search(rf"\b{package}\[", drawing)} == set()


def test_every_link_between_pages_leads_somewhere():
    links = [(page, link) for page in PAGES for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())]
    local = [(page, link) for page, link in links if "://" not in link]
    assert len(local) > 50
    assert [(page.name, link) for page, link in local if not (page.parent / link).exists()] == []


def test_every_page_is_on_the_site():
    listed = set(re.findall(r"[\w-]+\.md", (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2]))
    assert listed == {page.name for page in (ROOT / "docs").glob("*.md")}


def test_extras_that_code_and_pages_name_exist():
    assert set(get_args(Extra)) <= set(EXTRAS)
    named = {
        extra
        for page in PAGES
        for group in re.findall(r"EXTRAS=([a-z]+(?:,[a-z]+)*)", page.read_text())
        for extra in group.split(",")
    }
    assert named
    assert named <= set(EXTRAS)
    table = (ROOT / "docs/index.md").read_text().partition("## Extras")[2].partition("##")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == set(EXTRAS)


def test_every_command_that_a_page_names_exists():
    for module in (ROOT / "vireid/cli").glob("[a-z]*.py"):
        importlib.import_module(f"vireid.cli.{module.stem}")
    commands = {command.name or command.callback.__name__ for command in app.registered_commands} | {
        group.name for group in app.registered_groups
    }
    texts = [page.read_text() for page in PAGES]
    blocks = [block for text in texts for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL)]
    named = {name for block in blocks for name in re.findall(r"^vireid ([a-z-]+)", block, re.MULTILINE)}
    named |= {name for text in texts for name in re.findall(r"`vireid ([a-z-]+)", text)}
    assert len(named) > 10
    assert named <= commands


def test_the_study_that_a_page_writes_can_be_planned():
    text = (ROOT / "docs/ablation.md").read_text()
    study = Study.model_validate(yaml.safe_load(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1]))
    plan, _ = make_plan(study)
    assert len(plan.cells) == 4
    keys = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE))))
    assert set(Study.model_fields) - keys <= {"name", "title", "description", "resolution", "cells"}


@pytest.mark.parametrize("study", ["optimized_idkl", "levels"])
def test_effects_on_the_page_of_findings_are_those_of_the_records(study):
    page = (ROOT / "docs/findings.md").read_text(encoding="utf-8")
    effects = load_study(STUDIES / study).effects()
    main = effects[~effects.effect.str.contains(" × ") & (effects.reranking == "no re-ranking")]
    main = main[main.protocol == main.protocol.iloc[0]]
    printed = {}
    for row in main.itertuples():
        text = f"{signed(100 * row.difference)} [{100 * row.low:.1f}, {100 * row.high:.1f}]".replace("-", "−")
        printed[row.effect, row.metric] = f"**{text}**" if row.shown else text
    assert len(printed) >= 10
    for name, placebo in {(row.effect, row.placebo) for row in main.itertuples()}:
        label = f"*{name}*" if placebo else name
        assert f"| {label} | {printed[name, 'mAP']} | {printed[name, 'r1']} |" in page, name


def test_what_the_readme_finds_stands_on_the_page_of_findings():
    findings = (ROOT / "docs/findings.md").read_text(encoding="utf-8")
    found = (ROOT / "README.md").read_text(encoding="utf-8").partition("## What it finds")[2].partition("\n## ")[0]
    numbers = re.findall(r"−?\d+\.\d", found)
    assert len(numbers) >= 5
    assert [number for number in numbers if number not in findings] == []


@pytest.mark.check
@pytest.mark.skipif(shutil.which("mkdocs", path=str(Path(sys.executable).parent)) is None, reason="no mkdocs here")
def test_the_site_builds_without_a_warning(tmp_path):
    command = [str(Path(sys.executable).with_name("mkdocs")), "build", "--strict", "--site-dir", str(tmp_path)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "evaluate_features" in (tmp_path / "api/index.html").read_text(encoding="utf-8")
