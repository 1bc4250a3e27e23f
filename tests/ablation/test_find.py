"""Studies by path and by name, from the working folder and from the suite."""

from __future__ import annotations

from pathlib import Path

import pytest

from vireid.ablation.study import find_study, study_files
from vireid.core.errors import UserError
from vireid.core.shipped import shipped


def test_a_study_is_found_by_name_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_study("quick") == shipped("ablations") / "quick.yaml"
    assert find_study("elsewhere/mine.yaml") == Path("elsewhere/mine.yaml"), "a path is taken as it stands"


def test_the_working_folder_s_studies_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ablations").mkdir()
    for name in ("quick", "mine"):
        (tmp_path / "ablations" / f"{name}.yaml").write_text("")
    monkeypatch.chdir(tmp_path)
    assert find_study("quick") == tmp_path / "ablations" / "quick.yaml"
    found = study_files()
    assert found["mine"].parent == tmp_path / "ablations"
    assert found["smoke"].parent == shipped("ablations")


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match="study 'quik': no such file, nor a study of that name; did you mean 'quick'"):
        find_study("quik")
