"""Figures of a study as Vega-Lite charts: interactive in the page, SVG and PNG beside it."""

from __future__ import annotations

import functools
import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

from shattering.core.formula_settings import FORMULA
from shattering.core.study import Axis, Figure, Point, Records

MOST_POINTS = 500
"""Per line; more would slow the page down without being seen."""

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colours, distinct to colour-blind eyes; yellow left out for its contrast on white."""

DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])
BAND_FROM = 9
"""Lines with at least so many points show their intervals as a band, others as bars."""

Line = list[tuple[Point, int]]
"""The points of a line that can be drawn, each with the stretch of the band in which it stands."""


@dataclass(frozen=True)
class Chart:
    """A figure drawn.

    Args:
        name, title: the figure's.
        reading: what it means for these records.
        spec: Vega-Lite specification with its data inside.
        remarks: what the picture leaves out or shows in a particular way.
    """

    name: str
    title: str
    reading: str
    spec: dict[str, Any]
    remarks: tuple[str, ...]


def draw(figure: Figure, records: Records) -> Chart | None:
    """The chart of a figure; none where the figure has no points for these records."""
    points = figure.points(records)
    shown = [point for point in points if _drawable(point, figure)]
    if not shown:
        return None
    together: dict[tuple[str, str, str], list[Point]] = {}
    for point in points:
        together.setdefault((point.panel, point.series, point.kind), []).append(point)
    lines = {key: drawn for key, line in together.items() if (drawn := _stretches(line, figure))}
    thinned = {key: _thin(line) for key, line in lines.items()}
    remarks = []
    if len(points) > len(shown):
        remarks.append(f"{len(points) - len(shown)} points have no place on the axes (not finite, or 0 on a log axis).")
    if any(len(line) > len(thinned[key]) for key, line in lines.items()):
        remarks.append(f"Lines of more than {MOST_POINTS} points are thinned evenly.")
    if any(point.censored for point in shown):
        remarks.append("An arrow ↑ marks a lower bound: the budget of steps ended first.")
    if any(point.low is not None for point in shown):
        remarks.append("Bands and bars are 95% intervals.")
    hidden = sum(_interval(point, figure) is None for point in shown if None not in (point.low, point.high))
    if hidden:
        which = "interval has an end that" if hidden == 1 else "intervals have an end that"
        remarks.append(f"{hidden} {which} the axis cannot show (not finite, or not above 0 on a log axis): left out.")
    spec = _specification(figure, thinned, figure.rules(records))
    return Chart(figure.name, figure.title, figure.reading(records), spec, tuple(remarks))


def to_svg(chart: Chart) -> str:
    """The chart as SVG text, its identifiers unlike those of any other chart."""
    import vl_convert

    svg: str = vl_convert.vegalite_to_svg(chart.spec, vl_version=vega_version())
    return svg.replace('id="', f'id="{_word(chart.name)}-').replace("url(#", f"url(#{_word(chart.name)}-")


def to_png(chart: Chart) -> bytes:
    """The chart as PNG, two pixels for one."""
    import vl_convert

    return bytes(vl_convert.vegalite_to_png(chart.spec, vl_version=vega_version(), scale=2))


@functools.cache
def runtime() -> str:
    """The scripts that draw Vega-Lite charts in a page, as one text without references to any network address."""
    import vl_convert

    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=vega_version()))


def vega_version() -> str:
    """The newest version of Vega-Lite that the renderer knows, such as ``5.20``."""
    import vl_convert

    return str(vl_convert.get_vegalite_versions()[-1])


def _word(name: str) -> str:
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name)


def _drawable(point: Point, figure: Figure) -> bool:
    return all(
        math.isfinite(value) and (axis.scale == "linear" or value > 0)
        for value, axis in ((point.x, figure.x), (point.y, figure.y))
    )


def _interval(point: Point, figure: Figure) -> tuple[float, float] | None:
    """A point's interval; none where it has none, or where the axis has no place for one of its ends."""
    low, high = point.low, point.high
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return None
    return (low, high) if figure.y.scale == "linear" or low > 0 else None


def _stretches(line: list[Point], figure: Figure) -> Line:
    """The points that can be drawn; a new stretch begins wherever a point without an interval interrupts the band."""
    drawn: Line = []
    stretch = 0
    for point in sorted((point for point in line if math.isfinite(point.x)), key=lambda point: point.x):
        known = _drawable(point, figure) and _interval(point, figure) is not None
        stretch += not known
        if _drawable(point, figure):
            drawn.append((point, stretch))
    return drawn


def _thin(line: Line) -> Line:
    """At most `MOST_POINTS` points, first, last and censored ones among them."""
    if len(line) <= MOST_POINTS:
        return line
    last = len(line) - 1
    kept = {round(place * last / (MOST_POINTS - 1)) for place in range(MOST_POINTS)}
    return [point for place, point in enumerate(line) if place in kept]


def _specification(figure: Figure, lines: dict[tuple[str, str, str], Line], rules: dict[str, float]) -> dict[str, Any]:
    panels = list(dict.fromkeys(panel for panel, _, _ in lines))
    series = list(dict.fromkeys(name for _, name, _ in lines))
    kinds = list(dict.fromkeys(kind for _, _, kind in lines))
    banded = max(len(line) for line in lines.values()) >= BAND_FROM
    rows = [row for line in lines.values() for row in _rows(line, figure, banded=banded, beside=FORMULA in kinds)]
    rows += [
        {"role": "rule", "panel": panel, "rule": name, "y": height}
        for panel in panels
        for name, height in rules.items()
        if math.isfinite(height) and (figure.y.scale == "linear" or height > 0)
    ]
    facet = len(panels) > 1
    inner = {
        "width": 360 if facet else 760,
        "height": 240 if facet else 340,
        "layer": _layers(figure, rows, series, kinds, banded, "child_width" if facet else "width"),
    }
    spec: dict[str, Any] = {
        "$schema": f"https://vega.github.io/schema/vega-lite/v{vega_version()}.json",
        "description": figure.title,
        "background": "white",
        "data": {"values": rows},
        "config": CONFIG,
    }
    if facet:
        head = {"field": "panel", "type": "nominal", "title": None, "sort": panels}
        # In a last row that is not full, an axis shared by a column would stand below the empty place.
        own = {"resolve": {"axis": {"x": "independent"}}} if len(panels) % 2 else {}
        return {**spec, "facet": head, "columns": 2, "spec": inner, **own}
    return {**spec, **inner, **({"title": panels[0]} if panels[0] else {})}


CONFIG: dict[str, Any] = {
    "font": "Helvetica, Arial, sans-serif",
    "axis": {"labelFontSize": 11, "titleFontSize": 12, "titleFontWeight": "normal", "gridColor": "#e8e8e8"},
    "legend": {"orient": "bottom", "labelFontSize": 11, "labelLimit": 320, "columns": 4, "symbolStrokeWidth": 2.5},
    "header": {"labelFontSize": 12, "labelFontWeight": "bold", "labelLimit": 320},
    "title": {"fontSize": 12},
    "view": {"stroke": None},
}


def _rows(line: Line, figure: Figure, *, banded: bool, beside: bool) -> list[dict[str, Any]]:
    """A line's points as rows of the chart's data.

    Args:
        line, figure: what is drawn.
        banded: whether intervals are bands; those that stand alone in their stretch are bars all the same.
        beside: whether a formula is drawn beside what it predicts: the one as lines, the other as marks with bars.
    """
    alone = Counter(stretch for point, stretch in line if _interval(point, figure) is not None)
    rows = []
    for point, stretch in line:
        row: dict[str, Any] = {
            "role": "point",
            "panel": point.panel,
            "series": point.series,
            "kind": point.kind,
            "x": point.x,
            "y": point.y,
        }
        if point.censored:
            row["censored"] = True
        ends = _interval(point, figure)
        if ends is not None:
            row["low"], row["high"] = ends
            band = (point.kind == FORMULA if beside else banded) and alone[stretch] > 1
            row["spread"] = f"band {stretch}" if band else "bar"
        rows.append(row)
    return rows


def _layers(
    figure: Figure, rows: list[dict[str, Any]], series: list[str], kinds: list[str], banded: bool, wide: str
) -> list[dict[str, Any]]:
    x = _channel("x", figure.x, max(row["x"] for row in rows if "x" in row))
    y = _channel("y", figure.y, max(row["y"] for row in rows))
    colours = [PALETTE[place % len(PALETTE)] for place in range(len(series))]
    colour: dict[str, Any] = {
        "field": "series",
        "type": "nominal",
        "title": None,
        "scale": {"domain": series, "range": colours},
        "legend": {"symbolType": "stroke", "symbolOpacity": 1} if len(series) > 1 else None,
    }
    beside = FORMULA in kinds
    dash = {
        "field": "kind",
        "type": "nominal",
        "title": None,
        "scale": {"domain": kinds, "range": [DASHES[place % len(DASHES)] for place in range(len(kinds))]},
        "legend": {"symbolType": "stroke", "symbolOpacity": 1} if len(kinds) > 1 else None,
    }
    shape = {
        "field": "kind",
        "type": "nominal",
        "title": None,
        "scale": {"domain": kinds, "range": ["stroke" if kind == FORMULA else "circle" for kind in kinds]},
        "legend": {"symbolStrokeColor": "#555", "symbolOpacity": 1},
    }
    names = [
        {"field": "series", "title": "series"},
        *([{"field": "kind", "title": "kind"}] if len(kinds) > 1 else []),
        {"field": "x", "title": figure.x.title, "type": "quantitative", "format": _digits(figure.x)},
        {"field": "y", "title": figure.y.title, "type": "quantitative", "format": _digits(figure.y)},
    ]
    faded = {"condition": {"param": "picked", "value": 1}, "value": 0.12}
    points, rules = {"filter": "datum.role === 'point'"}, {"filter": "datum.role === 'rule'"}
    ends = {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": colour}
    # One area for each stretch: an area that ran on over a gap would show an interval where none is known.
    stretches = {**ends, "detail": [{"field": "kind"}, {"field": "spread"}]}
    bars = {**ends, "detail": {"field": "kind"}}
    label = {"type": "text", "align": "right", "dy": -6, "x": {"expr": wide}, "color": "#555", "fontSize": 11}
    # A layer without rows would make the runtime warn of an axis without extent.
    layers: list[dict[str, Any]] = []
    if any(row["role"] == "rule" for row in rows):
        rule = {"type": "rule", "strokeDash": [2, 3], "color": "#777"}
        layers.append({"transform": [rules], "mark": rule, "encoding": {"y": y}})
        names_rule = {"y": y, "text": {"field": "rule", "type": "nominal"}}
        layers.append({"transform": [rules], "mark": label, "encoding": names_rule})
    if any(row.get("spread", "bar") != "bar" for row in rows):
        band = {"filter": "isValid(datum.spread) && datum.spread !== 'bar'"}
        layers.append({"transform": [points, band], "mark": {"type": "area", "opacity": 0.16}, "encoding": stretches})
    if any(row.get("spread") == "bar" for row in rows):
        bar = {"filter": "datum.spread === 'bar'"}
        layers.append({"transform": [points, bar], "mark": {"type": "rule", "strokeWidth": 1.5}, "encoding": bars})
    lined = [{"filter": f"datum.kind === '{FORMULA}'"}] if beside else []
    marked = [{"filter": f"datum.kind !== '{FORMULA}'"}] if beside else []
    layers.append(
        {
            "transform": [points, *lined],
            # Clicking a name in the legend fades the others.
            "params": [{"name": "picked", "select": {"type": "point", "fields": ["series"]}, "bind": "legend"}],
            "mark": {"type": "line", "strokeWidth": 2},
            "encoding": {
                **{"x": x, "y": y, "color": colour, "opacity": faded},
                **({"detail": {"field": "kind"}} if beside else {"strokeDash": dash}),
            },
        }
    )
    encoding = {"x": x, "y": y, "color": colour, "opacity": faded, "tooltip": names}
    dots = [row for row in rows if row["role"] == "point" and not (beside and row["kind"] == FORMULA)]
    if any("censored" not in row for row in dots):
        mark: dict[str, Any] = {"type": "circle", "size": 14 if banded else 40}
        if beside:
            mark = {"type": "point", "filled": False, "fill": "transparent", "size": 36, "strokeWidth": 1.5}
        layers.append(
            {
                "transform": [points, {"filter": "!datum.censored"}, *marked],
                "mark": mark,
                "encoding": {**encoding, "shape": shape} if beside else encoding,
            }
        )
    if any("censored" in row for row in rows):
        mark = {"type": "point", "shape": "arrow", "size": 260, "filled": True, "yOffset": -8}
        layers.append({"transform": [points, {"filter": "datum.censored"}], "mark": mark, "encoding": encoding})
    return layers


def _channel(field: str, axis: Axis, largest: float) -> dict[str, Any]:
    scale: dict[str, Any] = {"type": axis.scale}
    plain = "~s" if largest >= 10_000 else ",~r"
    style: dict[str, Any] = {"format": plain, "tickCount": 6}
    if axis.scale == "log":
        style.update({"labelOverlap": "greedy", "tickCount": 5})
    else:
        scale["zero"] = axis.percent and field == "y"
    if axis.percent:
        style["format"] = ".0%" if axis.scale == "linear" else "~%"
    return {"field": field, "type": "quantitative", "title": axis.title, "scale": scale, "axis": style}


def _digits(axis: Axis) -> str:
    return ".2%" if axis.percent else ".4~g"
