"""Where the time of a forward goes: a bar per block of the network, coloured by the roof that holds it down."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.patches import Patch

from vireid.report.figures.canvas import GREY, OKABE_ITO, drawn, light_grid, small_multiples, styled

COLOURS: Mapping[str | None, str] = {"compute": OKABE_ITO[0], "memory": OKABE_ITO[1], None: GREY}
NAMES: Mapping[str | None, str] = {"compute": "bound by arithmetic", "memory": "bound by memory", None: "not known"}
_BAR, _MARGIN, _WIDTH = 0.16, 0.75, 5.4  # inches: of a bar, above and below all bars of a panel, of a panel


@dataclass(frozen=True)
class LayerBars:
    """One panel: milliseconds of every block, in order of execution, by what bounds its layers."""

    title: str
    blocks: Mapping[str, Mapping[str | None, float]]  # "compute", "memory" or None (not known) → ms


def layer_picture(panels: Sequence[LayerBars], kind: str) -> bytes:
    """Horizontal bars, a panel below the other, as a file of that kind: ``svg``, ``pdf`` or ``png``."""
    heights = [_MARGIN + _BAR * len(panel.blocks) for panel in panels]
    with styled():
        grid = small_multiples(heights, 1, _WIDTH, (1.4, 0.0), legend=0.3)
        for axes, panel in zip(grid.panels, panels, strict=True):
            light_grid(axes, "x")
            names = list(panel.blocks)
            left = [0.0] * len(names)
            for bound, hue in COLOURS.items():
                widths = [panel.blocks[name].get(bound, 0.0) for name in names]
                axes.barh(range(len(names)), widths, left=left, color=hue, height=0.72)
                left = [begin + width for begin, width in zip(left, widths, strict=True)]
            axes.set_xlim(0, 1.04 * max(left))
            axes.set_yticks(range(len(names)), names)
            axes.set_ylim(len(names) - 0.4, -0.6)  # the first on top
            axes.set_title(panel.title)
            axes.set_xlabel("ms per forward")
        shown = [
            bound for bound in COLOURS if any(parts.get(bound) for panel in panels for parts in panel.blocks.values())
        ]
        handles = [Patch(color=COLOURS[bound], label=NAMES[bound]) for bound in shown]
        grid.figure.legend(handles=handles, loc="outside lower center", ncols=len(COLOURS))
        return drawn(grid.figure, kind, "Time of each block")
