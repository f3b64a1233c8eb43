"""What a report is made of: a plan, its study, the records that are there, and the verdicts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from shattering.core.plan import Plan
from shattering.core.record import Record, Status
from shattering.core.study import Claim, Judgement, Study, judge, studies
from shattering.store.store import Store


@dataclass(frozen=True)
class Evidence:
    """A plan and what became of it.

    Args:
        plan: what was asked for.
        study: whose question it is.
        records: the ended runs of the plan, failed ones included, in planned order.
        judgements: one per claim of the study, in its order.
    """

    plan: Plan
    study: Study
    records: tuple[Record, ...]
    judgements: tuple[Judgement, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Number of planned runs by status; what is not in the store counts as cancelled, so the sum is the plan."""
        found = Counter(record.status for record in self.records)
        found[Status.CANCELLED] += len(self.plan.specs) - len(self.records)
        return {status.value: found[status] for status in Status}

    @property
    def has_outcomes(self) -> bool:
        """Whether any run has ended other than by an error."""
        return any(record.status is not Status.FAILED for record in self.records)

    @property
    def answer(self) -> str:
        """The study's answer, or that there is none yet."""
        if not self.has_outcomes:
            return "No run has ended yet, so there is no answer."
        return self.study.answer(self.records)


def gather(store: Store, plan: Plan) -> Evidence:
    """Reads the records of a plan and judges the study's claims by them; nothing is trained."""
    study = studies.get(plan.study)
    records = tuple(store.records(plan.digests, examples=study.columns))
    judgements = tuple(judge(claim, records, comparable=is_comparable(claim, plan)) for claim in study.claims)
    return Evidence(plan, study, records, judgements)


def is_comparable(claim: Claim, plan: Plan) -> bool:
    """Whether scale, data and settings are those the number was published for."""
    whole = plan.request.scale == "paper" or studies.get(plan.study).worked_example
    return whole and plan.request.data.name == claim.data and not plan.overrides


def counts_text(counts: dict[str, int]) -> str:
    """``17 of 20 runs; 3 diverged``: runs that fitted, of how many, and what became of the others."""
    words = {"not_fitted": "did not fit", "diverged": "diverged", "failed": "failed", "cancelled": "not run"}
    others = ", ".join(f"{counts[status]} {word}" for status, word in words.items() if counts[status])
    text = f"{counts['done']} of {sum(counts.values())} runs"
    return f"{text}; {others}" if others else text
