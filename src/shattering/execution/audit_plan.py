"""How an audit's time is shared: which checks can be asked at all, and how many trainings each of them gets."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from shattering.checks.registry import Check, Evidence, Subject
from shattering.core.record import Record, Status
from shattering.core.spec import RunSpec
from shattering.core.words import plural

STEP = 0.25
"""An effort grows by this share of itself at a time, so that all checks grow side by side."""

FIRST_USE = 10.0
"""Seconds of a process's first training that may have gone to what is loaded and compiled once, not to its updates."""


@dataclass(frozen=True, eq=False)
class Allotment:
    """What one check gets.

    Args:
        check: the check.
        effort: repetitions; 0 where it needs none or cannot be asked.
        specs: its runs.
        seconds: expected time of those that no check before it asked for and that have not ended yet, one after
            another.
        tells: what it will and will not be able to tell.
        refused: why it is not asked; none where it is.
        needed: expected time of the fewest repetitions, where the check is not asked for want of time; else 0.
    """

    check: Check
    effort: int
    specs: tuple[RunSpec, ...]
    seconds: float
    tells: str
    refused: str | None = None
    needed: float = 0.0


def allot(
    subject: Subject,
    checks: Sequence[Check],
    seconds_of: Callable[[RunSpec], float],
    available: float,
    ended: Collection[str],
    floors: Mapping[str, int],
    *,
    only_least: bool = False,
) -> list[Allotment]:
    """Shares the time that is left.

    In order of rank each check first gets the fewest repetitions that tell anything, where the time holds them; what
    remains goes, a little at a time, to the check that is farthest from as many as are useful.

    Args:
        subject: what is audited.
        checks: those that were asked for.
        seconds_of: expected time of a run.
        available: seconds of training that are left, over all processes together.
        ended: digests of runs that have an outcome.
        floors: repetitions that were decided on before, by check; they are kept whatever the time.
        only_least: give nothing beyond the fewest.

    Returns:
        One allotment a check, in order of rank; together they expect at most ``available`` seconds, unless the floors
        alone take more.
    """
    ranked = sorted(checks, key=lambda check: check.rank)
    costs = _Costs(subject, seconds_of, set(ended))
    efforts: dict[str, int] = {}
    refused: dict[str, tuple[str, float]] = {}
    for check in ranked:
        reason = check.why_not(subject)
        if reason is not None:
            refused[check.name] = reason, 0.0
        elif check.least == 0 and check.useful == 0:
            efforts[check.name] = 0
        else:
            wanted = max(check.least, floors.get(check.name, 0))
            left = available - costs.total(ranked, efforts)
            needed = costs.added(ranked, efforts, check, wanted)
            if needed > left and check.name not in floors:
                refused[check.name] = _too_little_time(check, needed, left), needed
            else:
                efforts[check.name] = wanted
    growing = set() if only_least else {check.name for check in ranked if 0 < efforts.get(check.name, 0) < check.useful}
    by_name = {check.name: check for check in ranked}
    while growing:
        name = min(growing, key=lambda each: (efforts[each] / by_name[each].useful, by_name[each].rank))
        check = by_name[name]
        more = min(check.useful, efforts[name] + max(1, int(STEP * efforts[name])))
        if costs.total(ranked, {**efforts, name: more}) > available:
            growing.discard(name)
            continue
        efforts[name] = more
        if more == check.useful:
            growing.discard(name)
    return _allotments(subject, ranked, efforts, refused, costs)


def _allotments(
    subject: Subject,
    ranked: Sequence[Check],
    efforts: Mapping[str, int],
    refused: Mapping[str, tuple[str, float]],
    costs: _Costs,
) -> list[Allotment]:
    given: list[Allotment] = []
    before: dict[str, int] = {}
    for check in ranked:
        if check.name in refused:
            given.append(Allotment(check, 0, (), 0.0, "", *refused[check.name]))
            continue
        effort = efforts[check.name]
        specs = tuple(costs.runs(check, effort))
        seconds = costs.added(ranked, before, check, effort)
        before[check.name] = effort
        given.append(Allotment(check, effort, specs, seconds, check.tells(subject, effort)))
    return given


def _too_little_time(check: Check, needed: float, left: float) -> str:
    if math.isinf(needed):
        return "the budget ended before the first training did"
    return (
        f"it needs {repetitions(check, check.least)}, about {_clock(needed)} of training, and what is left of the "
        f"budget holds {_clock(max(left, 0.0))}"
    )


def repetitions(check: Check, count: int) -> str:
    """So many repetitions of a check in words: ``19 refits under permuted labels``."""
    noun, _, rest = check.unit.partition(" ")
    return f"{plural(count, noun)} {rest}".rstrip()


def _clock(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


@dataclass(eq=False)
class _Costs:
    """Runs and their expected times, looked up once; a run that several checks want counts once."""

    subject: Subject
    seconds_of: Callable[[RunSpec], float]
    ended: set[str]
    designs: dict[tuple[str, int], list[RunSpec]] = field(default_factory=dict)
    digests: dict[int, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def runs(self, check: Check, effort: int) -> list[RunSpec]:
        key = check.name, effort
        if key not in self.designs:
            self.designs[key] = check.design(self.subject, effort)
        return self.designs[key]

    def times(self, check: Check, effort: int) -> dict[str, float]:
        """Expected seconds by digest of the runs that have not ended."""
        found = {}
        for spec in self.runs(check, effort):
            digest = self.digests.setdefault(id(spec), spec.digest)
            if digest not in self.ended:
                if digest not in self.seconds:
                    self.seconds[digest] = self.seconds_of(spec)
                found[digest] = self.seconds[digest]
        return found

    def total(self, checks: Sequence[Check], efforts: Mapping[str, int]) -> float:
        together: dict[str, float] = {}
        for check in checks:
            if check.name in efforts:
                together |= self.times(check, efforts[check.name])
        return sum(together.values())

    def added(self, checks: Sequence[Check], efforts: Mapping[str, int], check: Check, effort: int) -> float:
        return self.total(checks, {**efforts, check.name: effort}) - self.total(checks, efforts)


@dataclass(frozen=True, eq=False)
class Experience:
    """How long trainings take here, from those that have ended.

    Args:
        subject: what is audited, with its pilot.
        rates: seconds an update, by kind of run (see `kind_of`).
        steps: updates of a run, by kind, on average.
        rate: seconds an update of a run whose kind is not known.
        first_use: seconds of the pilot that its updates do not account for; every process spends them once.
    """

    subject: Subject
    rates: Mapping[str, float]
    steps: Mapping[str, float]
    rate: float
    first_use: float

    def seconds(self, spec: RunSpec) -> float:
        """Expected time of a run: that of its kind, else its updates at the common rate.

        A run on labels as they are is expected to need as many passes as the pilot did, any other its whole budget.
        """
        kind = kind_of(spec)
        if kind in self.rates:
            return self.rates[kind] * self.steps[kind]
        if spec.corruption.name != "true_labels":
            return self.rate * spec.training.max_steps
        base, pilot, whole = self.subject.base, self.subject.pilot, len(self.subject.splits.train)
        assert pilot is not None
        share = (spec.data.train_size or whole) / max(1, base.data.train_size or whole)
        return self.rate * min(spec.training.max_steps, max(1.0, _updates(pilot) * share))


def experience(subject: Subject, evidence: Evidence, jobs: int, timed: float = math.inf) -> Experience:
    """What the trainings that have ended say of those to come.

    A process's first training of a kind loads and compiles what the others find there. So the slowest ``jobs`` of a
    kind are left out of its rate where there are more, and the pilot, the first of all, is taken to have gone at the
    speed of the steps that were timed before it, as far as `FIRST_USE` can account for the difference. A kind that is
    not known goes at the rate of the fastest that is.

    Args:
        subject: what is audited, with its pilot.
        evidence: the runs that have ended, the pilot among them.
        jobs: processes.
        timed: seconds an update, evaluations included, from a few timed steps; infinite: not known.
    """
    pilot = subject.pilot
    assert pilot is not None
    seen: dict[str, list[Record]] = {}
    for record in (pilot, *evidence.by_digest.values()):
        if record.status is not Status.FAILED and "seconds" in record.provenance:
            seen.setdefault(kind_of(record.spec), []).append(record)
    rates, steps = {}, {}
    for kind, records in seen.items():
        ended = {record.digest: record for record in records}.values()
        paces = sorted(_seconds(record) / _updates(record) for record in ended)
        kept = paces[: max(1, len(paces) - jobs)]
        rates[kind] = sum(kept) / len(kept)
        steps[kind] = sum(_updates(record) for record in ended) / len(ended)
    own, updates, taken = kind_of(pilot.spec), _updates(pilot), _seconds(pilot)
    rates[own] = min(rates.get(own, math.inf), taken / updates, max(timed, (taken - FIRST_USE) / updates))
    steps.setdefault(own, updates)
    rate = min(rates.values())
    return Experience(subject, rates, steps, rate, max(0.0, taken - rate * updates))


def _updates(record: Record) -> int:
    return max(1, int(record.summary.get("steps") or 1))


def _seconds(record: Record) -> float:
    return float(record.provenance.get("seconds", 0.0))


def kind_of(spec: RunSpec) -> str:
    """What two runs share whose times are comparable: everything but their seeds."""
    plain = spec.model_copy(update={"seed": 0, "stream_seeds": {}})
    return plain.digest
