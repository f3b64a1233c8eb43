"""An audit carried out within its budget: pilot, then every check's least, then as much more as the time holds."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from shattering.checks.registry import Evidence, Subject
from shattering.core import io
from shattering.core.errors import ModelError
from shattering.core.finding import Answer, Finding
from shattering.core.plan import Plan
from shattering.core.record import Record, Status
from shattering.core.spec import RunSpec
from shattering.execution.audit_plan import Allotment, allot, seconds_by_experience
from shattering.execution.audit_subject import EPOCHS, PILOT_SHARE, Prepared
from shattering.execution.driver import CarryOut
from shattering.execution.signals import StopRequest, stop_on_signals
from shattering.store.store import Store
from shattering.training.schedule import steps_per_epoch

STATE = "progress.json"
"""What was decided so far, beside the report, so that the same command goes on with the same runs."""

REPORT_SECONDS, REPORT_SHARE = 20.0, 0.15
"""What is kept of the budget for answering and for writing the report: so long, or so much of it, whichever is less."""

WAVES = 4
RESERVE = 0.9
"""Share of the remaining time that a wave plans with: runs differ, and the report takes its time too."""

FORESEEN_EPOCHS = 30
"""Passes that a training is taken to need before one has been made."""

WORTH_A_WAVE = 0.15
"""Further repetitions are planned where at least so much of the budget is left."""


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


@dataclass(frozen=True, eq=False)
class Audit:
    """An audit that has ended, was interrupted, or ran out of time.

    Args:
        prepared: what was asked.
        subject: what was audited, with its pilot.
        allotments: what each check got.
        answers: what each check found; one that was not asked says why.
        plan: every run that was planned.
        store: where the records are.
        seconds: wall-clock time of this call.
        computed: runs that ended during this call.
        counts: number of planned runs by status.
        interrupted_by: the signal that stopped it; none where it was not.
        out_of_time: whether the budget ended before all planned runs had.
    """

    prepared: Prepared
    subject: Subject
    allotments: tuple[Allotment, ...]
    answers: tuple[Answer, ...]
    plan: Plan
    store: Store
    seconds: float
    computed: int
    counts: dict[str, int]
    interrupted_by: int | None
    out_of_time: bool


@dataclass(eq=False)
class _Course:
    """The audit's waves of runs, one after another; the driver asks it for more."""

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
        best = max(self.pilots, key=_how_good)
        self.subject = replace(self.subject, base=best.spec, pilot=best)
        return [best.spec]

    def _wave(self, floors: dict[str, int]) -> list[RunSpec]:
        evidence = self.evidence()
        left = max(0.0, self.stop.end - time.monotonic())
        efforts = floors or {each.check.name: each.effort for each in self.allotments if each.effort}
        first = not self.state["waves"]
        last = len(self.state["waves"]) >= WAVES or (not first and left < WORTH_A_WAVE * self.budget)
        if last and not floors:
            self._complete()
            return []
        self.allotments = allot(
            self.subject,
            self.prepared.checks,
            seconds_by_experience(self.subject, evidence),
            0.0 if floors else left * self.prepared.jobs * RESERVE,
            set(evidence.by_digest),
            efforts,
            only_least=first or bool(floors),
        )
        if not floors:
            self.state["waves"].append({each.check.name: each.effort for each in self.allotments if not each.refused})
            self._keep()
        specs = in_turn(self.allotments)
        if not floors and not first and not self._untried(specs):
            self._complete()
        return specs

    def finish(self) -> None:
        """Keeps what was decided; an audit whose planned runs have all ended is over, and asks for no more of them.

        Where the time was spent before anything was planned, checks that need no training are answered all the same.
        """
        if self.subject.pilot is None:
            self._pilot()
        if not self.allotments:
            evidence, waves = self.evidence(), self.state["waves"]
            known = seconds_by_experience(self.subject, evidence) if self.subject.pilot is not None else _endless
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
        wanted |= {record.digest for record in self.pilots}
        return Evidence({found.digest: found for found in self.store.records(sorted(wanted), examples=examples)})


def run_audit(
    prepared: Prepared, *, out: Path = Path("audit"), quiet: bool = False, carry_out: CarryOut | None = None
) -> Audit:
    """Trains, within the budget, what the checks need, and has them answer.

    The same call goes on where an earlier one stopped, with the same runs and the budget anew; runs that are in the
    store are not repeated. Where the budget ends before the runs do, they save checkpoints, and what there is is
    answered from.

    Args:
        prepared: from `prepare_audit`.
        out: the folder of the audit.
        quiet: no progress on standard error.
        carry_out: does one run here and now, one after the other; none: worker processes do them.

    Raises:
        ModelError: the pilot failed: the model cannot be trained.
        StoreError: the store cannot be opened or written.
    """
    from shattering.execution.study import run_missing

    began = time.monotonic()
    budget = 60.0 * prepared.minutes
    with stop_on_signals() as request:
        stop = Deadline(request, budget - min(REPORT_SECONDS, REPORT_SHARE * budget) - (began - prepared.began))
        store = Store.open(Path(out), write=True)
        folder = store.report_dir(prepared.planned.plan)
        state = _state(folder)
        if state["max_steps"] is None:
            state["max_steps"] = pilot_steps(prepared)
        base = prepared.base
        training = base.training.model_copy(update={"max_steps": state["max_steps"]})
        subject = prepared.subject(base.model_copy(update={"training": training}))
        course = _Course(prepared, store, stop, budget, state, folder, subject)
        specs = course.go_on()
        computed = 0
        if specs:
            plan = replace(prepared.planned.plan, specs=specs)
            planned = replace(prepared.planned, plan=plan)
            computed = run_missing(
                planned, store, stop, jobs=prepared.jobs, quiet=quiet, more=course.go_on, carry_out=carry_out
            )
        course.finish()
    return _concluded(course, began, computed, request.by)


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
    return list({run.digest: run for spec in ordered for run in (*spec.parents, spec)}.values())


def _concluded(course: _Course, began: float, computed: int, interrupted_by: int | None) -> Audit:
    prepared = course.prepared
    evidence = course.evidence(examples=True)
    if course.subject.pilot is not None:
        pilot = evidence.by_digest[course.subject.pilot.digest]
        course.subject = replace(course.subject, pilot=pilot)
    allotments = course.allotments
    answers = tuple(_answer(course.subject, each, evidence) for each in allotments)
    specs = {run.digest: run for each in allotments for spec in each.specs for run in (*spec.parents, spec)}
    specs |= {record.digest: record.spec for record in course.pilots}
    counts = Counter(record.status.value for record in evidence.by_digest.values())
    counts[Status.CANCELLED.value] += len(specs) - sum(counts.values())
    return Audit(
        prepared=prepared,
        subject=course.subject,
        allotments=tuple(allotments),
        answers=answers,
        plan=replace(prepared.planned.plan, specs=tuple(specs.values())),
        store=course.store,
        seconds=time.monotonic() - began,
        computed=computed,
        counts={status.value: counts[status.value] for status in Status},
        interrupted_by=interrupted_by,
        out_of_time=interrupted_by is None and not course.state["complete"],
    )


def _answer(subject: Subject, given: Allotment, evidence: Evidence) -> Answer:
    check = given.check
    if given.refused is None:
        return check.answer(subject, replace(evidence, effort=given.effort))
    finding = Finding(
        check=check.name,
        name=f"{check.name}_not_asked",
        statement=f"Not asked: {given.refused}.",
        value=None,
        unit="",
        low=None,
        high=None,
        n=0,
        method=f"No training was made for this check ({check.paper}).",
        level="unknown",
    )
    return Answer(check.name, check.question, (finding,))


def pilot_steps(prepared: Prepared) -> int:
    """Updates that a training may take: so many passes that one of them holds in the pilot's share of the budget.

    Where the user set ``training.max_steps``, that many.
    """
    if "training.max_steps" in prepared.planned.plan.overrides:
        return prepared.base.training.max_steps
    epoch, seconds = _epoch(prepared)
    epochs = int(PILOT_SHARE * 60.0 * prepared.minutes / seconds)
    return epoch * max(1, min(EPOCHS, epochs))


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
    epochs = max(1, min(EPOCHS, int(PILOT_SHARE * budget / seconds)))
    training = prepared.base.training.model_copy(update={"max_steps": epoch * epochs})
    subject = prepared.subject(prepared.base.model_copy(update={"training": training}))

    def seconds_of(spec: RunSpec) -> float:
        share = (spec.data.train_size or len(subject.splits.train)) / len(subject.splits.train)
        passes = min(epochs, FORESEEN_EPOCHS) if spec.corruption.name == "true_labels" else epochs
        return seconds * passes * share

    available = budget * (1 - PILOT_SHARE) * prepared.jobs * RESERVE
    return allot(subject, prepared.checks, seconds_of, available, (), {})


def _state(folder: Path) -> dict[str, Any]:
    data = io.read_bytes(folder / STATE)
    if data is not None:
        found = json.loads(data)
        if isinstance(found, dict) and {"max_steps", "waves", "refused", "complete"} <= set(found):
            return found
    return {"max_steps": None, "waves": [], "refused": {}, "complete": False}


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
