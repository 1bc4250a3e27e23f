"""What was measured on which machines, devices that nobody has measured yet, and where the numbers come from."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vireid.core.environment import Environment
from vireid.core.messages import DASH, file_name
from vireid.core.records import FitRecord, LatencyRecord
from vireid.report.html import Column, Html, absent, bullets, join, paragraph, table, tag, unfilled
from vireid.report.page import Report
from vireid.report.records.deployment import DeploymentView
from vireid.report.records.keys import data_label, data_note, device_label, grouped
from vireid.report.sections.contributions import device_cards


def render_machines(report: Report) -> Html:
    """One row per machine, mode of measuring and threads; below what was skipped or failed, with the reason."""
    deployment = report.deployment
    skipped = [
        f"{file_name(record)}, {record.status}: {record.reason or 'no reason recorded'}"
        for record in deployment.latencies
        if record.status != "ok" and record.artefact in deployment.labels
    ]
    below = [paragraph("Not measured:"), bullets(dict.fromkeys(skipped))] if skipped else []
    rows = []
    for key, timings in grouped(deployment.shown, lambda timing: timing.key).items():
        counts = (len({t.graph for t in timings}), len({t.runtime for t in timings}), len(timings))
        by = [deployment.measured_by(key) or "here"] if deployment.contributions else []
        rows.append([key.device, *by, key.way, str(key.threads), *map(str, counts)])
    if not rows:
        command = "vireid profile model=idkl profile=runtimes"
        return join([unfilled("No forward pass measured on any machine", command), *below])
    columns = [Column("Machine", text=True)] + [Column("Measured by", text=True)] * bool(deployment.contributions)
    columns += [Column("Mode of measuring", text=True), Column("Threads")]
    columns += [Column(name) for name in ("Graphs", "Runtimes", "Measurements")]
    caption = (
        "What was measured where. Machines that differ in processor, stepping, instruction sets, cores or accelerators "
        "are never merged, nor are limits, isolated processes and thread counts."
    )
    if deployment.contributions:
        caption += " What others measured stands beside it, file by file, and enters no mean of other records."
    return join([table(columns, [("", rows)], caption), *below])


@dataclass(frozen=True)
class Wanted:
    """A kind of device, and how a machine's description is recognised as one."""

    name: str
    why: str
    is_one: Callable[[Mapping[str, Any]], bool]


def _named(pattern: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda device: re.search(pattern, json.dumps(device, default=str), re.IGNORECASE) is not None


def _without_avx2(device: Mapping[str, Any]) -> bool:
    return device.get("architecture") in ("x86_64", "AMD64") and "avx2" not in (device.get("isa") or ["avx2"])


WANTED = (
    Wanted("Raspberry Pi 4 or 5", "ARM cores, passive cooling", _named("raspberry pi")),
    Wanted("Jetson Orin Nano", "ARM cores beside a small GPU", _named(r"jetson|tegra|\borin\b")),
    Wanted("a laptop without AVX2", "x86 of before 2013, or a low-cost line", _without_avx2),
)


def unmeasured(deployment: DeploymentView) -> list[Wanted]:
    """Those of the list of which no latency record was made."""
    measured = [record for record in deployment.latencies if record.status == "ok"]
    measured += [record for contribution in deployment.contributions.values() for record in contribution.measured]
    machines = [record.environment.device for record in measured]
    return [wanted for wanted in WANTED if not any(wanted.is_one(machine) for machine in machines)]


def render_devices(report: Report) -> Html:
    """What others measured on theirs; the list of what nobody has, and the three commands."""
    deployment = report.deployment
    missing = unmeasured(deployment)
    cards = [device_cards(deployment)] if deployment.contributions else []
    if not missing:
        return join([*cards, paragraph("Every device of the list has been measured; see above.")])
    run = deployment.models[0].fits[0].id if deployment.models else "RUN"
    steps = [
        tag("span", "Here: ", tag("code", f"vireid bundle {run} --to bundle"), ", and copy the folder to the device."),
        tag(
            "span", "There, in the folder: ", tag("code", "./run --record out.json"), "; bring back the file it writes."
        ),
        tag("span", "Here: ", tag("code", "vireid results add out.json"), ", and render this report again."),
    ]
    return join(
        [
            *cards,
            paragraph("Never measured; a limit on another machine says nothing about them:"),
            bullets(f"{wanted.name}: {wanted.why}." for wanted in missing),
            paragraph("Each is filled by:"),
            tag("ol", *(tag("li", step) for step in steps)),
        ]
    )


def render_environment(report: Report) -> Html:
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
    caption = "Environments in which the records of this study were made."
    return table(columns, blocks, caption, folded="Machines, versions and settings")


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
