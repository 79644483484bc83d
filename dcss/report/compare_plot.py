"""A comparison as one SVG: memory, time and CPU of each way. This and sweep_plot import matplotlib."""

from importlib.util import find_spec
from io import BytesIO
from typing import TYPE_CHECKING

from dcss.errors import ConfigError
from dcss.report.html.render import INSTALL
from dcss.results import ComparisonResult, WayResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MIB = 1 << 20
_COLOURS = {"private": "#c77f1a", "copies": "#a8433a", "segments": "#3b7fb6", "merged": "#8b7bb0"}


def check_plotter() -> None:
    """Raise ConfigError where the library that plots is not installed."""
    if find_spec("matplotlib") is None:
        raise ConfigError(f"--plot: found no matplotlib, wanted the extra `report`; install it: {INSTALL}")


def comparison_plot(result: ComparisonResult) -> bytes:
    """Return the plot as SVG; the same result gives the same bytes."""
    check_plotter()
    import matplotlib as mpl
    from matplotlib.figure import Figure

    ways = [way for way in result.ways if way.reason is None]
    with mpl.rc_context({"svg.hashsalt": "dcss", "svg.fonttype": "none", "hatch.linewidth": 0.6}):
        figure = Figure(figsize=(10, 1.4 + 0.45 * max(1, len(ways))), layout="constrained")
        memory, ready, cpu = figure.subplots(1, 3, sharey=True, width_ratios=(3, 1, 1))
        names = [way.way for way in ways]
        left = [0.0] * len(ways)
        for label, hatch in (("private", ""), ("copies", "///"), ("segments", ""), ("merged", "...")):
            sizes = [_part(way, label) / _MIB for way in ways]
            if any(sizes):
                memory.barh(names, sizes, left=left, label=label, color=_COLOURS[label], hatch=hatch, edgecolor="white")
            left = [before + size for before, size in zip(left, sizes, strict=True)]
        ready.barh(names, [way.ready_seconds or 0.0 for way in ways], color="#7a8594")
        cpu.barh(names, [way.cpu_seconds or 0.0 for way in ways], color="#7a8594")
        for axes, label in ((memory, "memory, MiB"), (ready, "until ready, s"), (cpu, "CPU of the guests, s")):
            axes.set_xlabel(label)
            axes.grid(visible=True, axis="x", linewidth=0.3)
            axes.set_axisbelow(True)
        memory.invert_yaxis()
        figure.suptitle(f"{result.system}: one workload by every way to file bytes", fontsize=10)
        if ways:
            figure.legend(loc="outside lower center", ncols=4, fontsize=8, frameon=False)
        return svg_of(figure)


def svg_of(figure: "Figure") -> bytes:
    """Return a figure as SVG without its date."""
    content = BytesIO()
    figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()


def _part(way: WayResult, label: str) -> int:
    """Return one part of a way's memory; private memory is without the copies in it."""
    # Copies that KSM merged are private no more; how many of those that are private are copies, nobody counts.
    copies = 0 if way.merged_bytes is not None else sum(guest.copies_bytes or 0 for guest in way.guests)
    parts = {
        "private": max(0, (way.private_bytes or 0) - copies),
        "copies": min(copies, way.private_bytes or 0),
        "segments": way.segment_bytes or 0,
        "merged": way.merged_bytes or 0,
    }
    return parts[label]
