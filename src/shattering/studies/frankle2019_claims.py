"""What a study of lottery tickets claims, and its controls; every bound was set before any run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from shattering.core.curves import holds_within
from shattering.core.formula_claims import above, below
from shattering.core.study import Claim, Estimate, Provenance, Records
from shattering.studies.frankle2019_records import (
    ACCURACY,
    RANDOM,
    REDRAWN,
    REORDERED,
    TICKET,
    barrier,
    compared,
    stopped,
)

POINT, STABLE = 0.01, 0.02
"""Accuracies within a point count as equal, a barrier below two points as none."""

Judged = Callable[[Records], Estimate | None]


def gap(one: str, other: str, at_most: float, *, dense: bool = False) -> Judged:
    """Test accuracy of one arm less that of another, where early stopping would stop."""
    return partial(compared, one=one, other=other, number=ACCURACY, at_most=at_most, dense=dense)


def lateness(one: str, other: str, at_most: float, *, dense: bool = False) -> Judged:
    """Early-stopping step of one arm over that of another."""
    return partial(compared, one=one, other=other, number=stopped, at_most=at_most, dense=dense, ratio=True)


def _as_good(source: str, quantity: str, provenance: Provenance, judged: Judged) -> Claim:
    effect = holds_within(judged, f"within {POINT:.0%} of each other", low=-POINT, high=POINT)
    return Claim(source, quantity, None, 0.0, "1", provenance, "mnist", judged, effect)


WHOLE = "test accuracy of the ticket less that of the dense network"
REDRAWING = "Section 2, random reinitialisation"
INSTABILITY = "Frankle et al. (2020), instability analysis on MNIST"

CLAIMS = (
    above(
        source="Abstract, tickets below 10 to 20% of the weights", quantity=f"{WHOLE}, at most 17% of weights",
        estimate=gap(TICKET, TICKET, 0.17, dense=True), bound=-POINT, provenance="Q-abs", unit="1", data="mnist",
    ),
    *(
        above(
            source=REDRAWING, provenance="Q-note", unit="1", data="mnist",
            quantity=f"test accuracy of the ticket less its masks' on new weights, at most {share:.0%} of weights",
            estimate=gap(TICKET, REDRAWN, share), bound=0.0,
        )
        for share in (0.17, 0.08, 0.04)
    ),
    above(
        source=REDRAWING, quantity="early-stopping step with new weights over the ticket's, at most 17% of weights",
        estimate=lateness(REDRAWN, TICKET, 0.17), bound=1.0, provenance="Q-note", unit="x", data="mnist",
    ),
    above(
        source="Random sparse networks", provenance="Q-note", unit="1", data="mnist",
        quantity="test accuracy of the ticket less that of random masks, at most 17% of weights",
        estimate=gap(TICKET, RANDOM, 0.17), bound=0.0,
    ),
    below(
        source="Figure 3, 51.3% of weights", provenance="Q-note", unit="x", data="mnist",
        quantity="early-stopping step of the ticket over the dense network's, at most 55% of weights",
        estimate=lateness(TICKET, TICKET, 0.55, dense=True), bound=1.0,
    ),
    _as_good(
        "Figure 3, 3.6% of weights", f"{WHOLE}, at most 4% of weights", "Q-note", gap(TICKET, TICKET, 0.04, dense=True)
    ),
    _as_good(
        "Control: nothing pruned", "test accuracy of the dense network less that of the same on new weights", "D",
        gap(TICKET, REDRAWN, 1.0),
    ),
    below(
        source=INSTABILITY, quantity="error barrier between two orders of the data from one initialisation, dense",
        estimate=barrier(REORDERED), bound=STABLE, provenance="Q-text", unit="1", data="mnist",
    ),
    above(
        source="Control: two initialisations", quantity="error barrier between them, dense",
        estimate=barrier(REDRAWN), bound=STABLE, provenance="D", unit="1", data="mnist",
    ),
)  # fmt: skip


def answer(records: Records) -> str:
    """Tickets against the same masks on new weights, and the line between two trainings."""
    apart, near = gap(TICKET, REDRAWN, 0.17)(records), gap(TICKET, TICKET, 0.17, dense=True)(records)
    same, other = barrier(REORDERED)(records), barrier(REDRAWN)(records)
    if apart is None or near is None or same is None or other is None:
        return "Tickets and controls must be run before there is an answer. Run the same command again to go on."
    ends = "" if apart.low is None or apart.high is None else f" ({apart.low * 100:+.1f} to {apart.high * 100:+.1f})"
    return (
        f"With {apart.note.partition(' of')[0]} of its weights a ticket is {near.value * 100:+.1f} points from the "
        f"dense network and {apart.value * 100:+.1f} points{ends} from the same connections on new weights. On the "
        f"line between two trainings of one start error rises by {same.value * 100:.1f} points, of two starts by "
        f"{other.value * 100:.1f}."
    )
