"""Memorisation on real data with some labels flipped: found from a fleet of trainings, then taken out of the data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field as Bound

from shattering.core.spec import Number, Truth, Whole
from shattering.measures.memorisation import SubsetOutcomes, influence, influence_p, memorisation
from shattering.simulations.registry import Bench, Numbers, simulation

Positive = Annotated[Whole, Bound(ge=1)]
NotNegative = Annotated[Whole, Bound(ge=0)]

THRESHOLDS = (0.1, 0.25, 0.5, 0.75, 0.9)
REMOVED = (0.0, 0.05, 0.1, 0.2, 0.3)
"""Of the examples whose label was not flipped."""

MEMORISED, HELPFUL = 0.25, 0.15
"""What counts as memorised, and as an influence, in the paper."""

SEARCHED = 500
"""The most memorised examples whose influences are looked at, at most."""

FAMILY = 0.05

SHUFFLES = 20
"""Ways of giving each training the subset of another that the control is averaged over."""


def _seconds(fields: Mapping[str, Any]) -> float:
    trainings = int(fields.get("models", 200)) + 2 * len(REMOVED) * int(fields.get("repeats", 5))
    return 0.1 * trainings * int(fields.get("width", 64)) / 64


@simulation(
    summary="memorisation of real examples with flipped labels among them, from trainings on random subsets",
    paper="Feldman & Zhang (2020)",
    units={
        "removed": "1",
        "accuracy_without_memorised": "1",
        "accuracy_without_random": "1",
        "threshold": "1",
        "share_flipped": "1",
        "share_clean": "1",
        "share_shuffled": "1",
        "models": "trainings",
        "fitted": "1",
        "test_accuracy": "1",
        "mean_flipped": "1",
        "mean_clean": "1",
        "mean_shuffled": "1",
        "auroc": "1",
        "shuffled_auroc": "1",
        "split_half": "1",
        "squared_error": "1",
        "helped_pairs": "pairs",
        "helped_tests": "examples",
        "unique_helper": "1",
        "shuffled_pairs": "pairs",
    },
    seconds=_seconds,
)
def memorised_examples(
    bench: Bench,
    *,
    models: Positive = 200,
    fraction: Annotated[Number, Bound(gt=0, lt=1)] = 0.7,
    width: Positive = 64,
    second: NotNegative = 0,
    batch: Positive = 50,
    rate: Annotated[Number, Bound(gt=0)] = 0.1,
    epochs: Positive = 40,
    until_fitted: Truth = True,
    repeats: NotNegative = 5,
) -> Iterator[Numbers]:
    """Trains perceptrons on random subsets, estimates memorisation and influence, and trains without the memorised.

    Flipped labels are those that the spec's corruption changed; clean examples are the others. The control uses the
    same trainings, each with the subset of another, so that who was trained on what is a matter of chance; its numbers
    are means over 20 such shifts. As none of them is the subset that the training had, they are not 0 on average but
    -1/(models - 1) of what is found with it.

    Args:
        bench: real data. Subsets come from the stream ``subsets``, weights and order from ``subset-trainings``, what is
            removed at random from ``removal``.
        models: trainings on subsets.
        fraction: of the examples in each.
        width, second: units of the hidden layer, and of a second one; 0: there is none.
        batch, rate, epochs: of stochastic gradient descent with momentum 0.9.
        until_fitted: whether a training ends where it gets its whole subset right.
        repeats: trainings without the examples removed, for each kind and number; 0: nothing is removed.

    Yields:
        Five rows. ``threshold`` with the shares of flipped, clean and shuffled examples whose memorisation reaches it;
        ``removed``, a share of the clean examples, with the mean test accuracy of trainings without so many of the most
        memorised ones, and without as many at random. In every row the same of the whole: mean memorisation of flipped
        and clean examples and, shuffled, of flipped ones; area under the curve of receiver operation for telling
        flipped from clean; correlation between halves; mean squared error of the estimates, from their halves;
        influences of at least 0.15 on test examples by memorised ones, found by Fisher's exact test at 5% for all pairs
        together; for how many test examples; and the share of these with one such helper. What concerns flipped labels
        is left out where there are none, and what does not vary.
    """
    from shattering.measures.memorised_share import split_half_correlation
    from shattering.simulations.subset_trainings import Recipe, Trainer, random_subsets

    train = bench.splits.train
    count = len(train)
    hidden = (width, second) if second else (width,)
    trainer = Trainer(bench, Recipe(hidden, batch, rate, epochs, until_fitted), models)
    subsets = random_subsets(bench, models, max(1, round(fraction * count)), count)
    outcomes = _outcomes(bench, subsets, trainer.predictions_of("subsets", subsets))
    found = memorisation(outcomes).value
    shuffles = [_shuffled(outcomes, shift) for shift in range(1, min(SHUFFLES, models - 1) + 1)]
    controls = [memorisation(shuffled).value for shuffled in shuffles]
    flipped = train.changed & np.isfinite(found)
    clean = ~train.changed & np.isfinite(found)
    whole: dict[str, float | None] = {
        "models": float(models),
        "fitted": outcomes.fitted,
        "test_accuracy": float(outcomes.tested_right.mean()),
        "mean_flipped": _mean(found, flipped),
        "mean_clean": _mean(found, clean),
        "mean_shuffled": _average(_mean(control, flipped if flipped.any() else clean) for control in controls),
        "auroc": area(found[flipped], found[clean]),
        "shuffled_auroc": _average(area(control[flipped], control[clean]) for control in controls),
        "split_half": split_half_correlation(outcomes),
        "squared_error": _squared_error(outcomes),
        **_pairs(outcomes, found),
        "shuffled_pairs": _average(
            _pairs(shuffled, control)["helped_pairs"] for shuffled, control in zip(shuffles, controls, strict=True)
        ),
    }
    accuracies = _without(bench, trainer, found, clean, models, repeats)
    for place, threshold in enumerate(THRESHOLDS):
        row = {
            **accuracies[place],
            "threshold": threshold,
            "share_flipped": _mean(found >= threshold - 1e-9, flipped),
            "share_clean": _mean(found >= threshold - 1e-9, clean),
            "share_shuffled": _average(float((control >= threshold - 1e-9).mean()) for control in controls),
            **whole,
        }
        yield {name: value for name, value in row.items() if value is not None}


def area(marked: NDArray[np.float64], others: NDArray[np.float64]) -> float | None:
    """P[a marked one exceeds another], ties counted half: 1 where they are told apart, ½ by chance; none of nothing."""
    if not len(marked) or not len(others):
        return None
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([marked, others]))[: len(marked)]
    return float((ranks.sum() - len(marked) * (len(marked) + 1) / 2) / (len(marked) * len(others)))


def _outcomes(bench: Bench, subsets: Sequence[NDArray[np.int64]], said: NDArray[np.int16]) -> SubsetOutcomes:
    train, test = bench.splits.train, bench.splits.test
    inside = np.zeros((len(subsets), len(train)), dtype=np.bool_)
    for run, subset in enumerate(subsets):
        inside[run, subset] = True
    right = said[:, : len(train)] == train.labels
    tested = said[:, len(train) :] == test.labels
    return SubsetOutcomes(
        train.source_indices, train.labels, inside, ~inside, right, test.source_indices, np.asarray(tested)
    )


def _shuffled(outcomes: SubsetOutcomes, shift: int) -> SubsetOutcomes:
    """Every training with the subset of another: what it got right has nothing to do with what it was given."""
    turned = np.roll(np.arange(len(outcomes)), shift)
    return SubsetOutcomes(
        outcomes.index,
        outcomes.label,
        outcomes.inside[turned],
        outcomes.outside[turned],
        outcomes.right,
        outcomes.tested_index,
        outcomes.tested_right,
    )


def _average(values: Iterable[float | None]) -> float | None:
    """The mean; none where one is missing, or all are."""
    found = list(values)
    known = [value for value in found if value is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(found) else None


def _mean(values: NDArray[Any], among: NDArray[np.bool_]) -> float | None:
    return float(values[among].mean()) if among.any() else None


def _squared_error(outcomes: SubsetOutcomes) -> float | None:
    """Mean squared error of the estimates: two independent halves differ by four times as much, in the mean square."""
    halves = [memorisation(outcomes.of(np.arange(start, len(outcomes), 2))).value for start in (0, 1)]
    apart = halves[0] - halves[1]
    known = np.isfinite(apart)
    return float(np.square(apart[known]).mean() / 4) if known.any() else None


def _pairs(outcomes: SubsetOutcomes, found: NDArray[np.float64]) -> dict[str, float | None]:
    """Pairs of a memorised example and a test example that it helps."""
    order = np.argsort(np.where(np.isfinite(found), -found, np.inf), kind="stable")[:SEARCHED]
    order = order[found[order] >= MEMORISED]
    if not len(order):
        return {"helped_pairs": 0.0, "helped_tests": 0.0, "unique_helper": None}
    value, _ = influence(outcomes, order)
    sure = (influence_p(outcomes, order) <= FAMILY / value.size) & (value >= HELPFUL)
    helpers = sure.sum(axis=0)
    helped = int((helpers > 0).sum())
    unique = float((helpers == 1).sum() / helped) if helped else None
    return {"helped_pairs": float(sure.sum()), "helped_tests": float(helped), "unique_helper": unique}


def _without(
    bench: Bench,
    trainer: Any,
    found: NDArray[np.float64],
    clean: NDArray[np.bool_],
    first: int,
    repeats: int,
) -> list[dict[str, float]]:
    """Test accuracy without the most memorised clean examples, and without as many random ones."""
    if not repeats:
        return [{} for _ in REMOVED]
    count, labels = len(found), bench.splits.test.labels
    chance = bench.stream("removal").permutation(count)
    random = chance[clean[chance]]
    ranked = random[np.argsort(-found[random], kind="stable")]  # ties at random
    rows = []
    for place, share in enumerate(REMOVED):
        row = {"removed": share}
        taken = round(share * len(random))
        for kind, order in (("memorised", ranked), ("random", random)):
            rest = np.setdiff1d(np.arange(count), order[:taken])
            number = first + place * repeats  # both kinds with the same weights at the start
            said = trainer.predictions_of(f"{kind}-{place}", [rest] * repeats, number)
            row[f"accuracy_without_{kind}"] = float((said[:, count:] == labels).mean())
        rows.append(row)
    return rows
