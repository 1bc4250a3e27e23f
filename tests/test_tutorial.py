"""The tutorial of docs/method.md works as written."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TUTORIAL = (Path(__file__).parents[1] / "docs/method.md").read_text(encoding="utf-8")


def _block(language: str) -> str:
    return re.search(rf"```{language}\n(.*?)```", TUTORIAL, re.DOTALL).group(1)


@pytest.fixture
def workplace(tmp_path):
    assert _vireid("new-method", "my_method", cwd=tmp_path).returncode == 0
    return tmp_path


def _vireid(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("vireid")), *arguments]
    environment = {**os.environ, "COLUMNS": "200", "VIREID_STORE": str(cwd / "store")}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment, timeout=300)


def test_what_the_page_shows_is_what_the_command_writes(workplace):
    assert (workplace / "my_method.py").read_text() == _block("python")
    assert (workplace / "my_method.yaml").read_text() == _block("yaml")


def test_another_name_is_used_throughout_and_nothing_is_overwritten(tmp_path):
    assert _vireid("new-method", "pooled_twice", "--to", str(tmp_path), cwd=tmp_path).returncode == 0
    assert "class PooledTwice(nn.Module)" in (tmp_path / "pooled_twice.py").read_text()
    assert "model.name=pooled_twice:PooledTwice" in (tmp_path / "pooled_twice.yaml").read_text()
    for name, reason in (
        ("pooled_twice", "is there already"),
        ("Net", "cannot name a module"),
        ("numpy", "would hide"),
    ):
        refused = _vireid("new-method", name, cwd=tmp_path)
        assert refused.returncode == 2
        assert reason in refused.stderr


def test_the_tutorial_module_is_short():
    assert len([line for line in _block("python").splitlines() if line.strip()]) <= 40


def test_the_tutorial_study_plans_with_the_users_own_module(workplace):
    result = _vireid("ablate", "my_method.yaml", "--plan", cwd=workplace)
    assert result.returncode == 0, result.stderr
    assert "mine" in result.stdout


@pytest.mark.check
def test_the_tutorial_method_trains_beside_idkl_and_stands_in_the_report(workplace):
    small = ["data.synthetic.train_ids=6", "data.synthetic.val_ids=4", "data.synthetic.test_ids=4"]
    result = _vireid("ablate", "my_method.yaml", *small, "recipe=smoke", "--seeds", "1", "--report", cwd=workplace)
    assert result.returncode == 0, result.stderr
    page = workplace / "store" / "studies" / "my_method" / "report" / "index.html"
    assert "mine" in page.read_text(encoding="utf-8")
