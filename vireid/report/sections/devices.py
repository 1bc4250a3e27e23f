"""Devices that a deployment is asked about and nobody has measured yet, with the commands that fill them."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vireid.report.html import Html, bullets, join, paragraph, tag
from vireid.report.page import Report
from vireid.report.records.deployment import DeploymentView


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
    machines = [record.environment.device for record in deployment.latencies if record.status == "ok"]
    return [wanted for wanted in WANTED if not any(wanted.is_one(machine) for machine in machines)]


def render(report: Report) -> Html:
    """The list, and the three commands."""
    deployment = report.deployment
    missing = unmeasured(deployment)
    if not missing:
        return paragraph("Every device of the list has been measured; see above.")
    run = deployment.models[0].fits[0].id if deployment.models else "RUN"
    steps = [
        tag("span", "Here: ", tag("code", f"vireid bundle {run} --to bundle"), ", and copy the folder to the device."),
        tag(
            "span", "There, in the folder: ", tag("code", "python measure.py"), "; bring back the file that it writes."
        ),
        tag("span", "Here: ", tag("code", "vireid results add FILE"), ", and render this report again."),
    ]
    return join(
        [
            paragraph("Never measured; a limit on another machine says nothing about them:"),
            bullets(f"{wanted.name}: {wanted.why}." for wanted in missing),
            paragraph("Each is filled by:"),
            tag("ol", *(tag("li", step) for step in steps)),
        ]
    )
