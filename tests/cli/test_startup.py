"""What prints a table imports no torch: help, plans, listings and the table of systems appear at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Whoever imports one of these raises, so that the command tells who it was.
PROGRAM = """
import sys

class Heavy:
    def find_spec(self, name, path=None, target=None):
        if name in {"torch", "torchvision", "scipy", "matplotlib", "transformers", "PANDAS"}:
            raise RuntimeError(f"{name} was imported")

sys.meta_path.insert(0, Heavy())
from vireid.cli import main
main()
"""


def test_the_package_imports_nothing_heavy_until_asked() -> None:
    program = PROGRAM.replace("PANDAS", "pandas").replace(
        "from vireid.cli import main\nmain()", "import vireid\nprint(dir(vireid))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-600:]
    assert "load_study" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--help"], "ablate"),
        (["ablate", "--list"], "quick"),
        (["ablate", "smoke", "--plan"], "4 cells"),
        (["models"], "published numbers"),
        (["models", "--published"], "Disagreements"),
        (["results", "list", "--store", "results"], "evaluation"),
        (["config", "model=idkl_small"], "resnet18"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_a_table_needs_no_torch(arguments: list[str], said: str) -> None:
    blocked = PROGRAM.replace("PANDAS", "pandas")
    done = subprocess.run(
        [sys.executable, "-c", blocked, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-600:]
    assert said in done.stdout
