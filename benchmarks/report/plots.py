"""SVG plots: ratios of each benchmark, and growth in log-log."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from benchmarks.framework.results import Growth, Results, Row

mpl.rcParams["svg.hashsalt"] = "dcss"  # the same results give the same file
mpl.rcParams["svg.fonttype"] = "none"
MANY = 200  # from the smallest to the largest number on an axis
NO_DATE = {"Date": None}


def write_plots(results: Results, directory: Path) -> dict[str, list[str]]:
    """Write a plot for every benchmark and return their file names by benchmark."""
    directory.mkdir(exist_ok=True)
    names: dict[str, list[str]] = {}
    for name in results.seconds:
        rows = [row for row in results.rows if row.benchmark == name and row.samples]
        growths = [each for each in results.growths if each.benchmark == name and each.points]
        if rows and any(row.ratio(subject) for row in rows for subject in row.samples):
            names.setdefault(name, []).append(_save(ratio_plot(rows), directory, name))
        if growths:
            names.setdefault(name, []).append(
                _save(growth_plot(growths), directory, f"{name}-growth" if rows else name)
            )
    return names


def ratio_plot(rows: Sequence[Row]) -> Figure:
    """Draw ours divided by each other subject, with quartiles, on a logarithmic axis; left of 1 ours is cheaper."""
    bars = [
        (f"{row.name}: {row.ours} / {subject}", ratio)
        for row in rows
        for subject in row.samples
        if (ratio := row.ratio(subject)) is not None and ratio.median > 0
    ]
    figure = Figure(figsize=(9, 0.6 + 0.26 * len(bars)), layout="constrained")
    axes = figure.subplots()
    places = range(len(bars), 0, -1)
    for place, (_, ratio) in zip(places, bars, strict=True):
        color = "tab:green" if ratio.high < 1 else "tab:red" if ratio.low > 1 else "tab:gray"
        axes.plot([ratio.low, ratio.high], [place, place], color=color, linewidth=3, solid_capstyle="butt")
        axes.plot([ratio.median], [place], "o", color=color, markersize=5)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    _number(axes.xaxis)
    axes.set_yticks(list(places), [label for label, _ in bars], fontsize=8)
    axes.set_xlabel("ratio, median and quartiles; left of 1 is cheaper")
    axes.grid(visible=True, axis="x", linewidth=0.3)
    return figure


def growth_plot(growths: Sequence[Growth]) -> Figure:
    """Draw each growth in log-log, with quartiles, and a linear one for comparison."""
    columns = min(3, len(growths))
    lines = -(-len(growths) // columns)
    figure = Figure(figsize=(3.6 * columns, 3.0 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes, each in zip(grid.flat, growths, strict=False):
        medians = each.medians()
        sizes, values = zip(*medians, strict=True)
        axes.plot(sizes, values, "o-", color="tab:blue", markersize=3)
        last_size, last_value = medians[-1]
        axes.plot(sizes, [last_value * size / last_size for size in sizes], ":", color="gray", linewidth=1)
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            _number(axis)
        exponent = each.exponent()
        shown = "" if exponent is None else f", exponent {exponent:.2f}"
        axes.set_title(f"{each.name}{shown}", fontsize=9)
        axes.set_xlabel(each.against, fontsize=8)
        axes.set_ylabel(each.unit, fontsize=8)
    for axes in list(grid.flat)[len(growths) :]:
        axes.set_axis_off()
    return figure


def _number(axis: Axis) -> None:
    """Write plain numbers at 1, 2 and 5 of each decade of a logarithmic axis, or at 1 alone where decades are many."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / low < MANY else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(NullFormatter())
    axis.set_tick_params(labelsize=7)


def _save(figure: Figure, directory: Path, name: str) -> str:
    figure.savefig(directory / f"{name}.svg", metadata=NO_DATE)
    return f"{directory.name}/{name}.svg"
