"""What an audit trains next: a pilot, then waves of runs for its checks, within the time that it has."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from shattering.checks.registry import Check, Evidence, Subject
from shattering.core import io
from shattering.core.errors import ModelError
from shattering.core.record import Record, Status
from shattering.core.spec import RunSpec
from shattering.execution.audit_plan import Allotment, Experience, allot, experience, kind_of
from shattering.execution.audit_subject import EPOCHS, PILOT_SHARE, Prepared
from shattering.execution.signals import StopRequest
from shattering.store.store import Store
from shattering.training.schedule import steps_per_epoch

STATE = "progress.json"
"""What was decided so far, beside the report, so that the same command goes on with the same runs."""

WAVES = 4
RESERVE = 0.9
"""Share of the remaining time that a wave plans with: runs differ, and the report takes its time too."""

FORESEEN_EPOCHS = 30
"""Passes that a training is taken to need before one has been made."""

WORTH_A_WAVE = 0.15
"""Further repetitions are planned where at least so much of the budget is left."""

DOUBT = 5.0
"""Before its runs' times are known, a check may be expected to take so many times as long as it will."""


class Deadline(StopRequest):
    """A request to stop that also comes by itself, when the time is spent."""

    def __init__(self, request: StopRequest, seconds: float) -> None:
        super().__init__()
        self.request, self.end = request, time.monotonic() + seconds

    @property
    def over(self) -> bool:
        """Whether the time is spent."""
        return time.monotonic() >= self.end

    def __bool__(self) -> bool:
        return bool(self.request) or self.over


@dataclass(eq=False)
class Course:
    """The audit's waves of runs, one after another; the driver asks it for more.

    Args:
        prepared: what was asked.
        store: where the records are.
        stop: when the time is spent, or somebody stops it.
        budget: seconds of this call.
        state: what was decided so far, as it is kept beside the report.
        folder: where it is kept.
        subject: what is audited, with its pilot as soon as there is one.
        tried: names of the runs that were handed out in this call.
        allotments: what each check got in the newest wave.
        pilots: the trainings at the learning rates tried, in their order.
        pace: seconds an update, evaluations included, from a few timed steps.
    """

    prepared: Prepared
    store: Store
    stop: Deadline
    budget: float
    state: dict[str, Any]
    folder: Path
    subject: Subject
    tried: set[str] = field(default_factory=set)
    allotments: list[Allotment] = field(default_factory=list)
    pilots: list[Record] = field(default_factory=list)
    pace: float = field(init=False)

    def __post_init__(self) -> None:
        updates, seconds = _epoch(self.prepared)
        self.pace = seconds / updates

    def go_on(self) -> tuple[RunSpec, ...]:
        """The runs of the next wave that has one to train; empty at the end."""
        while not self.stop:
            if self.subject.pilot is None:
                following = self._pilot()
            elif self.state["waves"] and not self.allotments:
                following = self._wave(self.state["waves"][-1])
            elif self.state["complete"]:
                return ()
            else:
                following = self._wave({})
            untried = self._untried(following)
            if untried:
                self.tried |= {spec.digest for spec in untried}
                return tuple(untried)
            if self.subject.pilot is None or not following:
                return ()
        return ()

    def _untried(self, specs: Sequence[RunSpec]) -> list[RunSpec]:
        """Those that have no outcome and were not handed out in this call."""
        untried = set(self.store.missing([spec.digest for spec in specs])) - self.tried
        return [spec for spec in specs if spec.digest in untried]

    def _pilot(self) -> list[RunSpec]:
        """The base training at the first learning rate that fits the data, or at the best of those tried."""
        rates = self.prepared.rates
        specs = [_at_rate(self.subject.base, rate) for rate in rates]
        while len(self.pilots) < len(specs):
            spec = specs[len(self.pilots)]
            found = self.store.records([spec.digest])
            if found and found[0].status is Status.FAILED and spec.digest in self.tried:
                raise _pilot_failed(found[0])
            if not found or found[0].status is Status.FAILED:
                return [spec]
            self.pilots.append(found[0])
            if found[0].status is Status.DONE:
                break
        return [self._pilot_is_best().spec]

    def _pilot_is_best(self) -> Record:
        """Takes the best of the trainings that have ended for the pilot."""
        best = max(self.pilots, key=_how_good)
        self.subject = replace(self.subject, base=best.spec, pilot=best)
        return best

    def _wave(self, floors: dict[str, int]) -> list[RunSpec]:
        evidence = self.evidence()
        left = max(0.0, self.stop.end - time.monotonic())
        efforts = floors or {each.check.name: each.effort for each in self.allotments if each.effort}
        first = not self.state["waves"]
        enough = len(self.state["waves"]) >= WAVES and not any(each.needed for each in self.allotments)
        if not floors and not first and (enough or left < WORTH_A_WAVE * self.budget):
            self._complete()
            return []
        known = experience(self.subject, evidence, self.prepared.jobs, self.pace)
        # The processes that have waited for the pilot load and compile now what it loaded and compiled.
        available = max(0.0, left - (known.first_use if first else 0.0)) * self.prepared.jobs * RESERVE
        self.allotments = allot(
            self.subject,
            self.prepared.checks,
            known.seconds,
            0.0 if floors else available,
            set(evidence.by_digest),
            efforts,
            only_least=first or bool(floors),
        )
        # Of the fewest that tell anything, a check that lacks one tells nothing: one check after the other.
        least = first or (bool(floors) and len(self.state["waves"]) == 1)
        specs = (in_order if least else in_turn)(self.allotments)
        if floors:
            return specs
        tries = self._first_tries(known, available - sum(each.seconds for each in self.allotments))
        untried = self._untried(specs)
        if tries and not untried:
            return tries  # no wave yet: what they take decides
        self.state["waves"].append({each.check.name: each.effort for each in self.allotments if not each.refused})
        self._keep()
        if not first and not untried:
            self._complete()
        return [*tries, *specs]

    def _first_tries(self, known: Experience, available: float) -> list[RunSpec]:
        """A run of each kind that a check wants which there seems to be no time for, so that the next wave knows.

        Each check is tried once, where its expected time may be wrong by as much as would let it in.
        """
        tries: list[RunSpec] = []
        for each in self.allotments:
            name = each.check.name
            if not 0 < each.needed <= DOUBT * available or name in self.state["tried"]:
                continue
            wanted = [spec for spec in self._tries_of(each.check) if kind_of(spec) not in known.rates]
            seconds = sum(known.seconds(spec) for spec in wanted)
            if wanted and seconds <= available:
                available -= seconds
                tries += wanted
                self.state["tried"].append(name)
        self._keep()
        return self._untried(tries)

    def _tries_of(self, check: Check) -> list[RunSpec]:
        """The first run of each kind among the fewest that a check needs."""
        first: dict[str, RunSpec] = {}
        for spec in check.design(self.subject, check.least):
            first.setdefault(kind_of(spec), spec)
        return list(first.values())

    def tries(self) -> list[RunSpec]:
        """The runs that were made, now or in an earlier call, only to know how long they take."""
        tried = [check for check in self.prepared.checks if check.name in self.state["tried"]]
        return [spec for check in tried for spec in self._tries_of(check)] if self.subject.pilot is not None else []

    def finish(self) -> None:
        """Keeps what was decided; an audit whose planned runs have all ended is over, and asks for no more of them.

        Where the time was spent before anything was planned, checks that need no training are answered all the same.
        """
        if self.subject.pilot is None:
            self._pilot()
        if self.subject.pilot is None and self.pilots:  # the best so far, though not all learning rates were tried
            self._pilot_is_best()
        if not self.allotments:
            evidence, waves = self.evidence(), self.state["waves"]
            known: Callable[[RunSpec], float] = _endless
            if self.subject.pilot is not None:
                known = experience(self.subject, evidence, self.prepared.jobs, self.pace).seconds
            floors = waves[-1] if waves else {}
            ended = set(evidence.by_digest)
            checks = self.prepared.checks
            self.allotments = allot(self.subject, checks, known, 0.0, ended, floors, only_least=True)
        known_reasons = self.state["refused"] if self.state["complete"] else {}
        self.allotments = [
            replace(each, refused=known_reasons.get(each.check.name, each.refused)) if each.refused else each
            for each in self.allotments
        ]
        self.state["refused"] = {each.check.name: each.refused for each in self.allotments if each.refused}
        planned = [spec.digest for spec in in_turn(self.allotments)]
        if self.state["waves"] and not self.store.missing(planned):
            self.state["complete"] = True
        self._keep()

    def _complete(self) -> None:
        self.state["complete"] = True
        self._keep()

    def _keep(self) -> None:
        io.write_file(self.folder / STATE, (json.dumps(self.state, indent=1, sort_keys=True) + "\n").encode())

    def evidence(self, *, examples: bool = False) -> Evidence:
        """All runs that have ended, pilots among them; with what they say of single examples, or without."""
        wanted = {run.digest for each in self.allotments for spec in each.specs for run in (*spec.parents, spec)}
        wanted |= {run.digest for spec in self.tries() for run in (*spec.parents, spec)}
        wanted |= {record.digest for record in self.pilots}
        return Evidence({found.digest: found for found in self.store.records(sorted(wanted), examples=examples)})


def in_turn(allotments: Sequence[Allotment]) -> list[RunSpec]:
    """The runs of all checks side by side, each check's spread evenly over the whole, parents before their children.

    So a budget that ends early costs every check its last runs, and none all of them.
    """
    placed = [
        ((place + 0.5) / len(each.specs), each.check.rank, spec)
        for each in allotments
        for place, spec in enumerate(each.specs)
    ]
    ordered = [spec for _, _, spec in sorted(placed, key=lambda entry: entry[:2])]
    return _with_parents(ordered)


def in_order(allotments: Sequence[Allotment]) -> list[RunSpec]:
    """The runs of one check after the other, parents before their children."""
    return _with_parents(spec for each in allotments for spec in each.specs)


def _with_parents(specs: Iterable[RunSpec]) -> list[RunSpec]:
    return list({run.digest: run for spec in specs for run in (*spec.parents, spec)}.values())


def pilot_steps(prepared: Prepared) -> int:
    """Updates that a training may take: so many passes that one of each learning rate holds in the pilots' share.

    Where the user set ``training.max_steps``, that many.
    """
    if "training.max_steps" in prepared.planned.plan.overrides:
        return prepared.base.training.max_steps
    epoch, seconds = _epoch(prepared)
    return epoch * _epochs(prepared, seconds)


def _epochs(prepared: Prepared, seconds: float) -> int:
    """Passes that a training may take, each of so many seconds."""
    share = PILOT_SHARE * 60.0 * prepared.minutes / len(prepared.rates)
    return max(1, min(EPOCHS, int(share / seconds)))


def _epoch(prepared: Prepared) -> tuple[int, float]:
    """Updates of a pass over the training data, and about its seconds, from a few timed steps."""
    base, train, speed = prepared.base, prepared.planned.splits.train, prepared.speed
    batch = min(base.training.batch_size, len(train))
    epoch = steps_per_epoch(len(train), batch)
    step = speed.fixed_seconds + speed.example_seconds * batch
    evaluation = speed.evaluation_seconds * (len(train) + len(prepared.planned.splits.test))
    return epoch, epoch * step + evaluation


def foreseen(prepared: Prepared) -> list[Allotment]:
    """What each check would get, judged by a few timed steps, before the first training; nothing is written.

    A training on labels as they are is taken to need `FORESEEN_EPOCHS` passes, any other its whole budget of steps.
    """
    epoch, seconds = _epoch(prepared)
    budget = 60.0 * prepared.minutes
    epochs = _epochs(prepared, seconds)
    training = prepared.base.training.model_copy(update={"max_steps": epoch * epochs})
    subject = prepared.subject(prepared.base.model_copy(update={"training": training}))

    def seconds_of(spec: RunSpec) -> float:
        share = (spec.data.train_size or len(subject.splits.train)) / len(subject.splits.train)
        passes = min(epochs, FORESEEN_EPOCHS) if spec.corruption.name == "true_labels" else epochs
        return seconds * passes * share

    available = budget * (1 - PILOT_SHARE) * prepared.jobs * RESERVE
    return allot(subject, prepared.checks, seconds_of, available, (), {})


def saved_state(folder: Path) -> dict[str, Any]:
    """What an earlier call decided: ``max_steps``, ``waves``, ``tried``, ``refused``, ``complete``.

    Nothing has been decided where there is none, or one that cannot be read.
    """
    data = io.read_bytes(folder / STATE)
    if data is not None:
        found = json.loads(data)
        if isinstance(found, dict) and {"max_steps", "waves", "refused", "complete"} <= set(found):
            return {"tried": [], **found}
    return {"max_steps": None, "waves": [], "tried": [], "refused": {}, "complete": False}


def _at_rate(base: RunSpec, rate: float) -> RunSpec:
    return base.model_copy(update={"training": base.training.model_copy(update={"learning_rate": rate})})


def _how_good(record: Record) -> tuple[bool, float, float]:
    row = record.last
    return (
        record.status is Status.DONE,
        float(row.get("train_accuracy", 0.0)),
        -float(row.get("train_loss", float("inf"))),
    )


def _endless(spec: RunSpec) -> float:
    """Expected time of a run where not even one has ended."""
    return math.inf


def _pilot_failed(failed: Record) -> ModelError:
    error = failed.error or {}
    return ModelError(
        error.get("identifier", "audit-pilot-failed"),
        error.get("message", f"The model {failed.spec.model.name} could not be trained on the data as they are."),
    )
