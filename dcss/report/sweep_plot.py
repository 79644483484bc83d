"""Two columns of a sweep's rows as one SVG: a line for each combination of the other keys."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from dcss.config.load_sweep import text_of
from dcss.documents import JsonObject
from dcss.errors import ConfigError
from dcss.report.compare_plot import check_plotter, svg_of
from dcss.suggest import suggestion

_MIB = 1 << 20
_LEGEND_LINES = 20


def check_columns(x: str, y: str, columns: Sequence[str]) -> None:
    """Raise ConfigError where rows do not have one of the columns."""
    for option, name in (("--x", x), ("--y", y)):
        if name not in columns:
            raise ConfigError(f"{option}: found {name!r}, wanted a column of the rows{suggestion(name, columns)}")


def sweep_plot(name: str, rows: Sequence[JsonObject], x: str, y: str, keys: Sequence[str]) -> bytes:
    """Return the plot as SVG. Points are medians over the repeats; rows without a number in `y` have none."""
    check_plotter()
    import matplotlib as mpl
    from matplotlib.figure import Figure

    usable = [row for row in rows if _is_number(row[y]) and row[x] is not None]
    numeric = all(_is_number(row[x]) for row in usable)
    places = {text_of(row[x]): index for index, row in reversed(list(enumerate(usable)))}
    order = sorted(places, key=places.__getitem__)
    scale = _MIB if y.endswith("_bytes") else 1
    series: dict[str, dict[Any, list[float]]] = {}
    for row in usable:
        label = " ".join(f"{key}={text_of(row[key])}" for key in keys if key != x)
        at = row[x] if numeric else order.index(text_of(row[x]))
        series.setdefault(label, {}).setdefault(at, []).append(row[y] / scale)
    with mpl.rc_context({"svg.hashsalt": "dcss", "svg.fonttype": "none"}):
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        axes = figure.subplots()
        for label, points in series.items():
            at = sorted(points)
            style = "o-" if numeric else "o"
            axes.plot(at, [median(points[each]) for each in at], style, label=label, markersize=4, linewidth=1)
        if not numeric:
            axes.set_xticks(range(len(order)), order, rotation=30 if len(order) > 6 else 0)
        axes.set_xlabel(x)
        axes.set_ylabel(f"{y.removesuffix('_bytes')}, MiB" if scale > 1 else y)
        axes.set_ylim(bottom=0 if all(row[y] >= 0 for row in usable) else None)
        axes.grid(visible=True, linewidth=0.3)
        axes.set_title(name, fontsize=10)
        if 1 < len(series) <= _LEGEND_LINES:
            axes.legend(fontsize=8, frameon=False)
        return svg_of(figure)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
