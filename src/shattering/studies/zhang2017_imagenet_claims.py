"""The numbers of Table 2 of Zhang et al. (2017) whose digits were seen in quotation, and how ours are estimated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from shattering.core.record import Record, Status
from shattering.core.statistics import accuracy_interval, mean_interval
from shattering.core.study import Claim, Effect, Estimate, Provenance, Records
from shattering.studies.zhang2017 import CHANCE_BAND, above_chance, accuracy_of, chance, chance_effect, counted

Estimator = Callable[[Records], Estimate | None]

EARLIER = 0.836
"""Top-5 test accuracy of Krizhevsky et al. (2012), which Table 2 quotes."""

MOST = 0.85
"""Random labels count as memorised from this training accuracy on; the paper's own runs end at 88% to 95%."""


@dataclass(frozen=True)
class Variant:
    """A row of Table 2.

    Args:
        augmentation, dropout, weight_decay: explicit regularisers.
        random_labels: whether all labels are random.
        printed: its numbers that were seen in quotation, by measured name, with how they are known; ``best_…`` are the
            best so far, in parentheses in the paper.
    """

    augmentation: bool
    dropout: bool
    weight_decay: bool
    random_labels: bool = False
    printed: dict[str, tuple[float, Provenance]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What tells the row from the others."""
        named = {"augmentation": self.augmentation, "dropout": self.dropout, "weight decay": self.weight_decay}
        labels = "random labels, " if self.random_labels else ""
        return labels + (", ".join(name for name, on in named.items() if on) or "no regulariser")

    def runs(self, records: Records) -> list[Record]:
        """The records of this row."""
        return [record for record in records if self.holds(record)]

    def holds(self, record: Record) -> bool:
        """Whether a record belongs to this row."""
        spec = record.spec
        return (
            (spec.corruption.name == "random_labels") == self.random_labels
            and (spec.training.augmentation != "none") == self.augmentation
            and (spec.model.fields.get("dropout", 0.0) > 0) == self.dropout
            and (spec.training.weight_decay > 0) == self.weight_decay
        )


ROWS = (
    Variant(
        True,
        True,
        True,
        printed={
            "train_accuracy": (0.9218, "Q-note"),
            "test_accuracy": (0.7784, "Q-note"),
            "test_top5_accuracy": (0.9392, "Q-note"),
        },
    ),
    Variant(
        True,
        False,
        False,
        printed={
            "train_accuracy": (0.9233, "Q-note"),
            "test_accuracy": (0.7295, "Q-text"),
            "test_top5_accuracy": (0.9043, "Q-note"),
        },
    ),
    Variant(
        False,
        False,
        True,
        printed={
            "train_accuracy": (0.9060, "Q-note"),
            "test_accuracy": (0.6718, "Q-note"),
            "best_test_accuracy": (0.7257, "Q-note"),
            "test_top5_accuracy": (0.8644, "Q-note"),
        },
    ),
    Variant(
        False,
        False,
        False,
        printed={
            "train_accuracy": (0.9953, "Q-note"),
            "test_accuracy": (0.5980, "Q-text"),
            "best_test_accuracy": (0.6316, "Q-note"),
            "test_top5_accuracy": (0.8038, "Q-text"),
        },
    ),
    Variant(False, True, True, True, printed={"train_accuracy": (0.90, "Q-text"), "test_accuracy": (0.001, "Q-text")}),
    Variant(False, False, True, True, printed={"test_accuracy": (0.001, "Q-text")}),
    Variant(
        False, False, False, True, printed={"train_accuracy": (0.952, "Q-text"), "test_accuracy": (0.001, "Q-text")}
    ),
)
"""Table 2. On random labels the main text says about 90% for the first row, and chance, 0.1%, for all tests."""

ALL_ON, ALL_OFF = ROWS[0], ROWS[3]

QUANTITIES = {
    "train_accuracy": "top-1 training accuracy",
    "test_accuracy": "top-1 test accuracy",
    "best_test_accuracy": "top-1 test accuracy, best so far",
    "test_top5_accuracy": "top-5 test accuracy",
}


def ended(records: Records) -> list[Record]:
    """Runs with a last measurement."""
    return [record for record in records if record.status in (Status.DONE, Status.NOT_FITTED) and record.rows]


def best_of(runs: Callable[[Records], list[Record]], name: str) -> Estimator:
    """Mean over runs of the largest value of an accuracy over a run's snapshots."""

    def estimate(records: Records) -> Estimate | None:
        mine = runs(records)
        measured = [record for record in ended(mine) if record.trajectory(name)[1]]
        if not measured:
            return None
        examples = min(int(record.summary["test_size"] or 1) for record in measured)
        bests = [max(record.trajectory(name)[1]) for record in measured]
        value, low, high = accuracy_interval(bests, examples)
        return Estimate(value, low, high, tuple(record.digest for record in measured), len(mine), counted(mine))

    return estimate


def cost_of_switching_off(records: Records) -> Estimate | None:
    """Paired by network and seed: top-1 test accuracy with all regularisers less that without any."""
    without = {(run.spec.model.name, run.spec.seed): run for run in ended(ALL_OFF.runs(records))}
    pairs = [
        (run, other)
        for run in ended(ALL_ON.runs(records))
        if (other := without.get((run.spec.model.name, run.spec.seed))) is not None
    ]
    if not pairs:
        return None
    costs = [float(run.last["test_accuracy"]) - float(other.last["test_accuracy"]) for run, other in pairs]
    value, low, high = mean_interval(costs)
    digests = tuple(run.digest for pair in pairs for run in pair)
    return Estimate(value, low, high, digests, len(digests), f"{len(pairs)} pairs of runs")


def gain_of_stopping(records: Records) -> Estimate | None:
    """Without regularisers: the best test accuracy of a run, in hindsight, less its last; at least 0."""
    runs = ended(ALL_OFF.runs(records))
    if not runs:
        return None
    gains = [max(run.trajectory("test_accuracy")[1]) - float(run.last["test_accuracy"]) for run in runs]
    value, low, high = mean_interval(gains)
    low = None if low is None else max(0.0, low)
    return Estimate(value, low, high, tuple(run.digest for run in runs), len(runs), counted(runs))


def lead_over_earlier(records: Records) -> Estimate | None:
    """What Krizhevsky et al. (2012) are ahead in top-5 test accuracy of our runs without any regulariser."""
    found = accuracy_of(ALL_OFF.runs(records), "test_top5_accuracy")
    if found is None:
        return None
    low, high = (None if end is None else EARLIER - end for end in (found.high, found.low))
    return Estimate(EARLIER - found.value, low, high, found.runs, found.considered, found.note)


def _exceeds(estimate: Estimator, bar: float) -> Callable[[Records], bool | None]:
    """Whether the whole interval lies above ``bar``; none where it holds it, or there is no interval."""

    def holds(records: Records) -> bool | None:
        found = estimate(records)
        if found is None or found.low is None or found.high is None:
            return None
        return True if found.low > bar else False if found.high <= bar else None

    return holds


def _above_guessing_five(row: Variant) -> Effect:
    def holds(records: Records) -> bool | None:
        found, guess = accuracy_of(row.runs(records), "test_top5_accuracy"), 5 * chance(records)
        if found is None or found.low is None or guess >= 1 - CHANCE_BAND:  # with few classes anything is in the first
            return None
        return found.low > guess + CHANCE_BAND

    return Effect("top-5 test accuracy is well above that of guessing", holds)


def _effect(row: Variant, name: str) -> Effect:
    if name == "train_accuracy":
        what = "random labels are" if row.random_labels else "the training set is"
        return Effect(f"{what} fitted to {MOST:.0%} (interval above)", _exceeds(_estimator(row, name), MOST))
    if name == "test_top5_accuracy":
        return _above_guessing_five(row)
    return chance_effect(row.runs) if row.random_labels else above_chance(row.runs)


def _estimator(row: Variant, name: str) -> Estimator:
    if name.startswith("best_"):
        return best_of(row.runs, name.removeprefix("best_"))
    return lambda records: accuracy_of(row.runs(records), name)


def _row_claims(row: Variant) -> list[Claim]:
    return [
        Claim(
            source=f"Table 2: {row.name}",
            quantity=QUANTITIES[name],
            published=published,
            tolerance=0.0005 if published == 0.001 else 0.02 if name == "train_accuracy" else 0.01,
            unit="1",
            provenance=provenance,
            data="imagenet",
            estimate=_estimator(row, name),
            effect=_effect(row, name),
        )
        for name, (published, provenance) in row.printed.items()
    ]


def claims() -> tuple[Claim, ...]:
    """Every number of Table 2 and of the text on it that was seen in quotation, and one effect without a number."""
    middle = ROWS[5]
    return (
        *(claim for row in ROWS for claim in _row_claims(row)),
        Claim(
            source=f"Table 2: {middle.name}",
            quantity=QUANTITIES["train_accuracy"],
            published=None,
            tolerance=0.02,
            unit="1",
            provenance="Q-text",
            data="imagenet",
            estimate=_estimator(middle, "train_accuracy"),
            effect=_effect(middle, "train_accuracy"),
        ),
        Claim(
            source="Section 3: regularisers on ImageNet",
            quantity="top-1 test accuracy lost by switching everything off",
            published=0.18,
            tolerance=0.015,
            unit="1",
            provenance="Q-text",
            data="imagenet",
            estimate=cost_of_switching_off,
            effect=Effect("switching everything off costs test accuracy", _exceeds(cost_of_switching_off, 0.0)),
        ),
        Claim(
            source="Section 3, Figure 2a and Table 2: no regulariser",
            quantity="gain of early stopping in top-1 test accuracy",
            published=0.0336,
            tolerance=0.01,
            unit="1",
            provenance="D",
            data="imagenet",
            estimate=gain_of_stopping,
            effect=Effect("stopping at the best step gains more than half a point", _exceeds(gain_of_stopping, 0.005)),
        ),
        Claim(
            source="Table 2: Krizhevsky et al. (2012)",
            quantity="their lead in top-5 test accuracy over no regulariser",
            published=0.0322,
            tolerance=0.015,
            unit="1",
            provenance="D",
            data="imagenet",
            estimate=lead_over_earlier,
        ),
    )
