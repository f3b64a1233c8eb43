"""The pictures of interpolation without a network, and the answer in two sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shattering.core.record import Record, Status
from shattering.core.statistics import mean_interval
from shattering.core.study import Axis, Figure, Point, Records
from shattering.studies.zhang2017_kernels_claims import (
    AGREEMENT,
    descents,
    error_fall,
    norm_ratio,
    ridge_gain,
)
from shattering.studies.zhang2017_kernels_records import (
    NAMES,
    Kind,
    ended,
    error,
    error_estimate,
    fact,
    gamma_of,
    kind_of,
    largest,
    plain,
    ridge_of,
    size_of,
    sweep_runs,
    tested,
)

KINDS: tuple[Kind, ...] = ("pixels", "gabor", "filters")
ERROR = Axis("test error", percent=True)
HELD_OUT = "held-out training examples"


def _grouped(runs: Sequence[Record], key: Callable[[Record], float]) -> dict[float, list[Record]]:
    table: dict[float, list[Record]] = {}
    for run in runs:
        table.setdefault(key(run), []).append(run)
    return dict(sorted(table.items()))


def _error_point(x: float, runs: Sequence[Record], series: str, panel: str = "") -> list[Point]:
    found = error_estimate(runs, runs)
    return [] if found is None else [Point(x, found.value, series, found.low, found.high, "test", panel)]


def size_points(records: Records) -> list[Point]:
    """Test error of interpolants against the number of training examples."""
    return [
        point
        for kind in KINDS
        for size, runs in _grouped(plain(records, kind), size_of).items()
        for point in _error_point(size, runs, NAMES[kind])
    ]


def norm_points(records: Records) -> list[Point]:
    """Test error of interpolants beside their norm, a point for each run on the most examples of its model."""
    points = []
    for kind in KINDS:
        points += [_norm_point(run, NAMES[kind], "kernels") for run in largest(plain(records, kind))]
    for run in tested(records, "linear"):
        points.append(_norm_point(run, linear_name(run), "linear models on pixels"))
    return [point for point in points if point.x > 0]


def linear_name(run: Record) -> str:
    """What a linear model is called in pictures."""
    start = run.spec.model.fields.get("start", "zero")
    if run.spec.model.fields.get("method") == "descent":
        return f"SGD from {'zero' if start == 'zero' else 'a random start'}"
    return "least norm" if start == "zero" else "least norm plus what no example sees"


def _norm_point(run: Record, series: str, panel: str) -> Point:
    return Point(fact(run, "norm"), error(run), series, kind="test", panel=panel)


def sweep_points(records: Records) -> list[Point]:
    """Error on held-out training examples against the bandwidth."""
    return [
        point
        for kind in KINDS
        for gamma, runs in _grouped(_sweep(records, kind), lambda run: gamma_of(run.spec)).items()
        for point in _error_point(gamma, runs, NAMES[kind], HELD_OUT)
    ]


def sweep_norm_points(records: Records) -> list[Point]:
    """Norm of the interpolant against the bandwidth."""
    points = []
    for kind in KINDS:
        for gamma, runs in _grouped(_sweep(records, kind), lambda run: gamma_of(run.spec)).items():
            value, low, high = mean_interval([fact(run, "norm") for run in runs])
            low = None if low is None or low <= 0 else low
            points.append(Point(gamma, value, NAMES[kind], low, None if low is None else high, "train"))
    return [point for point in points if point.y > 0]


def _sweep(records: Records, kind: Kind) -> list[Record]:
    return [run for run in sweep_runs(records) if kind_of(run.spec) == kind]


def ridge_points(records: Records) -> list[Point]:
    """Test error against the ridge, on the examples that ridges were tried on."""
    points = []
    for kind in KINDS:
        runs = largest([run for run in tested(records, kind) if ridge_of(run.spec) > 0])
        for ridge, group in _grouped(runs, lambda run: ridge_of(run.spec)).items():
            points += _error_point(ridge, group, NAMES[kind])
    return points


def ridge_rules(records: Records) -> dict[str, float]:
    """Test errors of the same models without ridge, on as many examples."""
    rules = {}
    for kind in KINDS:
        sizes = {size_of(run) for run in tested(records, kind) if ridge_of(run.spec) > 0}
        runs = [run for run in plain(records, kind) if sizes and size_of(run) == max(sizes)]
        if runs:
            rules[f"{NAMES[kind]}, no ridge"] = sum(map(error, runs)) / len(runs)
    return rules


# Readings


def _sizes_reading(records: Records) -> str:
    texts = []
    for kind in KINDS:
        points = [point for point in size_points(records) if point.series == NAMES[kind]]
        if len(points) > 1:
            texts.append(f"{NAMES[kind]} from {points[0].y:.1%} at {points[0].x:,.0f} to {_last(points)}")
        elif points:
            texts.append(f"{NAMES[kind]} {_last(points)}")
    return f"Test error of models that fit every training example: {'; '.join(texts)}."


def _last(points: Sequence[Point]) -> str:
    return f"{points[-1].y:.1%} at {points[-1].x:,.0f}"


def _norm_reading(records: Records) -> str:
    fall, ratio = error_fall(records), norm_ratio(records)
    if fall is None or ratio is None:
        return "No two kernels were fitted to the same examples, so their norms cannot be set against their errors."
    return (
        f"Against pixels, Gabor features change the test error by {-100 * fall.value:+.1f} points and multiply the "
        f"norm by {ratio.value:.2f} (the paper: -0.6 points and 1.77)."
    )


def _sweep_reading(records: Records) -> str:
    texts = []
    for kind in KINDS:
        points = [point for point in sweep_points(records) if point.series == NAMES[kind]]
        if points:
            best = min(points, key=lambda point: point.y)
            used = {gamma_of(run.spec) for run in plain(records, kind)}
            own = ", the study's own" if best.x in used else f"; the study's own is {', '.join(f'{g:g}' for g in used)}"
            texts.append(f"{NAMES[kind]} err least ({best.y:.1%}) at γ = {best.x:g}{own if used else ''}")
    return f"On held-out training examples {'; '.join(texts)}."


def _sweep_norm_reading(records: Records) -> str:
    points = sweep_norm_points(records)
    texts = []
    for kind in KINDS:
        heights = [point.y for point in points if point.series == NAMES[kind]]
        if heights:
            texts.append(f"{min(heights):.3g} to {max(heights):.3g} for the {NAMES[kind]}")
    return f"With the bandwidth alone, the norm of an interpolant of the same labels goes from {'; '.join(texts)}."


def _ridge_reading(records: Records) -> str:
    texts = []
    for kind in KINDS:
        gain = ridge_gain(kind)(records)
        if gain is not None:
            texts.append(f"{gain.value:.0%} for the {NAMES[kind]}")
    if not texts:
        return "No model was run both with ridge and without."
    return f"The best ridge, chosen in hindsight, removes this share of the test error: {'; '.join(texts)}."


FIGURES = (
    Figure(
        name="size",
        title="Test error of interpolants (after Table 3)",
        x=Axis("training examples", scale="log"),
        y=ERROR,
        points=size_points,
        reading=_sizes_reading,
    ),
    Figure(
        name="norm",
        title="Norm and test error",
        x=Axis("norm of the interpolant", scale="log"),
        y=ERROR,
        points=norm_points,
        reading=_norm_reading,
    ),
    Figure(
        name="bandwidth",
        title="Bandwidth of the Gaussian kernel, judged on held-out training examples",
        x=Axis("γ, per squared unit of the features", scale="log"),
        y=Axis("error on held-out training examples", percent=True),
        points=sweep_points,
        reading=_sweep_reading,
    ),
    Figure(
        name="bandwidth-norm",
        title="Bandwidth and norm",
        x=Axis("γ, per squared unit of the features", scale="log"),
        y=Axis("norm of the interpolant", scale="log"),
        points=sweep_norm_points,
        reading=_sweep_norm_reading,
    ),
    Figure(
        name="ridge",
        title="Test error under a ridge",
        x=Axis("ridge λ", scale="log"),
        y=ERROR,
        points=ridge_points,
        reading=_ridge_reading,
        rules=ridge_rules,
    ),
)


def answer(records: Records) -> str:
    """Whether interpolants without hidden layers generalise, and what their norms and SGD have to do with it."""
    texts = []
    for kind in KINDS:
        runs = largest(plain(records, kind))
        found = error_estimate(runs, runs)
        if found is not None:
            fitted = sum(run.status is Status.DONE for run in runs)
            texts.append(
                f"{found.value:.1%} for the {NAMES[kind]} ({size_of(runs[0]):,} examples, {fitted} of {len(runs)})"
            )
    if not texts:
        return "No interpolant has been fitted yet, so there is no answer. Run the same command again to go on."
    first = f"Test error of models that fit their training set exactly: {'; '.join(texts)}."
    second = [_norm_words(records), _descent_words(records)]
    told = "; ".join(text for text in second if text)
    return (
        f"{first} {told[0].upper()}{told[1:]}."
        if told
        else f"{first} What norms have to do with it cannot be told yet."
    )


def _norm_words(records: Records) -> str:
    fall, ratio = error_fall(records), norm_ratio(records)
    if fall is None or ratio is None:
        return ""
    return (
        f"Gabor features {'lower' if fall.value > 0 else 'raise'} the error by {100 * abs(fall.value):.1f} points with "
        f"a norm {ratio.value:.2f} times that on pixels"
    )


def _descent_words(records: Records) -> str:
    runs = descents(ended(records), "zero")
    if not runs:
        return ""
    same = sum(fact(run, "distance_to_least_norm") <= AGREEMENT for run in runs)
    return f"SGD from zero ends at the least-norm solution in {same} of {len(runs)} runs"
