"""What Belkin et al. (2018) is held to: numbers of each run, and the pictures of double descent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial

from shattering.core.curves import (
    curve,
    ended,
    estimate,
    holds_if,
    holds_within,
    in_figures,
    last,
    median_of,
    place_of_largest,
    swept,
)
from shattering.core.record import Record
from shattering.core.statistics import median_interval
from shattering.core.study import Axis, Claim, Effect, Estimate, Figure, Point, Provenance, Records
from shattering.measures.double_descent import bump, largest_after, peak_height, second_descent

CURVE = "random_feature_curve"
FITTED = 0.99
"""Training accuracy from which a net counts as past the threshold."""


def setting(record: Record) -> str:
    """Which curve a run belongs to, such as ``Fourier, 10% wrong labels, ridge``."""
    if record.spec.model.name != CURVE:
        return "fully connected net"
    fields = record.spec.model.fields
    noisy = record.spec.corruption.name != "true_labels"
    parts = ["ReLU" if fields.get("kind") == "relu" else "Fourier"]
    return ", ".join(parts + ["10% wrong labels"] * noisy + ["ridge"] * bool(fields.get("ridge")))


def of(records: Records, name: str) -> list[Record]:
    """The runs of one setting."""
    return [record for record in records if setting(record) == name]


def nets(records: Records) -> list[Record]:
    """The fully connected nets."""
    return of(records, "fully connected net")


PEAK = place_of_largest("test_mse", "ratio")
HEIGHT = peak_height("test_mse", "ratio")
DESCENT = second_descent("test_error", "ratio")
BUMP = bump("test_mse", "ratio")
NORM = place_of_largest("norm", "ratio")


# Numbers of the nets


def by_width(records: Records) -> dict[int, list[Record]]:
    """The nets that ended, by their number of hidden units."""
    found: dict[int, list[Record]] = defaultdict(list)
    for record in ended(nets(records)):
        found[int(record.spec.model.fields["width"])].append(record)
    return dict(sorted(found.items()))


def _typical(runs: Sequence[Record], name: str) -> float:
    return median_of(float(run.last[name]) for run in runs if name in run.last) or 0.0


def net_peak(records: Records, against: str) -> Estimate | None:
    """Test loss at the width where its median is largest, over that at another width of the same seed.

    Args:
        records: all records.
        against: ``end``, the widest net; ``left``, the width with the smallest median below the peak.
    """
    widths = by_width(records)
    inner = list(widths)[1:-1]
    if not inner:
        return None
    top = max(inner, key=lambda width: _typical(widths[width], "test_loss"))
    left = min((width for width in widths if width < top), key=lambda width: _typical(widths[width], "test_loss"))
    other = {run.spec.seed: run.last.get("test_loss") for run in widths[left if against == "left" else max(widths)]}

    def ratio(record: Record) -> float | None:
        loss = other.get(record.spec.seed)
        return float(record.last["test_loss"]) / float(loss) if loss and "test_loss" in record.last else None

    return estimate(widths[top], ratio, note=f"{top} hidden units", interval=median_interval)


def parameters_for_each(record: Record) -> float:
    """Parameters of a net over n·K, what it has to fit."""
    counted = record.summary
    return float(counted["parameters"] or 0) / (float(counted["train_size"] or 1) * float(counted["num_classes"] or 1))


def net_threshold(records: Records) -> Estimate | None:
    """Parameters of the first net that fits 99% of its training examples, over n·K; seeds without one are out."""
    first: dict[int, Record] = {}
    for runs in reversed(by_width(records).values()):
        first |= {run.spec.seed: run for run in runs if run.last.get("train_accuracy", 0) >= FITTED}
    return estimate(list(first.values()), parameters_for_each, interval=median_interval)


# Claims and figures


def _claim(
    name: str,
    source: str,
    quantity: str,
    provenance: Provenance,
    number: Callable[[Record], float | None],
    effect: Callable[[Callable[[Records], Estimate | None]], Effect],
    published: tuple[float, float] | None = None,
    unit: str = "x",
) -> Claim:
    def found(records: Records) -> Estimate | None:
        return estimate(of(records, name), number, interval=median_interval)

    value, tolerance = published or (None, 0.0)
    return Claim(source, f"{name}: {quantity}", value, tolerance, unit, provenance, "mnist", found, effect(found))


def _net_claim(
    source: str, quantity: str, provenance: Provenance, found: Callable[[Records], Estimate | None]
) -> Claim:
    effect = holds_if(found, "above 1", above=1.0)
    return Claim(source, f"fully connected nets: {quantity}", None, 0.0, "x", provenance, "mnist", found, effect)


AT_ONE = partial(holds_within, statement="at N = n exactly, in every run", low=1.0, high=1.0)
NO_BUMP = partial(holds_within, statement="at most 1.1, so no peak", high=1.1)
UNREGULARISED = ("Fourier", "Fourier, 10% wrong labels", "ReLU")

CLAIMS = (
    *(
        _claim(
            name,
            "Random features on MNIST: the threshold",
            "N/n of the largest test MSE",
            "Q-text",
            PEAK,
            AT_ONE,
            (1.0, 0.005),
            "",
        )
        for name in UNREGULARISED
    ),
    *(
        _claim(
            name,
            "The peak, as an independent simulation with n = 1,000 finds it",
            "test MSE at N = n over the first minimum and the end",
            "V",
            HEIGHT,
            partial(holds_if, statement="above 20", above=20.0),
        )
        for name in UNREGULARISED
    ),
    *(
        _claim(
            name,
            "The second descent: below the first minimum",
            "part by which the test error at the end lies below the first minimum",
            "Q-text",
            DESCENT,
            partial(holds_if, statement="above 0", above=0.0),
            unit="1",
        )
        for name in UNREGULARISED
    ),
    _claim(
        "Fourier",
        "Norms of the solution: the norm peaks at N = n too",
        "N/n of the largest norm",
        "Q-text",
        place_of_largest("coefficient_norm", "ratio"),
        AT_ONE,
        (1.0, 0.005),
        "",
    ),
    _claim(
        "Fourier",
        "Interpolation from N = n on",
        "largest training MSE",
        "V",
        largest_after("train_mse", "ratio"),
        partial(holds_within, statement="below 1e-8", high=1e-8),
        unit="",
    ),
    *(
        _claim(name, "Control: a ridge removes the peak", "largest test MSE near and beyond n", "D", BUMP, NO_BUMP)
        for name in ("Fourier, 10% wrong labels, ridge", "ReLU, ridge")
    ),
    Claim(
        "Fully connected nets: the threshold n·K",
        "parameters of the first net that fits 99%, over n·K",
        1.0,
        0.25,
        "x",
        "Q-text",
        "mnist",
        net_threshold,
        holds_within(net_threshold, "between half and twice n·K", low=0.5, high=2.0),
    ),
    _net_claim(
        "Fully connected nets: the peak",
        "test loss at the peak over the minimum left of it",
        "Q-text",
        lambda records: net_peak(records, "left"),
    ),
    _net_claim(
        "Fully connected nets: the second descent",
        "test loss at the peak over that of the widest",
        "Q-text",
        lambda records: net_peak(records, "end"),
    ),
)


def curves(records: Records, name: str) -> list[Point]:
    """A number of all random feature curves against N/n, medians over seeds."""
    labels = dict.fromkeys(setting(record) for record in records if record.spec.model.name == CURVE)
    draw = partial(curve, x="ratio", y=name, positive=True, interval=median_interval)
    return [point for label in labels for point in draw(of(records, label), series=label)]


def net_points(records: Records) -> list[Point]:
    """Training and test loss of the nets against parameters over n·K."""
    return [
        point
        for name, kind in (("test_loss", "test"), ("train_loss", "train"))
        for point in swept(
            nets(records),
            parameters_for_each,
            last(name),
            series="fully connected net",
            kind=kind,
            positive=True,
            interval=median_interval,
        )
    ]


def _each(records: Records, number: Callable[[Record], float | None], digits: str) -> str:
    told = {name: estimate(of(records, name), number, interval=median_interval) for name in UNREGULARISED}
    return ", ".join(f"{found.value:{digits}} ({name})" for name, found in told.items() if found) or "no curve yet"


def answer(records: Records) -> str:
    """Where the peak lies, how much lower the curve ends, and what ridge and nets do."""
    if not ended(of(records, "Fourier")):
        return "No curve of random features has ended yet. Run the same command again to go on."
    ridge = estimate(of(records, "ReLU, ridge"), BUMP, interval=median_interval)
    nets_peak, nets_place = net_peak(records, "end"), net_threshold(records)
    where, fall = _each(records, PEAK, ".3g"), _each(records, DESCENT, ".0%")
    return (
        f"The test MSE of the least-norm solution is largest at N/n = {where}, and its test error ends below its first "
        f"minimum by {fall}. With a ridge the largest test MSE near and beyond N = n is {in_figures(ridge, '.2f')} of "
        f"the smallest before; fully connected nets fit at {in_figures(nets_place, '.2g')} n·K parameters, and their "
        f"test loss peaks at {in_figures(nets_peak, '.2g')} times that of the widest."
    )


RATIO = Axis("features for each training example, N/n", scale="log")

FIGURES = (
    Figure(
        "error",
        "Test error of least squares on random features",
        RATIO,
        Axis("test error", percent=True),
        lambda records: curves(records, "test_error"),
        lambda records: f"End below the first minimum by {_each(records, DESCENT, '.0%')}.",
    ),
    Figure(
        "mse",
        "Test MSE of the same",
        RATIO,
        Axis("mean squared distance to the one-hot label", scale="log"),
        lambda records: curves(records, "test_mse"),
        lambda records: f"MSE at N = n over first minimum and end: {_each(records, HEIGHT, ',.0f')}.",
    ),
    Figure(
        "norm",
        "Norm of the solution",
        RATIO,
        Axis("norm of the weights, features of expected squared length 1", scale="log"),
        lambda records: curves(records, "norm"),
        lambda records: f"The norm is largest at N/n = {_each(records, NORM, '.3g')}.",
    ),
    Figure(
        "singular",
        "Smallest singular value of the features",
        RATIO,
        Axis("smallest singular value", scale="log"),
        lambda records: curves(records, "smallest_singular_value"),
        lambda records: "The peak stands where the features come closest to being dependent; a ridge holds them apart.",
    ),
    Figure(
        "nets",
        "Fully connected nets, squared loss",
        Axis("parameters over n·K", scale="log"),
        Axis("loss (half the squared distance)", scale="log"),
        net_points,
        lambda records: (
            f"The nets fit 99% of their examples from {in_figures(net_threshold(records), '.2g')} n·K parameters on; "
            f"test loss at the peak is {in_figures(net_peak(records, 'left'), '.2g')} times the minimum left of it and "
            f"{in_figures(net_peak(records, 'end'), '.2g')} times that of the widest."
        ),
    ),
)
