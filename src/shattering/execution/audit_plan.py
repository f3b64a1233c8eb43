"""How an audit's time is shared: which checks can be asked at all, and how many trainings each of them gets."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from shattering.checks.registry import Check, Evidence, Subject
from shattering.core.record import Status
from shattering.core.spec import RunSpec

STEP = 0.25
"""An effort grows by this share of itself at a time, so that all checks grow side by side."""


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
    """

    check: Check
    effort: int
    specs: tuple[RunSpec, ...]
    seconds: float
    tells: str
    refused: str | None = None


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
    refused: dict[str, str] = {}
    for check in ranked:
        reason = check.why_not(subject)
        if reason is not None:
            refused[check.name] = reason
        elif check.least == 0 and check.useful == 0:
            efforts[check.name] = 0
        else:
            wanted = max(check.least, floors.get(check.name, 0))
            left = available - costs.total(ranked, efforts)
            needed = costs.added(ranked, efforts, check, wanted)
            if needed > left and check.name not in floors:
                refused[check.name] = _too_little_time(check, needed, left)
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
    subject: Subject, ranked: Sequence[Check], efforts: Mapping[str, int], refused: Mapping[str, str], costs: _Costs
) -> list[Allotment]:
    given: list[Allotment] = []
    before: dict[str, int] = {}
    for check in ranked:
        if check.name in refused:
            given.append(Allotment(check, 0, (), 0.0, "", refused[check.name]))
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
        f"it needs {check.least} × {check.unit}, about {_clock(needed)} of training, and {_clock(max(left, 0.0))} are "
        "left of the budget"
    )


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


def seconds_by_experience(subject: Subject, evidence: Evidence) -> Callable[[RunSpec], float]:
    """Expected time of a run: the mean of those of its kind that have ended, else from the pilot's steps.

    A run on labels as they are is expected to need as many passes as the pilot did, any other its whole budget.
    """
    pilot = subject.pilot
    assert pilot is not None
    seen: dict[str, list[float]] = {}
    for record in evidence.by_digest.values():
        if record.status is not Status.FAILED and "seconds" in record.provenance:
            seen.setdefault(kind_of(record.spec), []).append(float(record.provenance["seconds"]))
    steps = max(1, int(pilot.summary.get("steps") or 1))
    rate = float(pilot.provenance.get("seconds", 0.0)) / steps

    def seconds(spec: RunSpec) -> float:
        known = seen.get(kind_of(spec))
        if known:
            return sum(known) / len(known)
        if spec.corruption.name == "true_labels":
            size = spec.data.train_size or len(subject.splits.train)
            share = size / max(1, subject.base.data.train_size or len(subject.splits.train))
            return rate * min(spec.training.max_steps, max(1.0, steps * share))
        return rate * spec.training.max_steps

    return seconds


def kind_of(spec: RunSpec) -> str:
    """What two runs share whose times are comparable: everything but their seeds."""
    plain = spec.model_copy(update={"seed": 0, "stream_seeds": {}})
    return plain.digest
