"""Time to fit, separation and trend: measures of records."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from shattering.core.record import Record, Status
from shattering.core.spec import RunSpec
from shattering.measures.separation import separation_step, value_at
from shattering.measures.time_to_fit import FitTime, fit_time, slowdown
from shattering.measures.trend import PERMUTATIONS, rising_trend


def run(steps_to_fit: int | None, seed: int = 0, steps: int = 100, status: Status | None = None) -> Record:
    found = Status.NOT_FITTED if steps_to_fit is None else Status.DONE
    return Record(RunSpec(seed=seed), status or found, summary={"steps_to_fit": steps_to_fit, "steps": steps})


def curve(*pairs: tuple[int, float]) -> Record:
    return Record(RunSpec(), Status.DONE, rows=tuple({"step": step, "train_loss": loss} for step, loss in pairs))


# Time to fit


def test_fit_time_is_censored_where_the_run_did_not_fit() -> None:
    assert fit_time(run(40)) == FitTime(40, False)
    assert fit_time(run(0)) == FitTime(0, False)
    assert fit_time(run(None)) == FitTime(100, True)
    for status in (Status.DIVERGED, Status.FAILED, Status.CANCELLED):
        assert fit_time(run(None, status=status)) is None


def test_slowdown_is_the_geometric_mean_over_pairs_of_equal_seed() -> None:
    clean = [run(10, 0), run(20, 1), run(40, 2)]
    corrupted = [run(160, 2), run(40, 1), run(10, 0)]

    found = slowdown(corrupted, clean)

    assert found is not None
    assert found.value == pytest.approx((1 * 2 * 4) ** (1 / 3))
    assert found.pairs[0] == (corrupted[0].digest, clean[2].digest)
    logs = np.log([1, 2, 4])
    half = stats.t.ppf(0.975, 2) * logs.std(ddof=1) / math.sqrt(3)
    assert (found.low, found.high) == (
        pytest.approx(math.exp(logs.mean() - half)),
        pytest.approx(math.exp(logs.mean() + half)),
    )
    assert found.censored == 0


def test_slowdown_counts_censored_runs_as_lower_bounds_and_leaves_out_what_has_no_ratio() -> None:
    clean = [run(10, 0), run(None, 1), run(0, 2), run(10, 3), run(10, 4)]
    corrupted = [run(None, 0), run(30, 1), run(30, 2), run(None, 3, status=Status.DIVERGED), run(5, 9)]

    found = slowdown(corrupted, clean)

    assert found is not None
    assert (found.value, found.low, found.high) == (pytest.approx(10.0), None, None)
    assert (len(found.pairs), found.censored) == (1, 1)
    assert slowdown(corrupted[1:], clean) is None
    assert slowdown([], clean) is None


def test_slowdown_on_true_labels_is_one() -> None:
    clean = [run(10, 0), run(30, 1), run(70, 2)]

    found = slowdown(clean, clean)

    assert found is not None
    assert (found.value, found.low, found.high) == (pytest.approx(1.0), pytest.approx(1.0), pytest.approx(1.0))


# Separation


def test_value_at_is_the_last_one_known() -> None:
    record = curve((0, 2.3), (4, 1.5), (8, 0.5))

    assert [value_at(record, "train_loss", step) for step in (0, 3, 4, 7, 8, 99)] == [2.3, 2.3, 1.5, 1.5, 0.5, 0.5]
    assert value_at(record, "test_loss", 4) is None
    assert value_at(curve((2, 1.0)), "train_loss", 1) is None


def test_separation_is_the_first_step_from_which_the_ratio_lasts() -> None:
    real = curve((0, 2.0), (2, 0.9), (4, 1.5), (8, 0.7), (16, 0.1))
    random = curve((0, 2.0), (2, 2.0), (4, 2.0), (8, 1.4), (16, 1.3))

    # At step 2 the ratio is over 2, but at step 4 it is not.
    assert separation_step(real, random) == 8
    assert separation_step(real, random, factor=1.3) == 2
    assert separation_step(real, random, factor=5.0) == 16
    assert separation_step(real, random, factor=20.0) is None
    assert separation_step(real, real) is None


def test_separation_compares_with_the_last_value_of_the_other_run() -> None:
    assert separation_step(curve((0, 2.0), (5, 0.5)), curve((0, 2.0), (3, 1.2))) == 5
    assert separation_step(curve((0, 2.0)), curve((1, 9.0))) is None
    assert separation_step(curve((0, 1.0)), curve((0, 5.0)), name="test_loss") is None


# Trend


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    pairs=st.lists(
        st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.integers(0, 6)), min_size=3, max_size=12
    ).filter(lambda pairs: all(len({pair[part] for pair in pairs}) > 1 for part in (0, 1)))
)
def test_trend_is_spearmans_rank_correlation(pairs: list[tuple[float, int]]) -> None:
    levels, values = [level for level, _ in pairs], [float(value) for _, value in pairs]

    correlation, test = rising_trend(levels, values)

    assert correlation == pytest.approx(stats.spearmanr(levels, values).statistic, abs=1e-12)
    assert 0 < test.smallest <= test.p <= 1
    assert test.smallest == 1 / (PERMUTATIONS + 1) == 0.001


def test_perfect_trend_has_a_small_p_and_its_reverse_a_large_one() -> None:
    levels = [0.0, 0.25, 0.5, 0.75, 1.0] * 3
    rising = [level * 10 + index for index, level in enumerate(sorted(levels))]

    up, rare = rising_trend(sorted(levels), rising)
    down, common = rising_trend(sorted(levels), rising[::-1])

    assert (up > 0.95, down < -0.95) == (True, True)
    assert rare.p == rare.smallest
    assert common.p == 1.0


def test_ties_with_the_observed_correlation_count() -> None:
    # Of the six orders of three values, one has the observed correlation of 1: p is about 1/6, never below.
    _, test = rising_trend([1.0, 2.0, 3.0], [0.1, 0.2, 0.7])

    assert abs(test.p - 1 / 6) < 4 * math.sqrt(1 / 6 * 5 / 6 / PERMUTATIONS)


def test_trend_is_the_same_every_time() -> None:
    levels, values = [0.0, 0.5, 0.5, 1.0, 1.0], [3.0, 1.0, 4.0, 1.5, 5.0]

    assert rising_trend(levels, values) == rising_trend(levels, values)


def test_p_is_calibrated_where_there_is_no_trend() -> None:
    generator = np.random.default_rng(20)
    levels = [0.0, 0.0, 0.0, 0.25, 0.25, 0.25, 0.5, 0.5, 0.5, 1.0, 1.0, 1.0]
    simulations = 1000

    found = np.array([rising_trend(levels, generator.normal(size=12).tolist())[1].p for _ in range(simulations)])

    for level in (0.05, 0.1, 0.5):
        # All runs share one set of permutations, whose own error adds to that of the simulations.
        error = math.sqrt(level * (1 - level) * (1 / simulations + 1 / PERMUTATIONS))
        assert abs((found <= level).mean() - level) < 4 * error + 0.01, level


def test_equal_ratios_do_not_pass_for_certainty() -> None:
    """Times of 80 and 68 updates, looked at every four: the ratio is known to a few per cent, not exactly."""
    from shattering.measures.time_to_fit import FitTime, time_ratio

    ratio, low, high = time_ratio([FitTime(68, False, 4)] * 3, [FitTime(80, False, 4)] * 3)
    assert ratio == pytest.approx(0.85)
    assert low == pytest.approx(0.85 * 65 / 68)
    assert high == pytest.approx(0.85 * 80 / 77)
    assert time_ratio([FitTime(68, False, 4)] * 2, [FitTime(80, False, 4)] * 2)[1:] == (None, None)
