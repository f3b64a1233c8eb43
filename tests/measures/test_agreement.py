"""Agreement between runs on what is easy, beside scipy, and the masks of easy and hard examples."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import spearmanr

from shattering.core.errors import DataError, SpecError
from shattering.core.record import Record, Status
from shattering.core.spec import RunSpec
from shattering.measures.agreement import easy_hard, rank_agreement

EXAMPLES = 60


def run(seed: int, steps: np.ndarray, index: np.ndarray | None = None, labels: np.ndarray | None = None) -> Record:
    index = np.arange(len(steps)) if index is None else index
    labels = index % 3 if labels is None else labels
    columns = {"index": index, "label": labels, "learning_step": steps}
    return Record(RunSpec(seed=seed), Status.DONE, examples=columns)


def learned(seed: int, noise: float) -> np.ndarray:
    """Learning steps on a coarse grid: a difficulty common to all runs, noise of their own, and some never learned."""
    generator = np.random.default_rng(seed)
    difficulty = np.arange(EXAMPLES) / 10 + noise * generator.normal(size=EXAMPLES)
    return np.where(difficulty > 5.5, -1, np.clip(difficulty.astype(int), 0, None) * 8)


def test_correlations_are_spearmans_of_aligned_examples() -> None:
    runs = [run(seed, learned(seed, 1.0)) for seed in range(4)]
    order = np.random.default_rng(9).permutation(EXAMPLES)
    shuffled = run(3, runs[3].examples["learning_step"][order], order)

    found = rank_agreement([*runs[:3], shuffled])

    assert found is not None
    as_ranked = [np.where(one.examples["learning_step"] < 0, 10**6, one.examples["learning_step"]) for one in runs]
    expected = [spearmanr(first, second).statistic for first, second in itertools.combinations(as_ranked, 2)]
    assert [value for _, _, value in found.pairs] == pytest.approx(expected, rel=1e-12)
    assert found.value == pytest.approx(np.mean(expected), rel=1e-12)
    assert (found.examples, found.considered, len(found.runs)) == (EXAMPLES, 4, 4)
    assert 0.5 < found.value < 1.0
    assert found.test.p == found.test.smallest == 1 / 200


def test_interval_is_the_jackknife_over_runs() -> None:
    runs = [run(seed, learned(seed, 2.0)) for seed in range(5)]

    found = rank_agreement(runs)

    assert found is not None and found.low is not None and found.high is not None
    without = []
    for left_out in range(5):
        part = rank_agreement([one for seed, one in enumerate(runs) if seed != left_out])
        assert part is not None
        without.append(part.value)
    error = np.sqrt(4 / 5 * np.square(np.array(without) - np.mean(without)).sum())
    half = 2.7764451052 * error  # Student's t, four degrees of freedom
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half), rel=1e-9)
    two = rank_agreement(runs[:2])
    assert two is not None and two.low is two.high is None


def test_unrelated_runs_agree_as_little_as_the_null() -> None:
    p_values, inside = [], 0
    for trial in range(40):
        generator = np.random.default_rng(trial)
        found = rank_agreement([run(seed, generator.integers(0, 9, EXAMPLES)) for seed in range(3)])
        assert found is not None
        p_values.append(found.test.p)
        inside += found.null_low <= found.value <= found.null_high

    assert 0.35 < np.mean(p_values) < 0.65
    assert min(p_values) < 0.2 and max(p_values) > 0.8
    assert inside >= 34
    # Three pairs, each with variance 1/(n - 1), nearly independent.
    assert found.null_high - found.null_low == pytest.approx(2 * 1.96 / np.sqrt(3 * (EXAMPLES - 1)), rel=0.25)


def test_same_order_agrees_fully() -> None:
    found = rank_agreement([run(seed, np.arange(EXAMPLES) * (seed + 1)) for seed in range(3)])

    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((1.0, 1.0, 1.0), abs=1e-12)
    assert found.high is not None and found.high <= 1.0


def test_other_examples_or_labels_are_not_compared() -> None:
    steps = learned(0, 1.0)
    others = [
        run(5, steps, index=np.arange(EXAMPLES) + 1),
        run(6, steps, labels=np.zeros(EXAMPLES, dtype=int)),
        run(7, np.full(EXAMPLES, 8)),
        Record(RunSpec(seed=8), Status.DIVERGED),
    ]

    assert rank_agreement([run(0, steps), *others]) is None
    found = rank_agreement([*others, run(0, steps), run(1, learned(1, 1.0))])
    assert found is not None
    assert (len(found.runs), found.considered) == (2, 6)
    assert rank_agreement([]) is None


def test_easy_examples_are_learned_first_and_hard_ones_last_or_never() -> None:
    steps = np.array([8, -1, 0, 4, 4, 16, -1, 2])

    easy, hard = easy_hard(run(0, steps))
    few, never = easy_hard(run(0, steps), 0.25)

    assert easy.tolist() == [False, False, True, True, True, False, False, True]
    assert (easy ^ hard).all()
    assert np.flatnonzero(few).tolist() == [2, 7]
    assert np.flatnonzero(never).tolist() == [1, 6]


def test_parts_are_equal_and_disjoint_where_there_is_an_odd_one_out() -> None:
    easy, hard = easy_hard(run(0, np.array([3, 3, 3, 3, 3])))

    # All tied: in the order of the data.
    assert easy.tolist() == [True, True, False, False, False]
    assert hard.tolist() == [False, False, False, True, True]


@pytest.mark.parametrize("fraction", [0.0, 0.6, -1.0, float("nan")])
def test_overlapping_parts_are_refused(fraction: float) -> None:
    with pytest.raises(SpecError) as caught:
        easy_hard(run(0, np.arange(4)), fraction)

    assert caught.value.identifier == "fraction-out-of-range"


def test_run_without_learning_steps_is_refused() -> None:
    with pytest.raises(DataError) as caught:
        rank_agreement([Record(RunSpec(), Status.DONE)])

    assert caught.value.identifier == "column-missing"
