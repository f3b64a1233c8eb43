"""Runs of a simulation by setting, and their curves beside a formula's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shattering.core.curves import Number, Runs, curve, estimate
from shattering.core.record import Record
from shattering.core.study import Estimate, Point, Records

FORMULA, SIMULATION = "formula", "simulation"
"""Kinds of line: what a formula gives is drawn as a line, and beside it a simulation as marks with bars."""

Settings = Mapping[str, Mapping[str, Any]]
"""Names of settings, with the fields of the simulation that make them; fields left out have their defaults."""


def runs_of(settings: Settings) -> Callable[[str], Runs]:
    """From a setting's name to a function that picks its runs: those that agree in every field that makes a setting.

    A record leaves out fields that have their default, so a setting must leave them out too.
    """
    keys = sorted({key for fields in settings.values() for key in fields})

    def of(name: str) -> Runs:
        wanted = settings[name]

        def runs(records: Records) -> Sequence[Record]:
            return [r for r in records if all(r.spec.model.fields.get(key) == wanted.get(key) for key in keys)]

        return runs

    return of


def mean_of(runs: Runs, number: Number) -> Callable[[Records], Estimate | None]:
    """A number's mean over some runs, with its interval, as a function of all records."""
    return lambda records: estimate(runs(records), number)


def curves_beside(
    records: Records,
    panels: Mapping[str, Runs],
    axis: str,
    lines: Mapping[str, str],
    *,
    positive: bool = False,
) -> list[Point]:
    """Curves of a formula and of its simulation, whose names in the rows differ only in how they begin.

    Args:
        records: all there are.
        panels: their titles, with the runs in each.
        axis: name of the place in the rows.
        lines: what follows ``formula_`` and ``simulated_`` in the rows, with the name of the line.
        positive: leave out what is not positive, for logarithmic axes.
    """
    return [
        point
        for panel, runs in panels.items()
        for part, series in lines.items()
        for key, kind in (("formula", FORMULA), ("simulated", SIMULATION))
        for point in curve(
            runs(records), axis, f"{key}_{part}", series=series, kind=kind, panel=panel, positive=positive
        )
    ]


def upright(points: Sequence[Point], places: Mapping[str, float | None], name: str) -> list[Point]:
    """A vertical line in each panel that marks a place known beforehand, such as a threshold.

    Args:
        points: the panels' other marks, which it spans from the lowest to the highest.
        places: panels' titles, with where the line stands; none: a panel without one.
        name: of the line.
    """
    ends = [end for point in points for end in (point.y, point.low, point.high) if end is not None]
    panels = {point.panel for point in points}
    return [
        Point(place, height, name, kind=FORMULA, panel=panel)
        for panel, place in places.items()
        if place is not None and panel in panels
        for height in (min(ends), max(ends))
    ]
