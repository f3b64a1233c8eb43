"""What a sweep does next, as a function of its records: more seeds where intervals are wide, bisection of thresholds.

Each combination, and each seed of a bisection, is decided by its own runs alone, in the order of seeds and of probes.
So the decisions do not depend on which run ended first, on who computed it, or on how often the sweep was interrupted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from shattering.core.plan import Plan
from shattering.core.record import Status
from shattering.core.spec import RunSpec, override
from shattering.core.statistics import Interval, accuracy_interval, mean_interval, proportion_interval
from shattering.core.sweep import FITTED, MoreSeeds, Sweep, Threshold
from shattering.core.sweep_file import parse_sweep
from shattering.execution.plan import resolved
from shattering.store.store import Store

POSITIVE = ("steps_to_fit", "epochs_to_fit")
"""Times: their spread is in proportion to them, so means and intervals are taken in the logarithm."""

GROWTH = 2.0
"""Seeds of a combination are at most multiplied by so much at once: a spread seen in few runs is itself uncertain."""


@dataclass(frozen=True)
class Ended:
    """What a rule sees of a run.

    Args:
        status: how it ended.
        numbers: of the run as a whole and of its last snapshot.
    """

    status: Status
    numbers: Mapping[str, Any]

    def number(self, name: str) -> float | None:
        """A finite number of the run; `FITTED` is 1 or 0; none where there is none, or the run gave no answer."""
        if self.status in (Status.FAILED, Status.CANCELLED):
            return None
        if name == FITTED:
            return float(self.status is Status.DONE)
        value = self.numbers.get(name)
        if self.status is Status.DIVERGED or value is None or not math.isfinite(value):
            return None
        return float(value)


@dataclass(frozen=True)
class Probe:
    """One look of a bisection.

    Args:
        value: of the field.
        met: whether the condition held; none where the run failed, or has not ended.
        digest: the run's name.
    """

    value: float
    met: bool | None
    digest: str


@dataclass(frozen=True)
class Bracket:
    """The threshold of one seed.

    Args:
        seed: of the runs.
        probes: in the order they were made.
        below: the largest value on the near side of the change; none where both ends of the range agree.
        above: the smallest value on its far side.
        rises: whether the condition holds above and not below; none where both ends agree or are not known.
        ended: whether there is nothing left to look at.
    """

    seed: int
    probes: tuple[Probe, ...]
    below: float | None = None
    above: float | None = None
    rises: bool | None = None
    ended: bool = False

    @property
    def outcome(self) -> str:
        """How it stands: a bracket, or why there is none."""
        if self.below is not None:
            return "found" if self.ended else "unfinished"
        ends = {probe.met for probe in self.probes}
        if not self.ended:
            return "unfinished"
        return "failed" if None in ends else "met everywhere" if True in ends else "met nowhere"


@dataclass(frozen=True)
class Decided:
    """What follows from the records so far.

    Args:
        runs: every run asked for up to now, by name, in order.
        waiting: those of them without an outcome.
        brackets: for each combination, by its number, the bisection of each seed.
        seeds: for each combination, how many seeds it has been given.
    """

    runs: dict[str, RunSpec]
    waiting: tuple[str, ...]
    brackets: dict[int, tuple[Bracket, ...]] = field(default_factory=dict)
    seeds: dict[int, int] = field(default_factory=dict)


class Decider:
    """Decides for one sweep; what it has read of a store is kept, as outcomes do not change.

    Args:
        plan: the sweep's, with its first runs.
        sweep: as declared.
    """

    def __init__(self, plan: Plan, sweep: Sweep | None = None) -> None:
        self.plan = plan
        self.sweep = sweep or parse_sweep(plan.sweep or {})
        self.ended: dict[str, Ended] = {}
        self._specs: dict[tuple[int, float | None, int], RunSpec] = {}
        self._digests: dict[tuple[int, float | None, int], str] = {}

    @property
    def first_seeds(self) -> int:
        """Seeds of each combination among the first runs."""
        rule = self.sweep.more_seeds
        return rule.at_least if rule is not None else self.sweep.threshold.seeds if self.sweep.threshold else 1

    def combinations(self) -> list[RunSpec]:
        """The first run of each combination: its first seed, at the low end of a threshold."""
        each = self.first_seeds * (2 if self.sweep.threshold is not None else 1)
        found: dict[str, RunSpec] = {}
        for place in range(0, len(self.plan.specs), each):
            spec = self.plan.specs[place]
            found.setdefault(spec.digest, spec)
        return list(found.values())

    def forget(self, digests: Iterable[str]) -> None:
        """Runs are to be tried again, so that what was read of them no longer counts."""
        for digest in digests:
            self.ended.pop(digest, None)

    def decide(self, store: Store) -> Decided:
        """What follows from the records that are in a store now; it reads only what it has not read before."""
        while True:
            decided = self.decide_by(self.ended)
            unread = [digest for digest in decided.waiting if digest not in self.ended]
            found = ended_runs(store, unread)
            self.ended.update(found)
            if not found:
                return decided

    def decide_by(self, ended: Mapping[str, Ended]) -> Decided:
        """What follows from given outcomes, by run."""
        runs: dict[str, RunSpec] = {}
        brackets: dict[int, tuple[Bracket, ...]] = {}
        seeds: dict[int, int] = {}
        for number, spec in enumerate(self.combinations()):
            if self.sweep.threshold is not None:
                brackets[number] = tuple(
                    self._bisected(number, spec, seed, self.sweep.threshold, ended, runs)
                    for seed in range(self.sweep.threshold.seeds)
                )
            elif self.sweep.more_seeds is not None:
                seeds[number] = self._seeded(number, spec, self.sweep.more_seeds, ended, runs)
        return Decided(runs, tuple(digest for digest in runs if digest not in ended), brackets, seeds)

    def _seeded(
        self, number: int, spec: RunSpec, rule: MoreSeeds, ended: Mapping[str, Ended], runs: dict[str, RunSpec]
    ) -> int:
        count = rule.at_least
        while True:
            outcomes = []
            for seed in range(count):
                digest = self._run(number, spec, None, seed, runs)
                outcomes.append(ended.get(digest))
            known = [outcome for outcome in outcomes if outcome is not None]
            if len(known) < count:
                return count
            numbers = [outcome.number(rule.measure) for outcome in known]
            more = next_count(rule, numbers, examples_of(self.plan, spec, rule.measure))
            if more is None:
                return count
            count = more

    def _bisected(
        self,
        number: int,
        spec: RunSpec,
        seed: int,
        threshold: Threshold,
        ended: Mapping[str, Ended],
        runs: dict[str, RunSpec],
    ) -> Bracket:
        probes: list[Probe] = []
        asked: list[float] = [threshold.low, threshold.high]
        while True:
            for value in asked:
                digest = self._run(number, spec, value, seed, runs)
                outcome = ended.get(digest)
                probes.append(Probe(value, None if outcome is None else _met(threshold, outcome), digest))
            waiting = any(probe.digest not in ended for probe in probes)
            bracket = bracket_of(seed, probes, threshold)
            if waiting or bracket.ended:
                return replace(bracket, ended=bracket.ended and not waiting)
            assert bracket.below is not None and bracket.above is not None
            asked = [between(threshold, bracket.below, bracket.above)]

    def _run(self, number: int, spec: RunSpec, value: float | None, seed: int, runs: dict[str, RunSpec]) -> str:
        """The name of a run of a combination; it is noted among ``runs``."""
        key = (number, value, seed)
        if key not in self._specs:
            changes: dict[str, Any] = {"seed": seed}
            threshold = self.sweep.threshold
            if value is None or threshold is None:
                made = spec.model_copy(update=changes)
            else:
                changes[threshold.field] = int(value) if threshold.whole else value
                # The data and the device were looked at when the combination was planned.
                made = resolved(override(spec, changes), self.plan.request)
            self._specs[key], self._digests[key] = made, made.digest
        digest = self._digests[key]
        runs[digest] = self._specs[key]
        return digest


def next_count(rule: MoreSeeds, numbers: Sequence[float | None], examples: int | None) -> int | None:
    """How many seeds a combination is to have, or none where those it has are enough.

    With s the spread seen, an interval of half-width h from n seeds is narrowed to the one asked for, w, by about
    n·(h/w)² of them; that many, at most twice as many as now, at least one more.

    Args:
        rule: what is asked for.
        numbers: of the seeds so far, in order; none for runs without one.
        examples: behind each accuracy; see `interval_of`.
    """
    count = len(numbers)
    if count >= rule.at_most:
        return None
    value, low, high = interval_of(rule.measure, [number for number in numbers if number is not None], examples)
    wanted = float(math.floor(count * GROWTH))
    if value is not None and low is not None and high is not None:
        half = max(value - low, high - value)
        if half <= rule.half_width:
            return None
        wanted = min(wanted, math.ceil(count * (half / rule.half_width) ** 2))
    return min(rule.at_most, max(count + 1, int(wanted)))


def interval_of(
    name: str, numbers: Sequence[float], examples: int | None = None
) -> tuple[float | None, float | None, float | None]:
    """Mean of a number over seeds with its 95% interval, as reports show it.

    Args:
        name: of the number; `FITTED` is a proportion of runs, with Clopper and Pearson's interval.
        numbers: one per run, finite.
        examples: how many examples an accuracy was counted on, so that its interval holds their chance too; none for
            numbers that are no accuracies: Student's interval alone.

    Returns:
        mean (of times the geometric mean), low, high; all none without a number, the ends none below three.
    """
    if not numbers:
        return None, None, None
    if name == FITTED:
        return (
            proportion_interval(round(math.fsum(numbers)), len(numbers))
            if len(numbers) >= 3
            else (
                math.fsum(numbers) / len(numbers),
                None,
                None,
            )
        )
    if examples is not None and all(0 <= number <= 1 for number in numbers):
        return accuracy_interval(numbers, examples)
    if name in POSITIVE and min(numbers) > 0:
        ends = [None if end is None else math.exp(end) for end in mean_interval([math.log(each) for each in numbers])]
        return ends[0], ends[1], ends[2]
    return mean_interval(numbers)


def examples_of(plan: Plan, spec: RunSpec, name: str) -> int | None:
    """How many examples an accuracy of a run is counted on; none for other numbers."""
    if not name.endswith("_accuracy"):
        return None
    facts = plan.request.data
    train, test = spec.sizes(facts.train_size, facts.test_size)
    # The other accuracies on training examples are of a part that only the run knows.
    return {"train_accuracy": train, "clean_train_accuracy": train, "test_accuracy": test}.get(name)


def bracket_of(seed: int, probes: Sequence[Probe], threshold: Threshold) -> Bracket:
    """Where a bisection stands after some probes, the two ends of the range among them."""
    kept = tuple(probes)
    at = {probe.value: probe.met for probe in probes}
    first, last = at.get(threshold.low), at.get(threshold.high)
    if None in at.values():
        return Bracket(seed, kept, ended=True)
    if first is None or last is None or first == last:
        return Bracket(seed, kept, ended=first is not None and last is not None)
    # Each probe lay between the ends of its time and replaced one of them.
    below, above = threshold.low, threshold.high
    for probe in kept:
        if below < probe.value < above:
            below, above = (probe.value, above) if probe.met == first else (below, probe.value)
    return Bracket(seed, kept, below, above, rises=bool(last), ended=close_enough(threshold, below, above))


def close_enough(threshold: Threshold, below: float, above: float) -> bool:
    """Whether a bracket is not halved again: within the asked fraction, or between neighbouring whole numbers.

    The fraction is of the lower end where the whole range lies above 0, else of the range.
    """
    if threshold.whole and above - below <= 1:
        return True
    unit = below if threshold.low > 0 else threshold.high - threshold.low
    return above - below <= threshold.within * unit


def between(threshold: Threshold, below: float, above: float) -> float:
    """Where to look next: the middle, in the logarithm where the whole range lies above 0."""
    middle = math.sqrt(below * above) if threshold.low > 0 else (below + above) / 2
    if threshold.whole:
        return float(min(max(round(middle), int(below) + 1), int(above) - 1))
    return float(f"{middle:.6g}")


def threshold_interval(brackets: Sequence[Bracket], threshold: Threshold) -> Interval | None:
    """Mean threshold over seeds with an interval for the spread of seeds *and* for the width of the brackets.

    Student's interval is taken over the lower ends and over the upper ends of the brackets, in the logarithm where the
    whole range lies above 0; the interval reaches from the lowest to the highest.

    Returns:
        mean, low, high; the ends none below three seeds; none where a seed has no bracket, as a mean over the others
        would be a mean over those that suit.
    """
    ends = [(bracket.below, bracket.above) for bracket in brackets if bracket.below is not None]
    if not ends or len(ends) < len(brackets):
        return None
    logarithmic = threshold.low > 0
    into, back = (math.log, math.exp) if logarithmic else (float, float)
    lows = [into(low) for low, _ in ends if low is not None]
    highs = [into(high) for _, high in ends if high is not None]
    middle, low, high = mean_interval([(low + high) / 2 for low, high in zip(lows, highs, strict=True)])
    if low is None or high is None:
        return back(middle), None, None
    _, lowest, _ = mean_interval(lows)
    _, _, highest = mean_interval(highs)
    assert lowest is not None and highest is not None
    return back(middle), back(min(low, lowest)), back(max(high, highest))


def most_runs(sweep: Sweep, runs: int) -> int:
    """How many runs a sweep may come to that begins with ``runs``."""
    if sweep.more_seeds is not None:
        return runs // sweep.more_seeds.at_least * sweep.more_seeds.at_most
    if sweep.threshold is not None:
        return runs // 2 * (2 + _halvings(sweep.threshold))
    return runs


def _halvings(threshold: Threshold) -> int:
    """Probes that a bisection needs at most, beside those at the two ends."""
    below, above, count = threshold.low, threshold.high, 0
    while not close_enough(threshold, below, above) and count < 64:
        # The lower half of a logarithmic range is the one that is still wide in whole numbers last of all.
        below, count = between(threshold, below, above), count + 1
    other, count_other, above = threshold.low, 0, threshold.high
    while not close_enough(threshold, other, above) and count_other < 64:
        above, count_other = between(threshold, other, above), count_other + 1
    return max(count, count_other)


def ended_runs(store: Store, digests: Iterable[str]) -> dict[str, Ended]:
    """What rules see of the runs that have ended, failed ones included."""
    return {record.digest: Ended(record.status, {**record.summary, **record.last}) for record in store.records(digests)}


def _met(threshold: Threshold, outcome: Ended) -> bool | None:
    """Whether the condition held; a diverged run meets none, a failed one or one without the number does not tell."""
    if outcome.status is Status.FAILED:
        return None
    number = outcome.number(threshold.met.measure)
    if threshold.met.measure == FITTED:
        return number == 1.0
    if number is None:  # a run that did not fit has no `steps_to_fit`
        missed = outcome.status is Status.DIVERGED or threshold.met.measure in ("steps_to_fit", "epochs_to_fit")
        return False if missed else None
    return threshold.met.holds(number)
