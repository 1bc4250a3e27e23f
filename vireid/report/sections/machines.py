"""What was measured on which machines, and what could not be."""

from vireid.report.html import Column, Html, bullets, join, paragraph, table, unfilled
from vireid.report.page import Report
from vireid.report.records.timings import by_key


def render(report: Report) -> Html:
    """One row per machine, mode of measuring and threads; below what was skipped or failed, with the reason."""
    deployment = report.deployment
    skipped = [
        f"{record.runtime.get('name')} {record.precision}, {record.status}: {record.reason or 'no reason recorded'}"
        for record in deployment.latencies
        if record.status != "ok" and record.artefact in deployment.labels
    ]
    below = [paragraph("Not measured:"), bullets(dict.fromkeys(skipped))] if skipped else []
    rows = []
    for key, own in by_key(deployment.shown).items():
        counts = (len({t.graph for t in own}), len({t.runtime for t in own}), len(own))
        rows.append([key.device, key.mode, str(key.threads), *map(str, counts)])
    if not rows:
        command = "vireid profile model=idkl profile=runtimes"
        return join([unfilled("No forward pass measured on any machine", command), *below])
    columns = [Column("Machine", text=True), Column("Mode of measuring", text=True), Column("Threads")]
    columns += [Column(name) for name in ("Graphs", "Runtimes", "Measurements")]
    caption = (
        "What was measured where. Machines that differ in processor, stepping, instruction sets, cores or accelerators "
        "are never merged, nor are limits, isolated processes and thread counts."
    )
    return join([table(columns, [("", rows)], caption), *below])
