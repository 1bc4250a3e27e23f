"""What ``vireid profile --layers`` shows: a table of layers, what they explain of the whole, a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vireid.core.errors import UserError, did_you_mean
from vireid.core.messages import DASH, counted
from vireid.core.table import Either, Table

if TYPE_CHECKING:
    from vireid.profiling.layers import Layer, LayerProfile, Roofs

SLOWEST = 15  # layers of a table on a terminal; a pipe gets all
KINDS = ("png", "svg", "pdf")
OUTERMOST = "(outermost module)"


def label(profile: LayerProfile) -> str:
    """Runtime, precision, threads and batch, on one line."""
    threads = counted(profile.threads, "thread")
    return f"{profile.runtime}, {profile.precision}, {threads}, batch {profile.batch}"


def layers_table(profile: LayerProfile, *, terminal: bool) -> Table:
    """A row per layer: on a terminal the slowest and the others as one row, in a pipe all in order of execution."""
    assert profile.rest is not None
    table = Table(f"Layers: {label(profile)}")
    table.add_column("layer", "path")
    table.add_columns("ms", "time %", "MMACs", "MB", "ops/byte", "roof %")
    table.add_column("bound by")
    layers = list(profile.layers)
    if terminal and len(layers) > SLOWEST + 1:
        ordered = sorted(layers, key=lambda layer: -layer.seconds)
        layers, others = ordered[:SLOWEST], ordered[SLOWEST:]
    else:
        others = []
    for layer in layers:
        table.add_row(layer.module or OUTERMOST, *_figures(layer, profile))
    table.add_section()
    if others:
        table.add_row(f"others ({len(others)})", *_figures(_sum(others), profile, together=True))
    table.add_row("not attributed", *_figures(profile.rest, profile, together=True))
    table.add_row("whole forward", *_figures(_sum([*profile.layers, profile.rest]), profile, together=True))
    table.caption = "MB: weights, inputs and outputs; ops/byte: 2 operations per MAC"
    if profile.roofs is not None:
        table.caption += f"\nroof: {profile.roofs.gflops:.0f} GFLOP/s, {profile.roofs.bandwidth:.1f} GB/s"
    return table


def _figures(layer: Layer, profile: LayerProfile, *, together: bool = False) -> list[str | Either]:
    """Cells of a row; several layers ``together`` have no one place beneath the roofs."""
    roofs: Roofs | None = None if together else profile.roofs
    share, bound = (None, None) if roofs is None else (roofs.share(layer), roofs.bound(layer))
    intensity = None if together or not layer.macs else layer.intensity
    megabytes = None if layer.bytes is None else layer.bytes / 1e6
    return [
        Either(f"{1e3 * layer.seconds:.3f}", f"{1e3 * layer.seconds:.4f}"),
        f"{100 * layer.seconds / profile.profiled:.1f}",
        Either(f"{layer.macs / 1e6:.1f}", f"{layer.macs / 1e6:.4f}") if layer.macs else DASH,
        Either(f"{megabytes:.2f}", f"{megabytes:.4f}") if megabytes else DASH,
        DASH if intensity is None else f"{intensity:.1f}",
        DASH if share is None else f"{100 * share:.0f}",
        bound or DASH,
    ]


def _sum(layers: Sequence[Layer]) -> Layer:
    from vireid.profiling.layers import Layer

    known = [layer.bytes for layer in layers if layer.bytes is not None]
    return Layer("", sum(layer.seconds for layer in layers), sum(layer.macs for layer in layers), sum(known))


def remarks(profile: LayerProfile) -> Iterator[str]:
    """What the layers explain of the whole, how they were timed and what is doubted, or why there are none."""
    if profile.status != "ok":
        yield f"{label(profile)}: {profile.status}: {profile.reason}"
        return
    whole, plain = 1e3 * profile.profiled, 1e3 * profile.plain
    yield f"{label(profile)}: layers explain {100 * profile.explained:.0f} % of a forward of {whole:.2f} ms"
    yield f"without being watched it takes {plain:.2f} ms; layers by {profile.method}"
    yield from profile.notes


def check_picture(file: Path) -> None:
    """Refuse a file whose ending names no kind of picture.

    Raises:
        UserError: as said.
    """
    if file.suffix.removeprefix(".") not in KINDS:
        raise UserError(
            f"--picture {file}: no such kind of picture{did_you_mean(file.suffix.removeprefix('.'), KINDS)}"
        )


def write_picture(profiles: Sequence[LayerProfile], file: Path) -> None:
    """Draw time by block, a panel for each profile.

    Raises:
        UserError: there is none to draw, or the file cannot be written.
    """
    from vireid.report.figures.layers import LayerBars, layer_picture
    from vireid.store import write_atomically

    told = [profile for profile in profiles if profile.status == "ok"]
    if not told:
        raise UserError(f"--picture {file}: no runtime told the time of its layers, so that there is nothing to draw")
    panels = [LayerBars(label(profile), blocks(profile)) for profile in told]
    write_atomically(file, layer_picture(panels, file.suffix.removeprefix(".")))


def blocks(profile: LayerProfile) -> dict[str, dict[str | None, float]]:
    """Milliseconds by block (a layer's parent module) and bound (``compute``, ``memory``, None: not known)."""
    assert profile.rest is not None
    names = [layer.module.rpartition(".")[0] for layer in profile.layers]
    times: dict[str, dict[str | None, float]] = {}
    for layer, parent in zip(profile.layers, names, strict=True):
        own = layer.module in names or not parent  # a block's own operators, and layers without a block
        bound = None if profile.roofs is None else profile.roofs.bound(layer)
        block = times.setdefault((layer.module if own else parent) or OUTERMOST, {})
        block[bound] = block.get(bound, 0.0) + 1e3 * layer.seconds
    times["not attributed"] = {None: 1e3 * profile.rest.seconds}
    return times
