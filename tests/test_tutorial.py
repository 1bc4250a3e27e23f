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
    (tmp_path / "my_method.py").write_text(_block("python"))
    (tmp_path / "my_study.yaml").write_text(_block("yaml"))
    return tmp_path


def _vireid(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("vireid")), *arguments]
    environment = {**os.environ, "COLUMNS": "200", "VIREID_STORE": str(cwd / "store")}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment, timeout=300)


def test_the_tutorial_module_is_short():
    assert len([line for line in _block("python").splitlines() if line.strip()]) <= 40


def test_the_tutorial_study_plans_with_the_users_own_module(workplace):
    result = _vireid("ablate", "my_study.yaml", "--plan", cwd=workplace)
    assert result.returncode == 0, result.stderr
    assert "mine" in result.stdout


@pytest.mark.check
def test_the_tutorial_method_trains_beside_idkl_and_stands_in_the_report(workplace):
    small = ["data.synthetic.train_ids=6", "data.synthetic.val_ids=4", "data.synthetic.test_ids=4"]
    result = _vireid("ablate", "my_study.yaml", *small, "recipe=smoke", "--seeds", "1", "--report", cwd=workplace)
    assert result.returncode == 0, result.stderr
    page = workplace / "store" / "studies" / "my_study" / "report" / "index.html"
    assert "mine" in page.read_text(encoding="utf-8")
