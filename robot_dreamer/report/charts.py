"""Charts as SVG for a page: they take ink and grid from the page, so that they are right in dark and light."""

from __future__ import annotations

import base64
import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito (2008): told apart by colour-blind people too, and readable on white and on black.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9")
DASHES = ("-", "--", ":", "-.")  # the palette's next rounds
_INK, _GRID = "#010203", "#040506"  # replaced by the page's own
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "legend.frameon": False,
}
_TABLE_ROWS = 30
_POINTS, _FEWEST = 8000, 100  # that a chart holds, and a line of it at least, so that no run is too long for a browser
_SIZE = 4.7, 2.8  # inches, where few names are above the plot
_LEAST = 1.4  # inches of its height, however many there are
_NAMED = len(PALETTE) * len(DASHES)  # lines that can be told apart


@dataclass(frozen=True)
class Series:
    """One line, band or cloud.

    Attributes:
      x, y: numbers; what is not finite is left out.
      low, high: borders of a band around the line.
      style: "line", "dots", "steps", "bars" or "reference" (dashed, in the ink of the page).
      colour: of the palette; None: the next one.
    """

    label: str
    x: Sequence[float] | NDArray[Any]
    y: Sequence[float] | NDArray[Any]
    low: Sequence[float] | NDArray[Any] | None = None
    high: Sequence[float] | NDArray[Any] | None = None
    style: str = "line"
    colour: int | None = None


@dataclass(frozen=True)
class Chart:
    """What a chart shows; `caption` says how to read it."""

    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    caption: str = ""
    log_y: bool = False
    missing: str = "no finite number to show"


@dataclass(frozen=True)
class Drawn:
    """A chart on the page. `svg` is empty where there was nothing to draw; then `missing` says why."""

    title: str
    svg: str
    caption: str
    missing: str
    head: list[str]
    rows: list[list[str]]
    csv: str
    """data: URI of the numbers that are drawn."""


def draw(chart: Chart) -> Drawn:
    """Draw a chart, with the numbers behind it as a table."""
    series = [kept for one in chart.series if (kept := _finite(one)) is not None]
    if not series:
        return Drawn(chart.title, "", chart.caption, chart.missing, [], [], "")
    most = max(_FEWEST, _POINTS // len(series))
    every = max(-(-len(one.x) // most) for one in series)
    series = [_one_in(-(-len(one.x) // most), one) for one in series]
    import matplotlib as mpl  # here: who learns can begin without it
    from matplotlib.figure import Figure

    with mpl.rc_context({**_STYLE, "svg.hashsalt": chart.title}):
        # A layout of our own: to let matplotlib measure all words would double the time, and a page has thirty charts.
        named = series[:_NAMED] if len(series) > 1 or series[0].low is not None else []
        columns = 1 if max(len(one.label) for one in series) > 24 else min(2, len(series))
        legend = 0.2 * -(-len(named) // columns)  # inches
        bottom = 0.48
        tall = max(_SIZE[1], bottom + _LEAST + legend + 0.1)
        figure = Figure(figsize=(_SIZE[0], tall))
        height = (tall - bottom - legend - 0.1) / tall
        axes = figure.add_axes((0.0, bottom / tall, 1.0, height))
        for i, one in enumerate(series):
            shown = one if i < _NAMED else replace(one, label="_")  # which a legend leaves out
            _plot(axes, shown, i if one.colour is None else one.colour)
        axes.set(xlabel=chart.x_label, ylabel=chart.y_label)
        axes.xaxis.set_major_formatter(_short)
        left = 0.72
        if chart.log_y and all((np.asarray(one.y) > 0).all() for one in series):
            axes.set_yscale("log")
            left = 0.95  # below a decade each tick is called 9 × 10⁻¹
        else:
            axes.yaxis.set_major_formatter(_short)
            left = max(left, 0.3 + 0.085 * max(len(_short(tick)) for tick in axes.get_yticks()))
        width = (_SIZE[0] - left - 0.2) / _SIZE[0]
        axes.set_position((left / _SIZE[0], bottom / tall, width, height))
        axes.yaxis.set_label_coords(-(left - 0.12) / (width * _SIZE[0]), 0.5)
        if named:
            place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "borderaxespad": 0.2}
            axes.legend(**place, ncols=columns, fontsize=8.5, labelspacing=0.2, columnspacing=1.5)
        svg = svg_of(figure, chart.title)
    head, rows = _table(chart, series)
    more = f" Named are {_NAMED} of {len(series)}; the numbers have all." if len(series) > _NAMED else ""
    more += f" Of these many points one in {every} is shown." if every > 1 else ""
    return Drawn(chart.title, svg, f"{chart.caption}{more}".strip(), "", head, _thin(rows), _csv(head, rows))


def svg_of(figure: Figure, title: str) -> str:
    """The figure as an <svg> element that fills the width it is given."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor").replace(_GRID, "var(--grid)")
    label = title.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    text = re.sub(r'<svg ([^>]*?)width="[^"]*" height="[^"]*"', r"<svg \1", text, count=1)
    text = re.sub(r'<svg height="[^"]*"|<svg width="[^"]*"', "<svg", text, count=1)
    return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def _finite(one: Series) -> Series | None:
    x, y = np.asarray(one.x, float), np.asarray(one.y, float)
    good = np.isfinite(x) & np.isfinite(y)
    if not good.any():
        return None
    low, high = (None if band is None else np.asarray(band, float)[good] for band in (one.low, one.high))
    return Series(one.label, x[good], y[good], low, high, one.style, one.colour)


def _one_in(every: int, one: Series) -> Series:
    """As many of its points, the last one among them."""
    kept = slice((len(one.x) - 1) % every, None, every)
    low, high = (None if band is None else band[kept] for band in (one.low, one.high))
    return replace(one, x=one.x[kept], y=one.y[kept], low=low, high=high)


def _plot(axes: Any, one: Series, number: int) -> None:
    colour, dash = PALETTE[number % len(PALETTE)], DASHES[number // len(PALETTE) % len(DASHES)]
    if one.style == "reference":
        axes.plot(one.x, one.y, color=_INK, linestyle="--", linewidth=1.2, alpha=0.7, label=one.label)
    elif one.style == "bars":
        axes.bar(one.x, one.y, width=0.9 * (one.x[1] - one.x[0]) if len(one.x) > 1 else 0.9, color=colour)
    elif one.style == "dots":
        size = 4 if len(one.x) < 400 else 2
        axes.plot(one.x, one.y, "o", color=colour, markersize=size, alpha=0.45, markeredgewidth=0, label=one.label)
    else:
        steps = {"drawstyle": "steps-post"} if one.style == "steps" else {}
        marker = "o" if len(one.x) == 1 else ""
        kind = {"color": colour, "linestyle": dash, "marker": marker, **steps}
        axes.plot(one.x, one.y, linewidth=1.8, label=one.label, **kind)
    if one.low is not None and one.high is not None:
        axes.fill_between(one.x, one.low, one.high, color=colour, alpha=0.25, linewidth=0)


def _short(value: float, _: Any = None) -> str:
    """12000 -> 12k; digits enough to tell the ticks of 500,000 m apart."""
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size * (1 if size > 1e3 else 10):
            return f"{value / size:.10g}{sign}"
    return f"{value:.10g}"


def number(value: float) -> str:
    """For a table: four digits that count."""
    if not math.isfinite(value):
        return "not finite"
    return f"{value:,.0f}" if abs(value) >= 10000 else f"{value:.4g}"


def _table(chart: Chart, series: Sequence[Series]) -> tuple[list[str], list[list[str]]]:
    """One column for each line where they share their x, else one row for each point."""
    first = np.asarray(series[0].x)
    if all(len(one.x) == len(first) and np.array_equal(np.asarray(one.x), first) for one in series):
        head = [chart.x_label, *(one.label for one in series)]
        columns = [first, *(np.asarray(one.y) for one in series)]
        return head, [[number(float(v)) for v in row] for row in zip(*columns, strict=True)]
    rows = [
        [one.label, number(float(x)), number(float(y))] for one in series for x, y in zip(one.x, one.y, strict=True)
    ]
    return ["", chart.x_label, chart.y_label], rows


def _thin(rows: list[list[str]]) -> list[list[str]]:
    if len(rows) <= _TABLE_ROWS:
        return rows
    return [rows[i] for i in np.linspace(0, len(rows) - 1, _TABLE_ROWS).round().astype(int)]


def _csv(head: list[str], rows: list[list[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([[cell.replace(",", "") for cell in row] for row in rows])
    return "data:text/csv;base64," + base64.b64encode(text.getvalue().encode()).decode()
