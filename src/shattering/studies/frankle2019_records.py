"""Reading the runs of a study of lottery tickets: which arm, how much is left, and arms compared seed by seed."""

from __future__ import annotations

from collections.abc import Callable

from shattering.core.curves import Number, curve, ended, estimate, last, swept
from shattering.core.record import Record
from shattering.core.spec import RunSpec
from shattering.core.statistics import mean_interval, ratio_interval
from shattering.core.study import Axis, Estimate, Figure, Point, Records
from shattering.measures.validation import stopping_step, when_stopped

TICKET, REDRAWN, RANDOM, REORDERED = "ticket", "same masks, new weights", "random masks", "same start, other order"
ARMS = {"magnitude_pruning": TICKET, "reinitialised": REDRAWN, "shuffled_masks": RANDOM, "unchanged": REORDERED}
ACCURACY = when_stopped("test_split_accuracy")


def error(record: Record) -> float | None:
    """Test error of a run where early stopping would stop."""
    return None if (found := ACCURACY(record)) is None else 1 - found


def stopped(record: Record) -> float | None:
    """Early-stopping step of a run, as a number above 0; none where the first look was the best."""
    return float(stopping_step(record) or 0) or None


def arm(spec: RunSpec) -> str:
    """What kind of run it is; the dense network counts as the ticket with all its weights."""
    return TICKET if spec.start is None else ARMS[spec.start.transform]


def hidden_left(spec: RunSpec) -> float:
    """Fraction of the hidden layers' weights that the rounds of pruning before a run have left."""
    if spec.start is None:
        return 1.0
    share: float = spec.start.fields.get("fraction", 0.0)
    return round(hidden_left(spec.start.parent) * (1 - share), 9)


def left(record: Record) -> float | None:
    """Fraction of all weights that are left in a run."""
    return 1.0 if record.spec.start is None else record.summary.get("remaining_fraction")


def of(kind: str, level: float | None = None) -> Callable[[Records], list[Record]]:
    """The runs of an arm; with a level, those that have this fraction of their hidden weights."""
    return lambda records: [
        run for run in records if arm(run.spec) == kind and (level is None or hidden_left(run.spec) == level)
    ]


def levels(records: Records, kind: str, at_most: float = 1.0) -> set[float]:
    """The fractions of hidden weights that ended runs of an arm have, with at most so much of all weights left."""
    return {hidden_left(run.spec) for run in ended(of(kind)(records)) if (left(run) or 0.0) <= at_most}


def compared(
    records: Records,
    one: str,
    other: str,
    number: Number,
    at_most: float,
    *,
    dense: bool = False,
    ratio: bool = False,
) -> Estimate | None:
    """A number of one arm less that of another, paired by seed; several draws of a seed are averaged first.

    Args:
        records: of the study.
        one, other: arms.
        number: of a run.
        at_most: compared at the largest fraction of all weights, not above it, that both arms have.
        dense: whether the other arm is taken with all its weights instead.
        ratio: whether the first is divided by the second; then the geometric mean.

    Returns:
        None where no seed has both.
    """
    common = levels(records, one, at_most)
    if not dense:
        common &= levels(records, other)
    if not common:
        return None
    level = max(common)
    sides = [_by_seed(of(one, level)(records), number), _by_seed(of(other, 1.0 if dense else level)(records), number)]
    seeds = sorted(sides[0].keys() & sides[1].keys())
    if not seeds:
        return None
    first, second = ([sum(side[seed].values()) / len(side[seed]) for seed in seeds] for side in sides)
    differences = [a - b for a, b in zip(first, second, strict=True)]
    middle, low, high = ratio_interval(first, second) if ratio else mean_interval(differences)
    used = tuple(dict.fromkeys(digest for side in sides for seed in seeds for digest in side[seed]))
    shares = [share for run in of(one, level)(records) if (share := left(run)) is not None]
    told = f"{sum(shares) / len(shares):.1%} of the weights left; " if shares else ""
    return Estimate(middle, low, high, used, len(used), f"{told}{len(seeds)} seeds")


def _by_seed(runs: list[Record], number: Number) -> dict[int, dict[str, float]]:
    found: dict[int, dict[str, float]] = {}
    for run in ended(runs):
        if (value := number(run)) is not None:
            found.setdefault(run.spec.seed, {})[run.digest] = value
    return found


def barrier(kind: str) -> Callable[[Records], Estimate | None]:
    """The barrier between the dense network and another training of it."""
    return lambda records: estimate(
        [run for run in of(kind, 1.0)(records) if "linear_barrier" in run.spec.measures.names], last("test_barrier")
    )


SOME = 0.17
"""The figure of trainings shows the dense network, and what has at most this fraction of its weights."""


def against_left(number: Number, kinds: tuple[str, ...]) -> Callable[[Records], list[Point]]:
    """A number of every arm against the weights left."""
    return lambda records: [
        point for kind in kinds for point in swept(of(kind)(records), left, number, series=kind, positive=True)
    ]


def trainings(records: Records) -> list[Point]:
    """Test loss along the training."""
    wanted = [("all weights", of(TICKET, 1.0))]
    found = levels(records, REDRAWN, SOME)
    if found:
        wanted += [(kind, of(kind, max(found))) for kind in (TICKET, REDRAWN)]
    y = "test_split_loss"
    return [mark for name, runs in wanted for mark in curve(runs(records), "step", y, series=name, positive=True)]


def barriers(records: Records) -> list[Point]:
    """Barriers against the weights left."""
    names = {REORDERED: REORDERED, REDRAWN: "other initial weights"}.items()
    number = last("test_barrier")
    return [point for kind, series in names for point in swept(of(kind)(records), left, number, series=series)]


def gap_reading(records: Records) -> str:
    """The gap at every level, whatever it is."""
    shares = {share for run in ended(of(REDRAWN)(records)) if (share := left(run)) is not None}
    gaps = [compared(records, TICKET, REDRAWN, ACCURACY, share) for share in sorted(shares, reverse=True)]
    told = [f"{gap.value * 100:+.1f} ({gap.note.partition(' of')[0]} left)" for gap in gaps if gap is not None]
    return f"Ticket less new weights, in points of accuracy: {', '.join(told)}." if told else "No level has both arms."


def steps_reading(records: Records) -> str:
    """When the arms stop."""
    found = compared(records, REDRAWN, TICKET, stopped, SOME, ratio=True)
    if found is None:
        return "No level has both arms."
    return f"With {found.note.partition(' of')[0]} of the weights, new weights stop {found.value:.2f} times as late."


def barrier_reading(records: Records) -> str:
    """The two barriers of the dense network."""
    same, other = barrier(REORDERED)(records), barrier(REDRAWN)(records)
    if same is None or other is None:
        return "One of the two kinds has not been run."
    return (
        f"Between two dense networks of one start the barrier is {same.value * 100:.1f} points of accuracy, of two "
        f"starts {other.value * 100:.1f}."
    )


_LEFT = Axis("weights left", "log", percent=True)
FIGURES = (
    Figure(
        name="error",
        title="Test error at the step with the smallest validation loss",
        x=_LEFT,
        y=Axis("test error", "log", percent=True),
        points=against_left(error, (TICKET, REDRAWN, RANDOM)),
        reading=gap_reading,
    ),
    Figure(
        name="stopping",
        title="The step with the smallest validation loss",
        x=_LEFT,
        y=Axis("optimizer steps"),
        points=against_left(stopped, (TICKET, REDRAWN, RANDOM)),
        reading=steps_reading,
    ),
    Figure(
        name="trainings",
        title=f"Test loss along the training, all weights and at most {SOME:.0%} of them",
        x=Axis("optimizer steps"),
        y=Axis("cross-entropy on the test split, nats", "log"),
        points=trainings,
        reading=steps_reading,
    ),
    Figure(
        name="barriers",
        title="Error barrier on the line between two trained networks",
        x=_LEFT,
        y=Axis("largest error on the line less the mean of its ends", percent=True),
        points=barriers,
        reading=barrier_reading,
    ),
)
