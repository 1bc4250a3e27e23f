"""Where the numbers come from: machines, packages, commits, data."""

from collections.abc import Mapping, Sequence

from vireid.core.environment import Environment
from vireid.core.messages import DASH
from vireid.core.records import FitRecord, LatencyRecord
from vireid.report.html import Column, Html, absent, join, table, tag
from vireid.report.page import Report
from vireid.report.records.labels import data_label, data_note, device_label


def render(report: Report) -> Html:
    """Software and machines of the study's fits and latencies, and the data that fits were trained on."""
    view = report.view
    fits = [run.fit for run in view.trained]
    if not fits:
        return absent("No finished training.")
    artefacts = {cost.artefact for cost in view.costs.values()}
    timed = [r for r in view.records.values() if isinstance(r, LatencyRecord) and r.artefact in artefacts]
    used = [("training", fit.environment) for fit in fits] + [("latency", record.environment) for record in timed]
    return join([_environments(used), _data(fits)])


def as_text(value: object) -> str:
    """A nested value as one line of text; what is not known is left out, bytes are printed in GB."""
    if isinstance(value, Mapping):
        known = [(str(key), entry) for key, entry in value.items() if entry not in (None, [], {})]
        entries = [
            f"{key.removesuffix('_bytes').replace('_', ' ')} {entry / 1e9:.1f} GB"
            if key.endswith("_bytes") and isinstance(entry, int)
            else f"{key.replace('_', ' ')} ({as_text(entry)})"
            if isinstance(entry, Mapping)
            else f"{key.replace('_', ' ')} {as_text(entry)}"
            for key, entry in known
        ]
        return ", ".join(entries)
    if isinstance(value, list | tuple):
        return " ".join(as_text(entry) for entry in value)
    return str(value)


def _environments(used: Sequence[tuple[str, Environment]]) -> Html:
    merged: dict[str, tuple[Environment, list[str]]] = {}
    for purpose, environment in used:
        merged.setdefault(environment.model_dump_json(), (environment, []))[1].append(purpose)
    blocks = []
    for environment, purposes in merged.values():
        counted = ", ".join(f"{purposes.count(name)} × {name}" for name in dict.fromkeys(purposes))
        commit = "not run from a checkout"
        if environment.git_commit:
            dirty = " with uncommitted changes" if environment.git_dirty else ""
            commit = tag("span", tag("code", environment.git_commit[:12]), dirty)
        device = as_text({k: v for k, v in environment.device.items() if k not in ("threads", "torch_build")})
        packages = ", ".join(f"{name} {version}" for name, version in environment.packages.items())
        rows = [
            ["Machine", device_label(environment)],
            ["Accelerator", environment.accelerator],
            ["Threads", str(environment.threads)],
            ["Device", tag("small", device or "not described")],
            ["Platform", environment.platform],
            ["Python", environment.python],
            ["Packages", packages],
            ["Commit", commit],
        ]
        blocks.append((counted, rows))
    columns = [Column("", text=True), Column("Value", text=True)]
    return table(columns, blocks, "Environments in which the records of this study were made.")


def _data(fits: Sequence[FitRecord]) -> Html:
    rows: dict[tuple[str, ...], list[str]] = {}
    for fit in fits:
        specification = fit.data.get("specification") or {}
        content = as_text(specification)
        label = data_label(fit)
        entry = (
            str(fit.data.get("name", label)),
            data_note(label) or "real",
            str(fit.data.get("images", DASH)),
            str(fit.data.get("identities", DASH)),
            str(fit.data.get("fingerprint", DASH)),
            content,
        )
        rows.setdefault(entry, [*entry[:4], tag("code", entry[4][:16]), tag("small", content)])
    columns = [Column("Data", text=True), Column("Kind", text=True), Column("Images"), Column("Identities")]
    columns += [Column("Fingerprint", text=True), Column("Specification", text=True)]
    return table(columns, [("", list(rows.values()))], "Data that the fits were trained on.")
