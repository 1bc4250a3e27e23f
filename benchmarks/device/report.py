"""A short table of what ``accelerator.py`` recorded, for a terminal and for Markdown."""

from __future__ import annotations

import statistics
from typing import Any


def markdown(record: dict[str, Any]) -> str:
    """A section per part."""
    card = record["environment"]
    gpu = record["gpu"]
    lines = [
        f"# {card['accelerator']}{' (dry run, toy sizes)' if record['dry'] else ''}",
        "",
        f"{card['device']['cpu']}, {card['device']['logical_cores']} logical cores; driver {gpu.get('driver') or '—'}, "
        f"CUDA {gpu['cuda'] or '—'}, cuDNN {gpu['cudnn'] or '—'}; Python {card['python']}, "
        f"torch {card['device']['torch']}; commit {record['commit'] or 'unknown'}"
        f"{' (changed)' if card['git_dirty'] else ''}; {record['started']}. Made by `{record['command']}`.",
    ]
    for part in record["parts"]:
        lines += ["", f"## {part['title']}: {part['status']}, {part['seconds']:.0f} s", ""]
        if part["reason"]:
            lines += [part["reason"], ""]
        if part["rows"]:
            lines += ["| what | result |", "|---|---|"]
            lines += [f"| {row['name']} | {_cell(row)} |" for row in part["rows"]]
    return "\n".join(lines) + "\n"


def _cell(row: dict[str, Any]) -> str:
    if row["status"] == "skipped":
        return f"skipped: {_one_line(row['reason'])}"
    found = []
    if "milliseconds" in row:
        unit = "ms a step" if "images" in row else "ms"
        found.append(f"{statistics.median(row['milliseconds']):.2f} {unit}")
    if "images_per_second" in row:
        found.append(f"{row['images_per_second']:.0f} images/s")
    if "images" in row:
        found.append(f"{row['images']} images of {row['height']}×{row['width']}")
    if "feature_error" in row:
        found.append(f"features within {row['feature_error']:.1e} of eager fp32")
    if "prepare_seconds" in row:
        found.append(f"ready after {row['prepare_seconds']:.1f} s")
    if isinstance(row.get("seconds"), list):
        found.append(f"{statistics.median(row['seconds']):.2f} s ({len(row['seconds'])} times)")
    elif "seconds" in row:
        found.append(f"{row['seconds']:.1f} s")
    if "step_seconds" in row and not isinstance(row["step_seconds"], list):
        found.append(f"{1e3 * row['step_seconds']:.1f} ms a step, loader included")
    if "steps" in row:
        found.append(
            f"{row['steps']} steps of {row['batch']} images in {row['precision']}, {row['fit_seconds']:.0f} s, "
            f"{row['median_step_milliseconds']:.1f} ms a step, {100 * row['waiting_share']:.0f} % waiting for images; "
            f"mAP on dev by epoch {', '.join(f'{100 * value:.1f}' for value in row['dev'])} %"
        )
    if row.get("peak_bytes"):
        found.append(f"peak {row['peak_bytes'] / 1e9:.2f} GB")
    if "metrics" in row:
        scores = ", ".join(
            f"{name} {100 * row['metrics'][name]:.2f}" for name in ("r1", "mAP", "mINP") if name in row["metrics"]
        )
        found.append(scores)
    if "largest_difference" in row:
        found.append(f"metrics agree within {row['largest_difference']:.1e}")
    if "tests" in row:
        found.append(row["tests"])
    if row["status"] == "failed":
        found.insert(0, f"FAILED: {_one_line(row['reason'])}")
    return "; ".join(found) or "ok"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300].replace("|", "\\|")
