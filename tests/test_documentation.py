"""What the pages for developers name is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_every_path_that_is_named_exists(page):
    named = re.findall(r"`((?:vireid|tests|ablations|notebooks|benchmarks|docs)/[\w./]*)`", (ROOT / page).read_text())
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_drawing_has_every_package():
    drawing = (ROOT / "docs/architecture.md").read_text().partition("```mermaid")[2].partition("```")[0]
    packages = {path.name for path in (ROOT / "vireid").iterdir() if (path / "__init__.py").is_file()}
    assert {package for package in packages if not re.search(rf"\b{package}\[", drawing)} == set()
