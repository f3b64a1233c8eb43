"""The pictures of a pre-flight check: times to fit with the curve carried on, and capacities with their brackets."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from shattering.execution.capacity import Preflight
from shattering.execution.capacity_records import (
    RANDOM,
    REAL,
    bisections,
    outcomes,
    points,
)
from shattering.report.capacity import curve_of
from shattering.report.capacity_terminal import rounded
from shattering.report.charts import CONFIG, PALETTE, Chart, vega_version

CURVE_POINTS = 60
WIDTH, HEIGHT = 760, 340
COLOURS = {"real labels": PALETTE[0], "random labels": PALETTE[1]}
LABELS = {"real labels": REAL, "random labels": RANDOM}


def check_charts(check: Preflight, found: dict[str, Any]) -> list[Chart]:
    """The charts that there is something to draw in."""
    charts = [_times(check, found), _capacities(check, found)]
    return [chart for chart in charts if chart is not None]


def _times(check: Preflight, found: dict[str, Any]) -> Chart | None:
    rows: list[dict[str, Any]] = []
    target = check.question.target
    for series, labels in LABELS.items():
        times = points(check.records, labels)
        for time in times:
            rows.append(
                {
                    "role": "run",
                    "labels": series,
                    "examples": time.examples,
                    "updates": time.value,
                    "known": "exact" if time.bound == "exact" else "at least",
                }
            )
        curve, end = curve_of(check, labels)
        if curve is None:
            continue
        start = min(time.examples for time in times)
        for size in np.geomspace(start, end, CURVE_POINTS):
            predicted = curve.predict(float(size))
            ends = {"low": max(predicted.low, 1.0), "high": predicted.high}
            rows.append(
                {"role": "curve", "labels": series, "examples": float(size), "updates": predicted.value, **ends}
            )
    if not rows:
        return None
    rows.append({"role": "target", "examples": target, "name": f"all {target:,}"})
    x, y = _log("examples", "training examples"), _log("updates", "updates until fitted")
    colour = _colour("labels", COLOURS)
    names = [
        {"field": "labels", "title": "labels"},
        {"field": "examples", "title": "training examples", "type": "quantitative", "format": ",.0f"},
        {"field": "updates", "title": "updates", "type": "quantitative", "format": ",.0f"},
    ]
    layers: list[dict[str, Any]] = [_vertical(x)]
    if any(row["role"] == "curve" for row in rows):
        band = {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": colour}
        layers.append({**_only("curve"), "mark": {"type": "area", "opacity": 0.13}, "encoding": band})
        line = {"type": "line", "strokeWidth": 2, "strokeDash": [6, 3]}
        layers.append({**_only("curve"), "mark": line, "encoding": {"x": x, "y": y, "color": colour, "tooltip": names}})
    shape = {
        "field": "labels",
        "type": "nominal",
        "title": None,
        "scale": {"domain": list(COLOURS), "range": ["circle", "triangle-up"]},
        "legend": colour["legend"],
    }
    marks = {"x": x, "y": y, "color": colour, "tooltip": names}
    for known, mark in (
        ("exact", {"type": "point", "size": 44, "filled": True, "opacity": 0.8}),
        ("at least", {"type": "point", "shape": "arrow", "size": 260, "filled": True, "yOffset": -8}),
    ):
        if any(row.get("known") == known for row in rows):
            layers.append(
                {
                    **_only("run", f"datum.known === '{known}'"),
                    "mark": mark,
                    "encoding": marks | ({"shape": shape} if known == "exact" else {}),
                }
            )
    remarks = [
        "Each mark is a run (circles: real labels, triangles: random ones); dashed lines are the fitted curves, bands "
        "95% prediction intervals for a run."
    ]
    if any(row.get("known") == "at least" for row in rows):
        remarks.append("An arrow ↑ marks a lower bound: the budget of updates ended first.")
    title = "Updates to fit real and random labels"
    return Chart("times", title, _reading_of_times(found), _chart(title, rows, layers), tuple(remarks))


def _reading_of_times(found: dict[str, Any]) -> str:
    random, real = found["random"], found["real"]
    if random is not None and random["source"] == "at least":
        return "The largest subset was not fitted with random labels, so their curve ends there."
    if random is None or random["exponent"] is None:
        return "Too few sizes were fitted for a curve."
    text = f"Twice as many random labels take about {2 ** random['exponent']:.2g} times as many updates at these sizes"
    if real is not None and real["exponent"] is not None:
        text += f", twice as many real ones {2 ** real['exponent']:.2g} times"
    return text + "."


def _capacities(check: Preflight, found: dict[str, Any]) -> Chart | None:
    curve, _ = curve_of(check, RANDOM)
    budgets = [part for part in found["capacity"] if part["examples"] is not None]
    if curve is None or not budgets:
        return None
    question = check.question
    names = [f"within {part['budget']:,} updates" for part in budgets]
    colours = {name: PALETTE[(place + 2) % len(PALETTE)] for place, name in enumerate(names)}
    rows: list[dict[str, Any]] = []
    seeds = sorted({record.spec.seed for record in bisections(check.records)})
    middles = [part["examples"] for part in budgets]
    low, high = max(question.smallest, min(middles) / 4), min(question.target, max(middles) * 4)
    for name, part in zip(names, budgets, strict=True):
        for size in np.geomspace(low, high, CURVE_POINTS):
            chance = curve.probability_below(float(size), part["budget"])
            rows.append({"role": "curve", "budget": name, "examples": float(size), "fitted": chance})
        for seed in seeds:
            for size, fitted in outcomes(check.records, seed, part["budget"]):
                rows.append(
                    {
                        "role": "run",
                        "budget": name,
                        "examples": size,
                        "fitted": float(fitted),
                        "ended": "fitted" if fitted else "did not fit",
                    }
                )
    x = _log("examples", "training examples with random labels")
    y = {
        "field": "fitted",
        "type": "quantitative",
        "title": "probability that they are fitted",
        "scale": {"domain": [-0.04, 1.04], "nice": False},
        "axis": {"format": ".0%", "values": [0, 0.25, 0.5, 0.75, 1]},
    }
    colour = _colour("budget", colours)
    told = [
        {"field": "budget", "title": "budget"},
        {"field": "examples", "title": "training examples", "type": "quantitative", "format": ",.0f"},
        {"field": "fitted", "title": "probability", "type": "quantitative", "format": ".0%"},
    ]
    line = {"type": "line", "strokeWidth": 2}
    layers: list[dict[str, Any]] = [
        {**_only("curve"), "mark": line, "encoding": {"x": x, "y": y, "color": colour, "tooltip": told}}
    ]
    if any(row["role"] == "run" for row in rows):
        shape = {
            "field": "ended",
            "type": "nominal",
            "title": None,
            "scale": {"domain": ["fitted", "did not fit"], "range": ["circle", "cross"]},
            "legend": {"symbolSize": 80},
        }
        mark = {"type": "point", "size": 60, "filled": True, "opacity": 0.75}
        layers.append({**_only("run"), "mark": mark, "encoding": {"x": x, "y": y, "color": colour, "shape": shape}})
    remarks = ("Lines are read off the curve of times to fit; marks are the runs of the bisection, at 1 and at 0.",)
    title = "The largest subset that random labels can be fitted on"
    return Chart("capacity", title, _reading_of_capacities(budgets), _chart(title, rows, layers), remarks)


def _reading_of_capacities(budgets: list[dict[str, Any]]) -> str:
    told = []
    for part in budgets:
        if part["whole"]:
            told.append(f"within {part['budget']:,} updates it shatters the whole data set")
        else:
            told.append(
                f"within {part['budget']:,} updates it shatters about {rounded(part['examples'], 'updates')} examples "
                f"(between {part['low']:,} and {part['high']:,})"
            )
    text = "; ".join(told)
    return f"{text[:1].upper()}{text[1:]}."


def _chart(title: str, rows: list[dict[str, Any]], layers: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "$schema": f"https://vega.github.io/schema/vega-lite/v{vega_version()}.json",
        "description": title,
        "background": "white",
        "width": WIDTH,
        "height": HEIGHT,
        "data": {"values": [row for row in rows if all(_finite(value) for value in row.values())]},
        "layer": layers,
        "config": CONFIG,
    }


def _finite(value: Any) -> bool:
    return not isinstance(value, float) or (math.isfinite(value) and abs(value) < 1e15)


def _only(role: str, further: str = "true") -> dict[str, Any]:
    return {"transform": [{"filter": f"datum.role === '{role}' && {further}"}]}


def _log(field: str, title: str) -> dict[str, Any]:
    return {
        "field": field,
        "type": "quantitative",
        "title": title,
        "scale": {"type": "log"},
        "axis": {"format": "~s", "labelOverlap": "greedy", "tickCount": 6},
    }


def _colour(field: str, colours: dict[str, str]) -> dict[str, Any]:
    return {
        "field": field,
        "type": "nominal",
        "title": None,
        "scale": {"domain": list(colours), "range": list(colours.values())},
        "legend": {"symbolType": "stroke", "symbolOpacity": 1},
    }


def _vertical(x: dict[str, Any]) -> dict[str, Any]:
    """The whole data set, as a vertical line with its name at the foot."""
    name = {"type": "text", "align": "right", "baseline": "bottom", "dx": -5, "y": {"expr": "height - 5"}}
    return {
        **_only("target"),
        "layer": [
            {"mark": {"type": "rule", "strokeDash": [2, 3], "color": "#777"}, "encoding": {"x": x}},
            {
                "mark": {**name, "color": "#555", "fontSize": 11},
                "encoding": {"x": x, "text": {"field": "name", "type": "nominal"}},
            },
        ],
    }
