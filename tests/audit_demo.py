"""A check made up to order, and an audit of a small network that asks it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from shattering.checks.registry import Check, Evidence, Subject
from shattering.core.finding import Answer, Chart, Column, Finding, Gallery, Shown, Table
from shattering.core.spec import RunSpec
from shattering.core.study import Axis, Point
from shattering.data.dataset import Splits
from shattering.execution.audit import Audit, run_audit
from shattering.execution.audit_subject import Prepared, prepare_audit
from shattering.execution.worker import carry_out


def seeds_of(subject: Subject, count: int) -> list[RunSpec]:
    return [subject.base.model_copy(update={"seed": seed}) for seed in range(1, count + 1)]


def made_up_check(
    name: str = "made_up", *, rank: int = 1, least: int = 2, useful: int = 4, text: str = "plain", design=seeds_of
) -> Check:
    """A check that counts its runs; ``text`` stands wherever a check may say something."""

    def answer(subject: Subject, evidence: Evidence) -> Answer:
        records = evidence.of(design(subject, evidence.effort))
        finding = Finding(
            name, f"{name}_runs", f"{text}: {len(records)}.", float(len(records)), "runs", 1.0, 9.0, len(records),
            f"{text} counted.", (f"{text} caveat.",), "warning", 0.04, evidence.cost(records),
        )  # fmt: skip
        rows = tuple((place, place / 7, place / 30, f"{text} {place}") for place in range(20))
        columns = (
            Column("example", "example"),
            Column(f"{text} score", "number"),
            Column("share", "percent"),
            Column("w"),
        )
        shown = tuple(Shown("train", place, f"{text} caption", 1, 2, (("test", place),)) for place in range(3))
        points = tuple(Point(place, place / 10, f"{text} series", 0.0, 1.0) for place in range(10))
        exhibits = (
            Chart("curve", f"{text} chart", Axis("steps"), Axis("accuracy", percent=True), points, f"{text} rises."),
            Gallery("worst", f"{text} gallery", shown, f"{text} look."),
            Table("ranking", f"{text} table", columns, rows, f"{text} read."),
        )
        return Answer(name, f"{text} asked?", (finding,), exhibits)

    def tells(subject: Subject, effort: int) -> str:
        return f"{effort} runs tell {text}."

    return Check(name, f"{text} asked?", "nobody", "run", least, useful, design, tells, answer, rank)


def audit_of_digits(out: Path, *checks: Check, minutes: float = 10.0, **others: object) -> Prepared:
    """An audit of a small network on digits; a training takes 30 updates at most."""
    overrides = {
        "model.fields.width": 8,
        "training.batch_size": 500,
        "training.learning_rate": 0.01,
        "training.max_steps": 30,
    }
    prepared = prepare_audit(
        "mlp_1x512", data="digits", minutes=minutes, overrides=overrides, out=out, jobs=1, command="again", **others
    )
    return replace(prepared, checks=checks)


def carried_out_here(prepared: Prepared, out: Path) -> Audit:
    """The audit, trained in this process; its budget of steps is 30."""
    return run_audit(prepared, out=out, quiet=True, carry_out=lambda job, listener: carry_out(job))


def named(audit: Audit, text: str) -> Audit:
    """The same audit of data whose name and classes are ``text``."""
    splits = audit.subject.splits
    both = Splits(
        *(replace(split, name=text, class_names=(text,) * split.num_classes) for split in (splits.train, splits.test))
    )
    planned = audit.prepared.planned
    facts = replace(planned.plan.request.data, name=text, notes=(text,))
    request = replace(planned.plan.request, data=facts)
    prepared = replace(
        audit.prepared, planned=replace(planned, plan=replace(planned.plan, request=request)), notes=(text,)
    )
    return replace(audit, subject=replace(audit.subject, splits=both), prepared=prepared)
