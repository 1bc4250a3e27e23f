"""Title, what was studied, how complete it is, and what is missing and why."""

from vireid.report.html import Html, bullets, join, paragraph, tag
from vireid.report.page import Report


def render(report: Report) -> Html:
    """The head of a report."""
    view, plan = report.view, report.view.plan
    pieces = [tag("h1", plan.title)]
    if plan.description:
        pieces.append(paragraph(plan.description, class_="lead"))
    seeds = ", ".join(map(str, plan.seeds))
    named = [f"control {cell.control}" for cell in view.controls]
    named += [name if name == "placebo" else f"placebo {name}" for name in plan.placebo]
    checks = f"; checks: {', '.join(named)}" if named else ""
    facts = [
        f"Design: {plan.design.replace('_', ' ')}, {len(view.design_cells)} cells × {len(plan.seeds)} "
        f"seed{'s' if len(plan.seeds) != 1 else ''} ({seeds}); reference: {view.baseline.label}{checks}.",
        f"Complete: {view.finished} of {len(view.runs)} runs.",
        f"Data: {', '.join(view.data_labels) or 'none yet'}.",
    ]
    pieces.append(bullets(facts))
    if view.note:
        pieces.append(tag("p", tag("strong", view.note.strip()), class_="notice"))
    missing = [f"{run.cell.label}, seed {run.seed}: {'; '.join(run.problems)}" for run in view.runs if run.problems]
    if missing:
        pieces.append(tag("div", paragraph("Missing from this report:"), bullets(missing), class_="warning"))
    if stale := "; ".join(f"{run.cell.label}, seed {run.seed}" for run in view.runs if run.stale):
        changed = f"Stale: a component has changed since these were measured: {stale}."
        pieces.append(paragraph(changed, class_="warning"))
    if view.mixed_sources:
        mixed = f"Runs of this study were made with different sources of {', '.join(view.mixed_sources)}"
        pieces.append(paragraph(f"{mixed}; differences between them may come from that.", class_="warning"))
    return join(pieces)
