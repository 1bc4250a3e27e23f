"""The page of all studies of a store: what each asks, how far it is, and where its report is."""

from collections.abc import Collection
from pathlib import Path

from vireid.report.html import Column, Html, link, table, tag
from vireid.report.records.find import known_studies
from vireid.report.records.study import StudyView
from vireid.report.render import PAGE, page_html
from vireid.store import Store, write_atomically

_COLUMNS = (
    Column("Study", text=True),
    Column("What it asks", text=True),
    Column("Cells"),
    Column("Seeds"),
    Column("Runs", "complete"),
    Column("Stale", "runs"),
    Column("Data", text=True),
)


def studies_table(store: Store, stale: Collection[str] | None = None) -> Html:
    """A row per study of a store, its name leading to its report where there is one."""
    rows = []
    for name in known_studies(store.root):
        view = StudyView(store, name, stale)
        rendered = (store.study(name) / "report" / PAGE).is_file()
        rows.append(
            [
                link(f"{name}/report/{PAGE}", name) if rendered else name,
                tag("span", view.plan.title, tag("small", view.plan.description)),
                str(len(view.plan.cells)),
                str(len(view.plan.seeds)),
                f"{view.finished} of {len(view.runs)}",
                str(sum(bool(run.stale) for run in view.runs)),
                ", ".join(view.data_labels) or "none yet",
            ]
        )
    return table(_COLUMNS, [("", rows)], "Every study of this store; a name leads to its report.")


def write_index(store: Store, stale: Collection[str] | None = None) -> Path:
    """Write ``studies/index.html`` and return its path.

    Args:
        store: the record store.
        stale: ids of records whose component source has changed since they were made.

    Raises:
        UserError: the page cannot be written.
    """
    from nbformat import v4

    shown = v4.new_output("display_data", {"text/html": str(studies_table(store, stale))})  # type: ignore[no-untyped-call]
    cells = [v4.new_markdown_cell("# Studies"), v4.new_code_cell("", outputs=[shown])]  # type: ignore[no-untyped-call]
    notebook = v4.new_notebook(cells=cells)  # type: ignore[no-untyped-call]
    path = store.root / "studies" / PAGE
    write_atomically(path, page_html(notebook, "studies"))
    return path
