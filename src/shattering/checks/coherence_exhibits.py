"""Coherence of trainings and of their twins on random labels: levels early and late, charts, and a table of layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from shattering.core.curves import Number, curve
from shattering.core.finding import Chart, Column, Table
from shattering.core.record import Record, Row
from shattering.core.statistics import Interval, geometric_interval, ratio_interval
from shattering.core.study import Axis, Point

REAL, RANDOM = "your labels", "random labels"
M, ALPHA, FLOOR = "m_coherence", "alpha", "coherence_floor"

EARLY, LATE = 0.1, 0.5
"""Early is the first tenth of the updates, without the initialisation; late is their second half."""

ABOVE_FLOOR = 10.0
"""Where m-coherence is less than so many times what rounding leaves of cancelling gradients, it tells nothing."""

LAYERS = 12
"""More of them are thinned out."""

Span = tuple[float, float]
EARLY_SPAN: Span = (0.0, EARLY)
LATE_SPAN: Span = (LATE, 1.0)


def level(record: Record, name: str, after: float, until: float) -> float | None:
    """Geometric mean of a number over the snapshots within a part of the updates, initialisation left out.

    Values below the floor, where rounding decides, are left out too; none where nothing is left.
    """
    steps = record.spec.training.max_steps
    logs = [
        math.log(float(row[name]))
        for row in record.rows
        if row["step"] > 0 and after * steps < row["step"] <= max(1.0, until * steps) and tells_something(row, name)
    ]
    return math.exp(math.fsum(logs) / len(logs)) if logs else None


def tells_something(row: Row, name: str) -> bool:
    """Whether a snapshot has the number, and rounding does not decide it."""
    return name in row and row[name] > 0 and row.get(M, 0.0) > ABOVE_FLOOR * row.get(FLOOR, 0.0)


def over(name: str, span: Span) -> Number:
    """`level` of a name over a part of the updates, as a number of a run."""
    return lambda record: level(record, name, *span)


def geometric(runs: Sequence[Record], number: Number) -> Interval | None:
    """Geometric mean of a positive number over runs with its interval; none where no run has it."""
    values = [value for record in runs if (value := number(record)) is not None]
    return geometric_interval(values) if values else None


def ratio_of(reals: Sequence[Record], twins: Sequence[Record], number: Number) -> Interval | None:
    """Geometric mean over pairs of a number's ratio, with its interval; none where no pair has it."""
    found = [(number(real), number(twin)) for real, twin in zip(reals, twins, strict=True)]
    kept = [(real, twin) for real, twin in found if real and twin]
    return ratio_interval([real for real, _ in kept], [twin for _, twin in kept]) if kept else None


def chart(reals: Sequence[Record], twins: Sequence[Record]) -> Chart:
    """m-coherence of both kinds of training over updates."""
    points = [
        point
        for kind, runs in ((REAL, reals), (RANDOM, twins))
        for point in curve(without_start(runs), "step", M, series=kind, positive=True)
    ]
    early = [geometric(runs, over(M, EARLY_SPAN)) for runs in (reals, twins)]
    told = " and ".join(f"{found[0]:.3g} on {kind}" for found, kind in zip(early, (REAL, RANDOM), strict=True) if found)
    return Chart(
        name="coherence",
        title="m-coherence over training",
        x=Axis("updates", "log"),
        y=Axis("m-coherence, examples", "log"),
        points=tuple(points),
        reading=(
            "m-coherence, m·α, is how many of the m examples measured, itself included, a step along one example's "
            f"gradient helps; α is that as a share of them. Early m-coherence is {told}; 1 is what gradients with "
            "nothing in common have."
        ),
        rules=(("orthogonal gradients", 1.0),),
    )


def layers_of(runs: Sequence[Record]) -> list[str]:
    """The layers whose coherence was measured, in the network's order, evenly thinned to a dozen."""
    prefix = f"{M}/"
    names = [name.removeprefix(prefix) for name in runs[0].last if name.startswith(prefix)]
    every = max(1, -(-len(names) // LAYERS))
    return names[::every]


def layer_chart(reals: Sequence[Record], twins: Sequence[Record], layers: Sequence[str]) -> Chart:
    """The same for each of these layers."""
    points: list[Point] = []
    for layer in layers:
        for kind, runs in ((REAL, reals), (RANDOM, twins)):
            points += curve(
                without_start(runs), "step", f"{M}/{layer}", series=kind, panel=f"layer {layer}", positive=True
            )
    return Chart(
        name="coherence_by_layer",
        title="m-coherence over training, layer by layer",
        x=Axis("updates", "log"),
        y=Axis("m-coherence, examples", "log"),
        points=tuple(points),
        reading=f"Layers in the network's order, {len(layers)} of them.",
        rules=(("orthogonal gradients", 1.0),),
    )


def layer_table(reals: Sequence[Record], twins: Sequence[Record], layers: Sequence[str]) -> Table:
    """Levels of these layers, early and late, and the ratio of the two kinds of training."""
    rows = []
    for layer in layers:
        name = f"{M}/{layer}"
        real, random = (geometric(runs, over(name, EARLY_SPAN)) for runs in (reals, twins))
        late, later = (geometric(runs, over(name, LATE_SPAN)) for runs in (reals, twins))
        ratio = ratio_of(reals, twins, over(name, EARLY_SPAN)) or (None, None, None)
        firsts = [found[0] if found else None for found in (real, random, late, later)]
        rows.append((layer, *firsts, *ratio))
    columns = (
        Column("layer"),
        Column("your labels, early", "number"),
        Column("random labels, early", "number"),
        Column("your labels, late", "number"),
        Column("random labels, late", "number"),
        Column("ratio, early", "number"),
        Column("from", "number"),
        Column("to", "number"),
    )
    return Table(
        name="coherence_layers",
        title="m-coherence of each layer",
        columns=columns,
        rows=tuple(rows),
        reading="How many examples one example's gradient helps in each layer; early on your labels over random ones.",
    )


def without_start(runs: Sequence[Record]) -> list[Record]:
    """The runs without their initialisation and without what rounding decides."""
    return [
        replace(record, rows=tuple(row for row in record.rows if row["step"] > 0 and tells_something(row, M)))
        for record in runs
    ]
