"""How a check is registered: the trainings it wants for a given effort, and what it concludes from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shattering.core.errors import ShatteringError
from shattering.core.finding import Answer, Cost
from shattering.core.record import Record, Status
from shattering.core.registry import Registry
from shattering.core.spec import RunSpec

if TYPE_CHECKING:
    from shattering.data.dataset import Splits


@dataclass(frozen=True, eq=False)
class Subject:
    """What is audited.

    Args:
        base: the user's training, resolved: her model, data, loss and optimizer, with the budget of updates that the
            pilot found enough; no corruption, seed 0, measures of accuracy only. A check varies copies of it.
        splits: her data; the test split is hers, or a part held out from her training data once for all runs.
        held_out: whether the test split was held out here.
        pilot: the record of ``base``; none before it has been trained.
        trained: what was seen of trained weights that the user gave (see `shattering.execution.trained`); empty where
            none were given.
        batch_normalisations: layers of the network that normalise by the statistics of a batch.
    """

    base: RunSpec
    splits: Splits
    held_out: bool = False
    pilot: Record | None = None
    trained: Mapping[str, Any] = field(default_factory=dict)
    batch_normalisations: int = 0

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; their numbers where they have none."""
        train = self.splits.train
        return train.class_names or tuple(str(number) for number in range(train.num_classes))


@dataclass(frozen=True, eq=False)
class Evidence:
    """The trainings that have ended.

    Args:
        by_digest: their records.
        effort: repetitions that were planned for the check in hand.
    """

    by_digest: Mapping[str, Record] = field(default_factory=dict)
    effort: int = 0

    def of(self, specs: Iterable[RunSpec]) -> list[Record]:
        """The records of those of ``specs`` that have ended with an outcome, failed ones left out, in their order."""
        found = [self.by_digest.get(spec.digest) for spec in specs]
        return [record for record in found if record is not None and record.status is not Status.FAILED]

    def cost(self, records: Sequence[Record]) -> Cost:
        """What these runs took."""
        return Cost(len(records), sum(float(record.provenance.get("seconds", 0.0)) for record in records))


@dataclass(frozen=True)
class Check:
    """One question that an audit asks.

    Args:
        name: as typed after ``--checks``.
        question: in one sentence.
        paper: where the method comes from.
        unit: what one more repetition is, in the singular, such as ``refit under permuted labels``.
        least: repetitions below which it can tell nothing; 0 where it needs no training.
        useful: repetitions beyond which more would change little.
        design: the runs for so many repetitions; those of fewer are among them, so that effort may grow.
        tells: what so many repetitions will and will not be able to tell, in one sentence, before anything is run.
        answer: what follows from the runs that have ended, fewer than planned ones included; it never raises for want
            of runs, but says ``unknown``.
        rank: place in the report and in line for the budget; lower comes first.
        why_not: a reason for which the check cannot be asked of a subject; none where it can.
    """

    name: str
    question: str
    paper: str
    unit: str
    least: int
    useful: int
    design: Callable[[Subject, int], list[RunSpec]]
    tells: Callable[[Subject, int], str]
    answer: Callable[[Subject, Evidence], Answer]
    rank: int
    why_not: Callable[[Subject], str | None] = lambda subject: None


checks: Registry[Check] = Registry("check", "shattering.checks")


def register(check: Check) -> Check:
    """Makes a check known under its name; one without a question, a source or a positive range is refused."""
    if not (check.question and check.paper) or not 0 <= check.least <= check.useful:
        raise ShatteringError("check-incomplete", f"The check {check.name!r} needs a question, a source and a range.")
    checks.add(check.name, check)
    return check
