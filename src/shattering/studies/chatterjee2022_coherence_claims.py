"""What Chatterjee and Zielinski found of coherence while networks train, as claims with thresholds set in advance.

Their numbers are of ImageNet, or stand in figures that could not be read; what is stated in words is judged. Thresholds
follow the words: an order of magnitude is 10, "about 1" is between a tenth and ten, and a sign is a ratio above 1.
Peaks are held to 3 only, since m, a thousand here, bounds what real labels can reach; a rise is a doubling.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from shattering.core.record import Record, Status
from shattering.core.study import Claim, Effect, Estimate, Provenance, Records
from shattering.studies.chatterjee2020 import Number, all_hold, lies_above, lies_below, mean_of
from shattering.studies.chatterjee2022_records import (
    EARLY,
    M,
    at_equal_loss,
    convolutional_excess,
    early,
    end,
    geometric_of,
    level_name,
    noisy,
    peak_from,
    positive,
    pristine_excess,
    ratio_between,
    ratio_within,
)

FIRST, LAST = EARLY
MC, ABSTRACT = "Chatterjee & Zielinski (2020)", "Chatterjee & Zielinski (2022), abstract"
Ratio = Callable[[Records], Estimate | None]


def _claim(
    source: str,
    model: str,
    quantity: str,
    provenance: Provenance,
    data: str,
    estimate: Ratio,
    statement: str,
    holds: Callable[[Records], bool | None],
    unit: str = "x",
) -> Claim:
    return Claim(
        source=f"{source}, {model}",
        quantity=quantity,
        published=None,
        tolerance=0.0,
        unit=unit,
        provenance=provenance,
        data=data,
        estimate=estimate,
        effect=Effect(statement, holds),
    )


def start_claim(model: str, level: float) -> Claim:
    """Coherence starts near m."""

    def alpha(records: Records) -> Estimate | None:
        found = mean_of(noisy(records, model, level), lambda record: record.rows[0].get("alpha"))
        if found is None or found.low is None or found.high is None:
            return found
        return replace(found, low=max(0.0, found.low), high=min(1.0, found.high))

    return _claim(
        f"{MC}, initialisation",
        model,
        f"m-coherence / m before the first update, {level_name(level)}",
        "Q-note",
        "imagenet",
        alpha,
        "m-coherence starts within a factor of ten of m",
        lambda records: lies_above(alpha(records), 0.1),
        unit="1",
    )


def fall_claim(model: str, level: float) -> Claim:
    """… and falls within the first 25 updates."""

    def first(record: Record) -> float | None:
        return next((value for _, value in positive(record, M, 0, 0)), None)

    def lowest(record: Record) -> float | None:
        return min((value for _, value in positive(record, M, 1, FIRST)), default=None)

    def fall(records: Records) -> Estimate | None:
        return ratio_within(noisy(records, model, level), first, lowest)

    return _claim(
        f"{MC}, first {FIRST} steps",
        model,
        f"m-coherence at initialisation / its lowest in the first {FIRST} steps, {level_name(level)}",
        "Q-note",
        "imagenet",
        fall,
        f"m-coherence falls to a tenth or less of its start within {FIRST} steps",
        lambda records: lies_above(fall(records), 10),
    )


def _between(model: str, above: float, below: float, number: Number) -> Ratio:
    return lambda records: ratio_between(noisy(records, model, above), noisy(records, model, below), number)


def early_claim(model: str) -> Claim:
    """Real labels lie far above random ones early."""
    ratio = _between(model, 0.0, 1.0, early)
    return _claim(
        ABSTRACT,
        model,
        f"m-coherence over steps {FIRST} to {LAST}, real / random labels",
        "Q-abs",
        "mnist" if model == "mlp" else "imagenet",
        ratio,
        f"m-coherence over steps {FIRST} to {LAST} is at least ten times as high on real as on random labels",
        lambda records: lies_above(ratio(records), 10),
    )


def order_claim(model: str) -> Claim:
    """Half of the labels random: in between."""
    lower, upper = _between(model, 0.5, 1.0, early), _between(model, 0.0, 0.5, early)
    return _claim(
        f"{MC}, levels of noise",
        model,
        f"m-coherence over steps {FIRST} to {LAST}, 50% random / random labels",
        "Q-note",
        "imagenet",
        lower,
        f"over steps {FIRST} to {LAST}, real labels lie above half random ones, and these above random ones",
        lambda records: all_hold(lies_above(lower(records), 1), lies_above(upper(records), 1)),
    )


def creation_claim(model: str) -> Claim:
    """Random labels: coherence does not stay where it was, training makes it."""

    def rise(records: Records) -> Estimate | None:
        return ratio_within(noisy(records, model, 1.0), lambda record: peak_from(record, M, LAST), early)

    return _claim(
        f"{MC}, abstract",
        model,
        f"m-coherence on random labels, later peak / level over steps {FIRST} to {LAST}",
        "Q-abs",
        "imagenet",
        rise,
        f"on random labels m-coherence later at least doubles (best three successive snapshots after step {LAST})",
        lambda records: lies_above(rise(records), 2),
    )


def peak_claim(model: str) -> Claim:
    """… but stays below what real labels reach."""
    ratio = _between(model, 0.0, 1.0, lambda record: peak_from(record, M, FIRST))
    return _claim(
        f"{MC}, conference abstract",
        model,
        f"highest m-coherence after step {FIRST}, real / random labels",
        "Q-abs",
        "imagenet",
        ratio,
        "the highest m-coherence is at least three times as high on real as on random labels",
        lambda records: lies_above(ratio(records), 3),
    )


def equal_loss_claim(model: str) -> Claim:
    """Real above random labels where both have the same training loss."""
    ratio = _between(model, 0.0, 1.0, at_equal_loss)
    return _claim(
        f"{MC}, consequence",
        model,
        "m-coherence at equal training loss, real / random labels",
        "Q-note",
        "imagenet",
        ratio,
        "at equal training loss (0.9 to 0.2 of guessing's) m-coherence is higher on real than on random labels",
        lambda records: lies_above(ratio(records), 1),
    )


def end_claim(model: str, level: float) -> Claim:
    """About 1 when all is fitted."""

    def ending(records: Records) -> Estimate | None:
        return geometric_of(noisy(records, model, level), end)

    def holds(records: Records) -> bool | None:
        runs = noisy(records, model, level)
        if not all(record.status is Status.DONE for record in runs):
            return None
        return all_hold(lies_above(ending(records), 0.1), lies_below(ending(records), 10))

    return _claim(
        f"{MC}, end of training",
        model,
        f"m-coherence at the last step, {level_name(level)}",
        "Q-note",
        "imagenet",
        ending,
        "with everything fitted, m-coherence ends between 0.1 and 10",
        holds,
        unit="examples",
    )


def layer_claim(model: str, level: float) -> Claim:
    """Convolutions, whose weights are shared between positions, above fully connected layers."""

    def excess(records: Records) -> Estimate | None:
        return geometric_of(noisy(records, model, level), convolutional_excess)

    return _claim(
        f"{MC}, layers",
        model,
        f"m-coherence of convolutional / fully connected layers, {level_name(level)}",
        "Q-note",
        "imagenet",
        excess,
        f"from step {FIRST} on, convolutional layers lie above fully connected ones (geometric means)",
        lambda records: lies_above(excess(records), 1),
    )


def groups_claim(model: str) -> Claim:
    """Pristine examples agree, corrupt ones do not."""

    def excess(records: Records) -> Estimate | None:
        return geometric_of(noisy(records, model, 0.5), pristine_excess)

    return _claim(
        f"{ABSTRACT}, noisy labels",
        model,
        f"α of pristine / corrupt examples over steps {FIRST} to {LAST}, 50% random labels",
        "Q-abs",
        "mnist",
        excess,
        f"over steps {FIRST} to {LAST}, α of pristine examples is at least twice that of corrupt ones",
        lambda records: lies_above(excess(records), 2),
    )


def claims(model: str, *, convolutional: bool) -> list[Claim]:
    """All there is to say of a model."""
    found = [start_claim(model, 0.0), start_claim(model, 1.0), fall_claim(model, 0.0), fall_claim(model, 1.0)]
    found += [early_claim(model), order_claim(model), creation_claim(model), peak_claim(model)]
    found += [equal_loss_claim(model), end_claim(model, 0.0), end_claim(model, 1.0), groups_claim(model)]
    return found + ([layer_claim(model, 0.0), layer_claim(model, 1.0)] if convolutional else [])
