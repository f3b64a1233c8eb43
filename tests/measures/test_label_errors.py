"""The noisy channel, the estimated rate and the ranking, on predictions made up to have planted noise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from shattering.core.errors import DataError
from shattering.measures.label_channel import anchored, fit_channel, readings
from shattering.measures.label_errors import (
    BINS,
    HeldOut,
    channel_odds,
    held_out,
    label_scores,
    likelihood_ratio,
    log_ratio,
    own_mistakes,
    rank_odds,
)
from shattering.measures.label_noise_rate import expected_precision, noise_rate, rate_error

CLASSES, EXAMPLES = 4, 1000
PAIRS = {"none": 0.0, "uniform": 0.2, "asymmetric": 0.4}


def matrix(kind: str, p: float) -> np.ndarray:
    """P[given | true]."""
    others = (1 - np.eye(CLASSES)) / (CLASSES - 1)
    return (1 - p) * np.eye(CLASSES) + p * (np.roll(np.eye(CLASSES), 1, axis=1) if kind == "asymmetric" else others)


def planted(kind: str, seed: int = 0, spread: float = 0.6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Held-out predictions that resemble the noisy labels of the example's class, given labels, true ones."""
    draw = np.random.default_rng(seed)
    transition = matrix(kind, PAIRS[kind])
    true = draw.integers(CLASSES, size=EXAMPLES)
    given = (draw.random(EXAMPLES)[:, None] > transition[true].cumsum(axis=1)).sum(axis=1)
    logits = np.log(transition[true] + 0.05) + draw.normal(scale=spread, size=(EXAMPLES, CLASSES))
    raised = np.exp(logits)
    return raised / raised.sum(axis=1, keepdims=True), given, true


@pytest.mark.parametrize("kind", PAIRS)
def test_planted_noise_is_found(kind: str) -> None:
    probabilities, given, true = planted(kind)
    channels = readings(probabilities, given)
    found = noise_rate(channels, given)
    share = (true != given).mean()

    assert found.low <= share <= found.high
    assert found.value == pytest.approx(share, abs=0.03)
    assert found.low == 0 if kind == "none" else found.low > 0.05
    np.testing.assert_allclose(found.transition, matrix(kind, PAIRS[kind]), atol=0.1)
    np.testing.assert_allclose(found.transition.sum(axis=1), 1)
    if kind != "none":
        scores = label_scores(HeldOut(np.arange(EXAMPLES), given, probabilities, np.ones(EXAMPLES)), channels)
        first = scores.order[: int(share * EXAMPLES)]
        assert (true != given)[first].mean() > 0.85
        assert (scores.suggestion == true)[first].mean() > 0.8
        expected = expected_precision(channels.lenient, given, scores.order)[len(first) - 1]
        assert expected == pytest.approx((true != given)[first].mean(), abs=0.08)


def test_labels_that_are_right_at_chance_only_are_no_proof_of_noise() -> None:
    given = np.random.default_rng(1).integers(3, size=300)
    found = noise_rate(readings(np.full((300, 3), 1 / 3), given), given)

    assert found.low == 0


@pytest.mark.parametrize("kind", ["uniform", "asymmetric"])
def test_renaming_classes_and_reordering_examples_change_nothing(kind: str) -> None:
    probabilities, given, _ = planted(kind)
    names, order = np.array([2, 0, 3, 1]), np.random.default_rng(2).permutation(EXAMPLES)
    renamed = np.empty_like(probabilities)
    renamed[:, names] = probabilities
    first, second = fit_channel(probabilities, given), fit_channel(renamed[order], names[given][order])

    assert second.rate == pytest.approx(first.rate, abs=2e-3)
    np.testing.assert_allclose(second.transition[np.ix_(names, names)], first.transition, atol=0.01)
    np.testing.assert_allclose(second.believed[:, names], first.believed[order], atol=0.03)


def test_anchors_are_the_labels_of_surely_predicted_examples() -> None:
    probabilities = np.array([[0.9 - 0.02 * step, 0.1 + 0.02 * step] for step in range(12)])
    given = np.array([0] * 5 + [1] * 7)

    # Six of twelve are sure: five of them given as class 0, one as class 1; half a label is spread over the classes.
    np.testing.assert_allclose(anchored(probabilities, given), [[5.25 / 6.5, 1.25 / 6.5], [0.25 / 1.5, 1.25 / 1.5]])


def test_odds_and_ratios_agree_with_the_plain_way() -> None:
    probabilities, given, _ = planted("asymmetric", spread=1.0)
    channel = fit_channel(probabilities, given)
    odds, ratios = channel_odds(channel, given, 0.3), log_ratio(probabilities, given)

    for example in range(0, EXAMPLES, 97):
        label = given[example]
        chances = []
        for true in range(CLASSES):
            uniform = 0.7 if true == label else 0.3 / (CLASSES - 1)
            mixed = 0.5 * channel.transition[true, label] + 0.5 * uniform
            chances.append((channel.predicted[example, true] + 1e-6) * mixed)
        wrong = math.fsum(chance for true, chance in enumerate(chances) if true != label)
        assert odds[example] == pytest.approx(math.log(wrong / chances[label]), rel=1e-9)
        best = max(probabilities[example, true] for true in range(CLASSES) if true != label)
        assert ratios[example] == pytest.approx(math.log((probabilities[example, label] + 1e-3) / (best + 1e-3)))


def test_likelihood_ratios_never_fall_and_are_blind_to_useless_evidence() -> None:
    draw = np.random.default_rng(4)
    doubt = (draw.random(2400) < 0.2).astype(float)
    telling, useless = doubt + draw.normal(scale=0.5, size=2400), draw.normal(size=2400)
    telling[:3] = np.nan
    ratio = likelihood_ratio(telling, doubt)
    known = np.isfinite(telling)

    assert (ratio[~known] == 0).all()
    assert (np.diff(ratio[known][np.argsort(telling[known])]) >= 0).all()
    assert len(np.unique(ratio[known])) <= BINS
    assert np.ptp(ratio) > 10 * np.ptp(likelihood_ratio(useless, doubt)) / 3
    assert (likelihood_ratio(np.full(9, np.nan), np.zeros(9)) == 0).all()


def test_rank_odds_are_odd_about_the_median_and_silent_on_what_is_not_known() -> None:
    odds = rank_odds(np.array([5.0, np.nan, -2.0, 0.0, 0.0, 7e9]))

    # Of five known, the places are 4, 1, twice 2.5, and 5.
    np.testing.assert_allclose(odds, np.log([7 / 3, 1, 1 / 9, 2 / 3, 2 / 3, 9]))
    assert (rank_odds(np.full(3, np.nan)) == 0).all()


def test_the_value_is_the_channels_where_networks_are_sure_and_the_plain_scores_where_they_are_not() -> None:
    probabilities, given, _ = planted("uniform", spread=1.0)
    channels = readings(probabilities, given)
    own = own_mistakes(channels.lenient)
    area = np.random.default_rng(7).normal(size=EXAMPLES)
    area[:5] = np.nan
    plain = HeldOut(np.arange(EXAMPLES), given, probabilities, np.ones(EXAMPLES))
    scores = label_scores(plain, channels)
    rate = min(0.5, max(0.01, channels.middle.rate))
    lenient, strict = (channel_odds(channel, given, rate) for channel in (channels.lenient, channels.strict))
    own_label = rank_odds(-probabilities[np.arange(EXAMPLES), given])

    assert 0 < own < 1 - 1 / CLASSES
    np.testing.assert_allclose(scores.parts["channel"], lenient + (1 - own) ** 2 / 2 * (strict - lenient))
    np.testing.assert_allclose(scores.value, (1 - own) * scores.parts["channel"] + own * own_label)
    more = HeldOut(np.arange(EXAMPLES), given, probabilities, np.ones(EXAMPLES), {"margin area": area})
    with_area = label_scores(more, channels)
    added = own * (rank_odds(area) + 2 * with_area.parts["margin area"])
    np.testing.assert_allclose(with_area.value - scores.value, added, atol=1e-12)
    assert (added[:5] == 0).all()


def test_the_error_of_a_certain_rate_is_binomial_and_doubt_enlarges_it() -> None:
    certain = np.array([1.0] * 30 + [0.0] * 170)
    doubtful = np.clip(certain, 0.1, 0.9)

    assert rate_error(certain) == pytest.approx(math.sqrt(0.15 * 0.85 / 200))
    assert rate_error(doubtful) > 1.1 * rate_error(certain)
    assert math.isfinite(rate_error(np.zeros(50)))


def test_trainings_without_the_columns_are_refused() -> None:
    with pytest.raises(DataError) as caught:
        held_out([])
    assert caught.value.identifier == "label-errors-no-runs"
