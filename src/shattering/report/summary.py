"""The summary of a plan: the object of ``--json``, which the terminal prints and scripts read."""

from __future__ import annotations

import math
from typing import Any

from shattering.core.plan import Plan
from shattering.core.record import results_digest
from shattering.core.study import Judgement
from shattering.report.evidence import Evidence, counts_text, gather
from shattering.report.words import ours_head
from shattering.store.store import Store

REPORT_FILE = "index.html"


def summarise(store: Store, plan: Plan, *, seconds: float = 0.0) -> dict[str, Any]:
    """What became of a plan, JSON-able.

    Args:
        store: where its records are.
        plan: what was asked for.
        seconds: wall time of the command, passed through.

    Returns:
        ``study``, ``question``, ``scale``, ``data``, ``store`` (path), ``report`` (path of the HTML), ``runs`` (count
        by status, summing to the planned runs), ``counts`` (the same in words), ``answer``, ``ours`` (head of our
        column), ``claims``, ``overrides``, ``command`` (what to type to continue), ``digest`` of the results, and
        ``seconds``. A claim has ``source``, ``quantity``, ``unit``, ``published``, ``tolerance``, ``provenance``,
        ``ours``, ``low``, ``high``, ``seeds``, ``verdict``, ``effect``, ``note`` and ``runs``.

    Raises:
        SpecError: ``unknown-study`` where the plan's study is not installed.
    """
    return summary_of(gather(store, plan), store, seconds)


def summary_of(evidence: Evidence, store: Store, seconds: float) -> dict[str, Any]:
    """`summarise` for evidence already gathered."""
    plan, study = evidence.plan, evidence.study
    counts = evidence.counts
    return {
        "study": plan.study,
        "question": study.question,
        "scale": plan.request.scale,
        "data": plan.request.data.name,
        "store": str(store.root),
        "report": str(store.report_dir(plan) / REPORT_FILE),
        "runs": counts,
        "counts": counts_text(counts),
        "answer": evidence.answer,
        "ours": ours_head(plan, [claim.data for claim in study.claims]),
        "claims": [_claim(evidence, judgement) for judgement in evidence.judgements],
        "overrides": dict(plan.overrides),
        "command": plan.command,
        "digest": results_digest(evidence.records),
        "seconds": seconds,
    }


def _claim(evidence: Evidence, judgement: Judgement) -> dict[str, Any]:
    claim, estimate = judgement.claim, judgement.estimate
    return {
        "source": claim.source,
        "quantity": claim.quantity,
        "unit": claim.unit,
        "published": claim.published,
        "tolerance": claim.tolerance,
        "provenance": claim.provenance,
        "ours": _finite(estimate.value) if estimate else None,
        "low": _finite(estimate.low) if estimate else None,
        "high": _finite(estimate.high) if estimate else None,
        "seeds": len(seeds_behind(evidence, judgement)),
        "verdict": judgement.verdict,
        "effect": claim.effect.statement if claim.effect else None,
        "note": estimate.note if estimate else "",
        "runs": list(estimate.runs) if estimate else [],
    }


def seeds_behind(evidence: Evidence, judgement: Judgement) -> list[int]:
    """The distinct seeds of the runs an estimate was computed from, sorted."""
    runs = set(judgement.estimate.runs) if judgement.estimate else set()
    return sorted({spec.seed for spec in evidence.plan.specs if spec.digest in runs})


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
