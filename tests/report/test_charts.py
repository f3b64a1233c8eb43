"""Charts: valid Vega-Lite, thinned, honest about bounds and about what they leave out."""

from __future__ import annotations

import math

from shattering.core.study import Axis, Figure, Point
from shattering.report.charts import MOST_POINTS, draw, to_svg

LINEAR = Axis("loss, nats")


def figure(points, y=LINEAR, rules=None):
    return Figure(
        "f",
        "F",
        Axis("training time, steps"),
        y,
        lambda records: points,
        lambda records: "Read.",
        lambda records: rules or {},
    )


def rows(chart, role="point"):
    return [row for row in chart.spec["data"]["values"] if row["role"] == role]


def test_charts_fit_the_schema():
    import altair

    one = draw(figure([Point(1, 2, "a", 1, 3), Point(2, 3, "a", 2, 4, censored=True)], rules={"chance": 2.5}), ())
    two = draw(figure([Point(1, 2, "a", panel="p"), Point(1, 2, "b", kind="test", panel="q")]), ())
    for chart in (one, two):
        assert chart is not None
        altair.Chart.from_dict(chart.spec)
        assert to_svg(chart).startswith("<svg")


def test_no_points_no_chart():
    assert draw(figure([]), ()) is None
    assert draw(figure([Point(math.nan, 1, "a")]), ()) is None


def test_long_lines_are_thinned_with_both_ends():
    chart = draw(figure([Point(x, x * 2, series) for series in "ab" for x in range(10_000)]), ())
    assert chart is not None
    for series in "ab":
        kept = [row["x"] for row in rows(chart) if row["series"] == series]
        assert len(kept) <= MOST_POINTS
        assert (kept[0], kept[-1]) == (0, 9999)
    assert any("thinned" in remark for remark in chart.remarks)


def test_what_has_no_place_is_counted():
    chart = draw(figure([Point(1, 0, "a"), Point(1, 1, "a"), Point(2, math.inf, "a")], y=Axis("y", "log")), ())
    assert chart is not None
    assert len(rows(chart)) == 1
    assert chart.remarks[0].startswith("2 points have no place")


def test_bounds_below_zero_leave_no_band_on_a_log_axis():
    chart = draw(figure([Point(1, 1, "a", low=-1, high=2)], y=Axis("y", "log")), ())
    assert chart is not None
    assert "low" not in rows(chart)[0]


def areas(chart):
    return [layer for layer in chart.spec["layer"] if layer["mark"]["type"] == "area"]


def test_a_band_breaks_where_an_interval_is_missing_and_says_so():
    points = [Point(x, 1, "a", low=-1 if x == 5 else 0.5, high=2) for x in range(1, 12)]
    chart = draw(figure(points, y=Axis("y", "log")), ())
    assert chart is not None
    stretches = {row["x"]: row.get("spread") for row in rows(chart)}
    assert stretches[4] == stretches[1] and stretches[5] is None
    assert stretches[6] == stretches[11] and stretches[6] != stretches[4]
    (area,) = areas(chart)
    assert {"field": "spread"} in area["encoding"]["detail"]
    assert any(remark.startswith("1 interval has an end") for remark in chart.remarks)


def test_a_band_does_not_run_on_over_a_point_that_has_no_place():
    points = [Point(x, 0 if x == 5 else 1, "a", low=0.5, high=2) for x in range(1, 12)]
    chart = draw(figure(points, y=Axis("y", "log")), ())
    assert chart is not None
    stretches = {row["x"]: row["spread"] for row in rows(chart)}
    assert stretches[4] != stretches[6]


def test_an_interval_alone_in_its_stretch_is_a_bar():
    points = [Point(x, 1, "a", low=0.5 if x == 5 else None, high=2) for x in range(1, 12)]
    chart = draw(figure(points), ())
    assert chart is not None
    assert [row.get("spread") for row in rows(chart) if row["x"] == 5] == ["bar"]
    assert not areas(chart)


def test_a_formula_is_a_line_and_its_simulation_marks_with_bars():
    import altair

    points = [Point(x, x, "a", x - 1, x + 1, kind=kind) for kind in ("formula", "simulation") for x in range(2, 14)]
    chart = draw(figure(points), ())
    assert chart is not None
    altair.Chart.from_dict(chart.spec)
    layers = {layer["mark"]["type"]: layer for layer in chart.spec["layer"]}
    assert {"filter": "datum.kind === 'formula'"} in layers["line"]["transform"]
    assert {"filter": "datum.kind !== 'formula'"} in layers["point"]["transform"]
    assert layers["point"]["encoding"]["shape"]["scale"]["range"] == ["stroke", "circle"]
    assert {row["spread"] for row in rows(chart) if row["kind"] == "simulation"} == {"bar"}


def test_panels_of_an_odd_number_have_an_axis_each():
    for panels, own in (("pqr", "independent"), ("pq", None)):
        chart = draw(figure([Point(x, x, "a", panel=panel) for panel in panels for x in (1, 2)]), ())
        assert chart is not None
        assert chart.spec.get("resolve", {}).get("axis", {}).get("x") == own


def test_lower_bounds_have_arrows():
    chart = draw(figure([Point(1, 1, "a"), Point(2, 9, "a", censored=True)]), ())
    assert chart is not None
    marks = [layer["mark"].get("shape") for layer in chart.spec["layer"]]
    assert marks.count("arrow") == 1
    assert any("lower bound" in remark for remark in chart.remarks)


def test_series_and_kinds_are_told_apart():
    chart = draw(figure([Point(1, 1, s, kind=k) for s in ("true", "random") for k in ("train", "test")]), ())
    assert chart is not None
    line = next(layer for layer in chart.spec["layer"] if layer["mark"]["type"] == "line")["encoding"]
    assert line["color"]["scale"]["domain"] == ["true", "random"]
    assert len({str(dash) for dash in line["strokeDash"]["scale"]["range"]}) == 2


def test_rules_stand_in_every_panel():
    chart = draw(figure([Point(1, 1, "a", panel=panel) for panel in "pq"], rules={"chance": 0.9}), ())
    assert chart is not None
    assert [(row["panel"], row["rule"], row["y"]) for row in rows(chart, "rule")] == [
        ("p", "chance", 0.9),
        ("q", "chance", 0.9),
    ]


def test_same_points_give_the_same_picture():
    points = [Point(x, x**2, "a", panel=panel) for panel in "pq" for x in range(3)]
    first, second = draw(figure(points), ()), draw(figure(points), ())
    assert first is not None and second is not None
    assert to_svg(first) == to_svg(second)


def test_ticks_are_plain_numbers():
    chart = draw(figure([Point(x, x, "a") for x in (1, 10, 12)]), ())
    assert chart is not None
    svg = to_svg(chart)
    assert ">10</text>" in svg and "1e+" not in svg
