"""The page of all studies."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.report.conftest import BuildStore
from vireid.cli import app
from vireid.core.errors import UserError
from vireid.report.index import studies_table, write_index


def test_every_study_stands_in_the_list_and_leads_to_its_report_where_there_is_one(build_store: BuildStore) -> None:
    store = build_store((0, 1, 2), broken=(3,))
    table = studies_table(store)
    assert "Each configuration adds one toggle to the one before." in table
    assert "href" not in table
    page = store.study("quick") / "report/index.html"
    page.parent.mkdir()
    page.write_text("<p>")
    assert '<a href="quick/report/index.html">quick</a>' in studies_table(store)
    assert write_index(store) == store.root / "studies/index.html"
    assert "quick/report/index.html" in (store.root / "studies/index.html").read_text()


@pytest.mark.parametrize("arguments", [[], ["quick", "--all"]])
def test_report_wants_one_study_or_all(arguments: list[str], tmp_path: Path) -> None:
    import vireid.cli.study  # noqa: F401  adds its commands

    result = CliRunner().invoke(app, ["report", *arguments, "--store", str(tmp_path)])
    assert isinstance(result.exception, UserError)
    assert "name one study, or give --all" in str(result.exception)
