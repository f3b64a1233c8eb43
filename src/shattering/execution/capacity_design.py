"""Which runs a pre-flight check trains next: a pure function of the runs that have ended.

Sizes and budgets follow from recorded steps and seconds alone, so the same command on the same store asks for the same
runs again, and an interrupted check is taken up where it stopped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from shattering.core.capacity import Curve, bracket, fit_curve, next_size, size_within
from shattering.core.record import Record, Status
from shattering.core.spec import CorruptionSpec, RunSpec
from shattering.execution.capacity_records import (
    BISECTION_SEED,
    FIRST_BUDGET,
    FIRST_RUN_SECONDS,
    PILOT_SEED,
    RANDOM,
    REAL,
    bisections,
    of_sizes,
    outcomes,
    pilot_seconds,
    pilots,
    points,
    seen,
    size_of,
    step_seconds,
    time_curve,
)

LONGER = 4
"""Factor by which a run that did not fit is prolonged."""

GENEROUS = 4.0
"""Budget of a run, in multiples of the predicted time."""

GROWTH, LEAST_GROWTH = 2.0, 1.4
"""From one size to the next."""

ROUND_SECONDS = 0.5
"""Between two rounds."""

SIZES_SHARE = 0.7
"""Of the time, for the curve; the rest is for bisection. Up to three sizes the curve may take it all."""

RATE_MARGIN = 1.5
"""Of the rates that fit within this factor of the fastest, the smallest is taken: larger sizes forgive less."""

BISECTIONS = 6
"""Rounds at most."""

Reason = Literal["complete", "too-slow", "diverged", "broken", "time"]


@dataclass(frozen=True)
class Question:
    """What is asked.

    Args:
        base: the resolved spec of every run, but for size, labels, rate, budget and seed.
        target: number of training examples that the answer is wanted for.
        rates: learning rates to choose from.
        seeds: runs of each kind.
        minutes: time that all runs together may take on ``jobs`` processes.
        jobs: processes.
        budgets: updates within which to find the capacity; empty: what the time allows.
    """

    base: RunSpec
    target: int
    rates: tuple[float, ...]
    seeds: int
    minutes: float
    jobs: int
    budgets: tuple[int, ...] = ()

    @property
    def smallest(self) -> int:
        """The smallest size: a batch."""
        return min(self.base.training.batch_size, self.target)

    def run(self, examples: int, labels: str, rate: float, budget: float, seed: int) -> RunSpec:
        """One run."""
        base = self.base
        return base.model_copy(
            update={
                "data": base.data.model_copy(update={"train_size": examples}),
                "corruption": CorruptionSpec(name=labels),
                "training": base.training.model_copy(
                    update={"learning_rate": rate, "max_steps": max(1, math.ceil(budget))}
                ),
                "seed": seed,
            }
        )


@dataclass(frozen=True)
class Round:
    """Runs to train side by side.

    Args:
        stage: ``rate`` looks for a learning rate and a first time to fit, ``sizes`` draws the curve, ``bisection``
            finds capacities.
        specs: the runs.
    """

    stage: Literal["rate", "sizes", "bisection"]
    specs: tuple[RunSpec, ...]


@dataclass(frozen=True)
class Ended:
    """There is nothing more to train.

    Args:
        reason: ``complete``: all that was wanted; ``time``: as much as the time allowed; ``too-slow``: not even the
            smallest subset was fitted in it; ``diverged``: at every learning rate; ``broken``: runs failed.
        seconds: about how long it would have to be for the next round; none where there is none.
    """

    reason: Reason
    seconds: float | None = None


def next_round(question: Question, rounds: Sequence[Sequence[Record]]) -> Round | Ended:
    """What to train, given the records of the rounds before, in order; raises nothing and draws nothing."""
    records = [record for done in rounds for record in done]
    if any(record.status is Status.FAILED for record in records):
        return Ended("broken")
    left = 60 * question.minutes - spent_seconds(rounds, question.jobs)
    if chosen_rate(question, records) is None:
        return _first(question, records, left)
    sizes = _next_sizes(question, records, left)
    if isinstance(sizes, Round):
        return sizes
    bisection = _next_bisection(question, records, left)
    return bisection or sizes


def spent_seconds(rounds: Sequence[Sequence[Record]], jobs: int) -> float:
    """Wall-clock time of rounds: none is shorter than its longest run, nor than an even share of all its runs.

    Starting the workers is not counted, so that a small budget is one of training: neither what comes before the first
    round nor what the first run of each takes besides its updates.
    """
    total = 0.0
    for number, records in enumerate(rounds):
        each = [float(record.provenance.get("seconds", 0.0)) for record in records]
        seconds = max(max(each, default=0.0), sum(each) / jobs)
        total += ROUND_SECONDS + (seconds if number else max(0.0, seconds - FIRST_RUN_SECONDS))
    return total


def chosen_rate(question: Question, records: Sequence[Record]) -> float | None:
    """The learning rate of all further runs; none while it is being looked for."""
    fitted = _fitted_rates(records)
    if not fitted or _undecided(question, records):
        return None
    return min(rate for rate, steps in fitted.items() if steps <= RATE_MARGIN * min(fitted.values()))


def _fitted_rates(records: Sequence[Record]) -> dict[float, float]:
    """The time to fit of the rates that did."""
    times = [(record.spec.training.learning_rate, seen(record)) for record in pilots(records)]
    return {rate: time.value for rate, time in times if time is not None and time.bound == "exact"}


def _undecided(question: Question, records: Sequence[Record]) -> list[float]:
    """Smaller rates than the fastest that were stopped too early to tell whether they come close to it."""
    fitted = _fitted_rates(records)
    if not fitted:
        return []
    fastest = min(fitted, key=lambda rate: fitted[rate])
    tried = pilots(records)
    out = {r.spec.training.learning_rate for r in tried if r.status is not Status.NOT_FITTED}
    longest = {
        rate: max((r.spec.training.max_steps for r in tried if r.spec.training.learning_rate == rate), default=0)
        for rate in question.rates
    }
    enough, last = math.floor(RATE_MARGIN * fitted[fastest]), max(longest.values())
    return [
        rate
        for rate in question.rates
        if rate < fastest and rate not in out and longest[rate] == last and last < enough
    ]


def random_curve(records: Sequence[Record]) -> Curve | None:
    """The curve through the times to fit random labels."""
    return time_curve(records, RANDOM)[0]


def default_budgets(question: Question, records: Sequence[Record], left: float) -> tuple[int, ...]:
    """Budgets whose capacity lies among the sizes seen: those asked for, or two that the time left allows."""
    if question.budgets:
        return question.budgets
    curve = random_curve(records)
    if curve is None:
        return ()
    largest = max(size_of(record) for record in of_sizes(records))
    each = step_seconds(of_sizes(records))
    # Four rounds of both budgets; the second is half the first.
    afford = (left - 4 * ROUND_SECONDS) / 4 * question.jobs / (1.5 * question.seeds * each)
    first = min(curve.predict(largest).value / 1.5, afford)
    least = curve.predict(question.smallest).value * 1.5
    found = dict.fromkeys(_rounded(first / share) for share in (1, 2) if first / share >= least)
    return tuple(sorted(found))


def budgets_of(question: Question, records: Sequence[Record]) -> tuple[int, ...]:
    """The budgets that capacities are told for: those asked for, or those of the bisection runs."""
    if question.budgets:
        return tuple(sorted(question.budgets))
    return tuple(sorted({record.spec.training.max_steps for record in bisections(records)}))


def _first(question: Question, records: Sequence[Record], left: float) -> Round | Ended:
    """Random labels of the smallest subset at every rate, the better half for longer and longer until one fits."""
    tried = pilots(records)
    undecided = _undecided(question, records)
    if undecided:
        budget = math.floor(RATE_MARGIN * min(_fitted_rates(records).values()))
        specs = [question.run(question.smallest, RANDOM, rate, budget, PILOT_SEED) for rate in undecided]
        return Round("rate", tuple(specs))
    alive = _promising(question, tried)
    if not alive:
        return Ended("diverged")
    budget = LONGER * max(r.spec.training.max_steps for r in tried) if tried else FIRST_BUDGET
    if tried:
        needed = ROUND_SECONDS + pilot_seconds(tried, question.jobs) * budget * max(1.0, len(alive) / question.jobs)
        if needed > left:
            return Ended("too-slow", 60 * question.minutes - left + needed)
    return Round("rate", tuple(question.run(question.smallest, RANDOM, rate, budget, PILOT_SEED) for rate in alive))


def _promising(question: Question, tried: Sequence[Record]) -> list[float]:
    """The better half of the rates that were tried longest and did not diverge, by their training accuracy."""
    if not tried:
        return list(question.rates)
    longest = max(record.spec.training.max_steps for record in tried)
    last = [record for record in tried if record.spec.training.max_steps == longest]
    left = [record for record in last if record.status is not Status.DIVERGED]
    left.sort(key=lambda record: float(record.last.get("train_accuracy", 0.0)), reverse=True)
    return [record.spec.training.learning_rate for record in left[: math.ceil(len(last) / 2)]]


def _next_sizes(question: Question, records: Sequence[Record], left: float) -> Round | Ended:
    """The next sizes, as many at once as are cheap; ended where the next would take too long."""
    rate = chosen_rate(question, records)
    assert rate is not None
    ladder = of_sizes(records)
    sizes = sorted({size_of(record) for record in ladder})
    if sizes and _mostly_unfitted([record for record in ladder if size_of(record) == sizes[-1]]):
        return Ended("complete" if sizes[-1] >= question.target else "time")
    each = step_seconds(ladder) if ladder else pilot_seconds(records, question.jobs)
    specs: list[RunSpec] = []
    together, needed = 0.0, 0.0
    while not sizes or sizes[-1] < question.target:
        share = 1.0 if len(sizes) < 3 else SIZES_SHARE
        allowed = left - (1 - share) * 60 * question.minutes
        for growth, seeds in _ways(question.seeds):
            size = question.smallest if not sizes else _grown(sizes[-1], growth, question.target)
            expected = {labels: _expected(records, labels, size) for labels in (REAL, RANDOM)}
            cost = [each * steps for steps in expected.values() for _ in range(seeds)]
            needed = ROUND_SECONDS + max(max(cost), together + sum(cost) / question.jobs)
            if needed <= allowed:
                break
        else:
            break
        # What an update takes is known well only from the second runs of the workers.
        if specs and (not ladder or needed > 0.05 * 60 * question.minutes):
            break
        # What the worst case may take: a budget that would overrun the time by far is cut.
        limit = 1.2 * left * question.jobs / (2 * seeds * each)
        for seed in range(seeds):
            for labels, steps in expected.items():
                budget = max(1.5 * steps, min(GENEROUS * steps, limit), 40.0)
                specs.append(question.run(size, labels, rate, budget, len(sizes) * question.seeds + seed))
        together += sum(cost) / question.jobs
        sizes.append(size)
    if specs:
        return Round("sizes", tuple(specs))
    if sizes and sizes[-1] >= question.target:
        return Ended("complete")
    if not ladder:
        return Ended("too-slow", 60 * question.minutes - left + needed)
    return Ended("time", 60 * question.minutes - left + needed)


def _ways(seeds: int) -> list[tuple[float, int]]:
    """Growth and number of seeds of the next size, the best first: far ahead tells more than once again."""
    fewer = max(1, min(2, seeds))
    return list(dict.fromkeys([(GROWTH, seeds), (GROWTH, fewer), (LEAST_GROWTH, seeds), (LEAST_GROWTH, fewer)]))


def _grown(size: int, growth: float, target: int) -> int:
    """The next size; the target itself where little would be left to it."""
    grown = round(size * growth)
    return target if grown * 1.2 >= target else grown


def _expected(records: Sequence[Record], labels: str, size: int) -> float:
    """About how many updates a run will take."""
    known = points(records, labels)
    curve = fit_curve(known, rising=True)
    if curve is not None:
        return max(1.0, curve.predict(size).value)
    if not known:
        known = [point for point in map(seen, pilots(records)) if point is not None and point.bound == "exact"]
    last = max(known, key=lambda point: (point.examples, point.value))
    return float(last.value * max(1.0, size / last.examples) ** 1.1)


def _mostly_unfitted(records: Sequence[Record]) -> bool:
    """Whether more than half of the random-label runs of a size did not fit."""
    chosen = [record for record in records if record.spec.corruption.name == RANDOM]
    return 2 * sum(record.status is not Status.DONE for record in chosen) > len(chosen)


def _next_bisection(question: Question, records: Sequence[Record], left: float) -> Round | None:
    rate, curve = chosen_rate(question, records), random_curve(records)
    if rate is None or curve is None:
        return None
    done = bisections(records)
    budgets = budgets_of(question, records) or default_budgets(question, records, left)
    each = step_seconds(of_sizes(records))
    most = max(len({size_of(r) for r in done if r.spec.seed == BISECTION_SEED + s}) for s in range(question.seeds))
    if most >= BISECTIONS * max(1, len(budgets)):
        return None
    specs: list[RunSpec] = []
    for budget in budgets:
        start = round(size_within(curve, budget, question.smallest, question.target)[0])
        wanted = []
        for seed in range(BISECTION_SEED, BISECTION_SEED + question.seeds):
            known = bracket(seed, outcomes(records, seed, budget))
            size = next_size(known, start, question.smallest, question.target)
            if size is not None:
                wanted.append(question.run(size, RANDOM, rate, budget, seed))
        cost = each * budget * max(1.0, (len(specs) + len(wanted)) / question.jobs)
        if wanted and ROUND_SECONDS + cost <= left:
            specs += wanted
    unique = {spec.digest: spec for spec in specs}
    return Round("bisection", tuple(unique.values())) if unique else None


def _rounded(steps: float) -> int:
    """Two significant digits."""
    if steps < 10:
        return max(1, round(steps))
    power = int(10 ** (math.floor(math.log10(steps)) - 1))
    return round(steps / power) * power
