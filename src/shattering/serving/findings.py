"""What the runs of a plan say so far: the study's answer and claims, or a sweep's answer and tables, in words."""

from __future__ import annotations

from typing import Any

from shattering.core.errors import ShatteringError
from shattering.core.plan import Plan
from shattering.core.study import Claim, Judgement
from shattering.report.evidence import gather
from shattering.report.sweep import gather_sweep
from shattering.report.sweep_html import summary_of, sweep_tables
from shattering.report.words import VERDICTS, interval, number, ours_head, published
from shattering.store.store import Store

MOST_JUDGED = 5000
"""Runs of a study, which are read and verified one by one; the claims of larger plans are left to the report."""

MOST_ROWS = 40


def findings(store: Store, plan: Plan) -> dict[str, Any]:
    """JSON-able: ``question``, ``answer``, ``ours`` (head of our column), ``claims``, ``tables``, ``note``.

    A claim has ``source``, ``quantity``, ``paper``, ``ours``, ``interval``, ``verdict``, ``tone``, ``meaning`` and
    ``effect``; a table ``title``, ``heads`` and ``rows``, all in words.
    """
    told: dict[str, Any] = {"question": "", "answer": "", "ours": "ours", "claims": [], "tables": [], "note": ""}
    try:
        if plan.sweep is not None:
            return told | _of_sweep(store, plan)
        if len(plan.specs) > MOST_JUDGED:
            note = f"A study of more than {MOST_JUDGED:,} runs is judged by `shattering report`, not here."
            return told | {"note": note}
        return told | _of_study(store, plan)
    except ShatteringError as error:
        return told | {"note": error.message}


def _of_study(store: Store, plan: Plan) -> dict[str, Any]:
    evidence = gather(store, plan)
    return {
        "question": evidence.study.question,
        "answer": evidence.answer,
        "ours": ours_head(plan, [claim.data for claim in evidence.study.claims]),
        "claims": [_claim(judgement.claim, judgement) for judgement in evidence.judgements],
    }


def _claim(claim: Claim, judgement: Judgement) -> dict[str, Any]:
    estimate = judgement.estimate
    tone, meaning = VERDICTS[judgement.verdict]
    return {
        "source": claim.source,
        "quantity": claim.quantity,
        "paper": published(claim.published, claim.unit),
        "ours": number(estimate.value if estimate else None, claim.unit),
        "interval": interval(estimate.low, estimate.high, claim.unit) if estimate else "",
        "verdict": judgement.verdict,
        "tone": tone,
        "meaning": meaning,
        "effect": claim.effect.statement if claim.effect else "",
    }


def _of_sweep(store: Store, plan: Plan) -> dict[str, Any]:
    results = gather_sweep(store, plan)
    summary = summary_of(results, store, 0.0)
    tables = []
    for table in sweep_tables(results):
        rows = [
            [*place, counts, *(_with(value, between) for value, between in numbers)]
            for place, counts, numbers in table.rows[:MOST_ROWS]
        ]
        more = len(table.rows) - len(rows)
        title = f"{table.title}, the first {MOST_ROWS} of {len(table.rows)}" if more > 0 else table.title
        tables.append({"title": title, "heads": [*table.heads, "runs", *table.numbers], "rows": rows})
    return {"answer": summary["answer"], "tables": tables, "note": summary["note"]}


def _with(value: str, between: str) -> str:
    """A value and its interval, or the remark in place of one."""
    remark = between and not between.startswith("[")
    return f"{value} ({between})" if remark else f"{value} {between}".strip()
