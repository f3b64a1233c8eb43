"""What an audit found, as one object: what ``--json`` prints and the page and the terminal show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from shattering.core.finding import Finding, Level
from shattering.core.words import plural
from shattering.execution.audit import Audit
from shattering.execution.audit_course import foreseen
from shattering.execution.audit_plan import Allotment
from shattering.execution.audit_subject import Prepared
from shattering.report.summary import REPORT_FILE
from shattering.report.words import duration

LEVELS: dict[Level, tuple[str, str, str]] = {
    "warning": ("bad", "look", "worth acting on"),
    "note": ("open", "note", "worth knowing"),
    "good": ("good", "fine", "nothing to do"),
    "unknown": ("none", "unknown", "could not be told; the reason stands beside it"),
}
"""Level to its tone (a class of the style sheet), its word and its meaning; the most pressing first."""


def audit_findings(audit: Audit) -> dict[str, Any]:
    """Everything but the evidence, in types that JSON has.

    Returns:
        ``model``, ``data`` (name, sizes, whether the test part was held out here), ``budget_minutes``, ``seconds``,
        ``complete``, ``store``, ``report``, ``command``, ``runs`` (count by status), ``training`` (how the model was
        trained), ``plan`` (check, question, unit, repetitions, runs, what it can tell, why it was refused),
        ``findings`` (the fields of `Finding`, in order of the checks), ``answer`` (one sentence a check) and ``notes``.
    """
    prepared, subject = audit.prepared, audit.subject
    facts = prepared.planned.plan.request.data
    findings = [_finding(finding) for answer in audit.answers for finding in answer.findings]
    return {
        "model": subject.base.model.name,
        "data": {
            "name": facts.name,
            "train": facts.train_size,
            "test": facts.test_size,
            "classes": facts.num_classes,
            "held_out": prepared.held_out,
        },
        "budget_minutes": prepared.minutes,
        "seconds": round(audit.seconds, 1),
        "complete": audit.interrupted_by is None and not audit.out_of_time,
        "store": str(audit.store.root),
        "report": str(audit.store.report_dir(audit.plan) / REPORT_FILE),
        "command": audit.plan.command,
        "runs": audit.counts,
        "computed": audit.computed,
        "training": _training(audit),
        "plan": plan_rows(audit.allotments),
        "findings": findings,
        "answer": [answer.findings[0].statement for answer in audit.answers if answer.findings],
        "notes": [*prepared.notes, *_remarks(audit)],
    }


def plan_told(prepared: Prepared) -> dict[str, Any]:
    """What an audit would do, as far as can be foreseen before its first training; nothing is trained.

    Returns:
        ``model``, ``data``, ``budget_minutes``, ``jobs``, ``plan`` (as in `audit_findings`) and ``command``.
    """
    return {
        "model": prepared.base.model.name,
        "data": prepared.base.data.name,
        "budget_minutes": prepared.minutes,
        "jobs": prepared.jobs,
        "plan": plan_rows(foreseen(prepared)),
        "command": prepared.planned.plan.command,
    }


def plan_rows(allotments: Sequence[Allotment]) -> list[dict[str, Any]]:
    """What each check gets, in types that JSON has."""
    return [
        {
            "check": each.check.name,
            "question": each.check.question,
            "unit": each.check.unit,
            "repetitions": each.effort,
            "runs": len(each.specs),
            "tells": each.tells,
            "refused": each.refused,
        }
        for each in allotments
    ]


def _finding(finding: Finding) -> dict[str, Any]:
    tree = asdict(finding)
    return {**tree, "caveats": list(finding.caveats)}


def _training(audit: Audit) -> dict[str, Any]:
    base, pilot = audit.subject.base.training, audit.subject.pilot
    row = pilot.last if pilot is not None else {}
    return {
        "optimizer": base.optimizer,
        "learning_rate": base.learning_rate,
        "batch_size": base.batch_size,
        "loss": base.loss,
        "max_steps": base.max_steps,
        "fit_accuracy": base.fit_accuracy,
        "status": None if pilot is None else pilot.status.value,
        "steps": None if pilot is None else pilot.summary.get("steps"),
        "train_accuracy": row.get("train_accuracy"),
        "test_accuracy": row.get("test_accuracy"),
    }


def _remarks(audit: Audit) -> list[str]:
    remarks = []
    pilot = audit.subject.pilot
    if audit.prepared.held_out:
        facts = audit.prepared.planned.plan.request.data
        remarks.append(
            f"The data came without a test set; {facts.test_size:,} examples were held out of them, the same for every "
            "training."
        )
    if audit.out_of_time:
        to_go = audit.counts["cancelled"]
        told = f"with {plural(to_go, 'planned training')} to go" if to_go else "before all was done that could be"
        remarks.append(f"The budget of {duration(audit.prepared.minutes)} ended {told}; to go on: {audit.plan.command}")
    if pilot is not None and audit.untried_rates:
        rates = " and ".join(f"{rate:g}" for rate in audit.untried_rates)
        remarks.append(f"No learning rate that was tried fits the training data; {rates} could not be tried in time.")
    if pilot is not None and pilot.status.value == "not_fitted":
        remarks.append(
            f"The model did not fit its training data in {audit.subject.base.training.max_steps:,} updates (training "
            f"accuracy {pilot.last.get('train_accuracy', 0.0):.1%}); what is said of memorisation holds for such "
            "trainings."
        )
    return remarks
