"""An audit carried out within its budget: pilot, then every check's least, then as much more as the time holds."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from shattering.checks.registry import Evidence, Subject
from shattering.core.finding import Answer, Finding
from shattering.core.plan import Plan
from shattering.core.record import Status
from shattering.execution.audit_course import Course, Deadline, pilot_steps, saved_state
from shattering.execution.audit_plan import Allotment
from shattering.execution.audit_subject import Prepared
from shattering.execution.driver import CarryOut
from shattering.execution.signals import stop_on_signals
from shattering.store.store import Store

REPORT_SECONDS, REPORT_SHARE = 20.0, 0.15
"""What is kept of the budget for answering and for writing the report: so long, or so much of it, whichever is less."""


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
        untried_rates: learning rates that the pilot was not tried at, though it fitted the data at no other.
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
    untried_rates: tuple[float, ...] = ()


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
        state = saved_state(folder)
        if state["max_steps"] is None:
            state["max_steps"] = pilot_steps(prepared)
        base = prepared.base
        training = base.training.model_copy(update={"max_steps": state["max_steps"]})
        subject = prepared.subject(base.model_copy(update={"training": training}))
        course = Course(prepared, store, stop, budget, state, folder, subject)
        specs = course.go_on()
        computed = 0
        if specs:
            plan = replace(prepared.planned.plan, specs=specs)
            planned = replace(prepared.planned, plan=plan)
            before = sum(record.status is not Status.FAILED for record in course.evidence().by_digest.values())
            computed = run_missing(
                planned,
                store,
                stop,
                jobs=prepared.jobs,
                quiet=quiet,
                more=course.go_on,
                carry_out=carry_out,
                before=before,
            )
        course.finish()
    return _concluded(course, began, computed, request.by)


def _concluded(course: Course, began: float, computed: int, interrupted_by: int | None) -> Audit:
    prepared = course.prepared
    evidence = course.evidence(examples=True)
    if course.subject.pilot is not None:
        pilot = evidence.by_digest[course.subject.pilot.digest]
        course.subject = replace(course.subject, pilot=pilot)
    allotments = course.allotments
    answers = tuple(_answer(course.subject, each, evidence) for each in allotments)
    specs = {run.digest: run for each in allotments for spec in each.specs for run in (*spec.parents, spec)}
    specs |= {record.digest: record.spec for record in course.pilots}
    specs |= {run.digest: run for spec in course.tries() for run in (*spec.parents, spec)}
    counts = Counter(record.status.value for record in evidence.by_digest.values())
    counts[Status.CANCELLED.value] += len(specs) - sum(counts.values())
    fitted = any(record.status is Status.DONE for record in course.pilots)
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
        untried_rates=() if fitted else prepared.rates[len(course.pilots) :],
    )


def _answer(subject: Subject, given: Allotment, evidence: Evidence) -> Answer:
    check = given.check
    if given.refused is None:
        return check.answer(subject, replace(evidence, effort=given.effort))
    finding = Finding(
        check=check.name,
        name=f"{check.name}_not_asked",
        statement=f"{check.question} Not asked: {given.refused}.",
        value=None,
        unit="",
        low=None,
        high=None,
        n=0,
        method=f"No training was made for this check ({check.paper}).",
        level="unknown",
    )
    return Answer(check.name, check.question, (finding,))
