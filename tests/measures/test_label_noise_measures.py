"""What label noise leaves to be reached, and when a training reached it."""

from __future__ import annotations

import numpy as np
import pytest

from shattering.core.errors import SpecError
from shattering.core.record import Record, Status
from shattering.core.spec import RunSpec
from shattering.measures.label_noise import adjusted_overfit, group_times, peak, proper_accuracy, time_to_accuracy
from shattering.measures.time_to_fit import FitTime


def record(*rows: dict[str, float]) -> Record:
    return Record(RunSpec(), Status.DONE, rows)


def row(step: int, pristine: float, corrupt: float, train: float, test: float) -> dict[str, float]:
    return {
        "step": step,
        "unchanged_train_accuracy": pristine,
        "changed_train_accuracy": corrupt,
        "train_accuracy": train,
        "test_accuracy": test,
    }


NOISY = record(
    row(0, 0.1, 0.1, 0.1, 0.1),
    row(4, 0.8, 0.0, 0.5, 0.7),
    row(10, 0.9, 0.1, 0.6, 0.7),
    row(30, 1.0, 0.6, 0.9, 0.5),
)


@pytest.mark.parametrize(("noise", "proper"), [(0, 1.0), (0.25, 0.775), (0.5, 0.55), (0.75, 0.325), (1, 0.1)])
def test_proper_accuracy_with_ten_classes(noise: float, proper: float) -> None:
    assert proper_accuracy(noise, 10) == pytest.approx(proper, abs=1e-15)


def test_proper_accuracy_is_that_of_true_labels_among_redrawn_ones() -> None:
    generator = np.random.default_rng(0)
    truth = generator.integers(4, size=200_000)
    labels = np.where(generator.random(200_000) < 0.6, generator.integers(4, size=200_000), truth)

    assert (labels == truth).mean() == pytest.approx(proper_accuracy(0.6, 4), abs=0.005)


def test_network_that_knows_the_truth_does_not_overfit() -> None:
    for noise in (0.0, 0.3, 1.0):
        assert adjusted_overfit(proper_accuracy(noise, 10), 1.0, noise, 10) == pytest.approx(0.0, abs=1e-15)
    # All labels memorised: against test labels as noisy, half of what is left is chance.
    assert adjusted_overfit(1.0, 0.8, 0.5, 10) == pytest.approx(1 - (0.05 + 0.4))
    assert adjusted_overfit(0.9, 0.7, 0.0, 10) == pytest.approx(0.2)


@pytest.mark.parametrize(("noise", "classes"), [(-0.1, 10), (1.1, 10), (0.5, 0)])
def test_impossible_noise_is_refused(noise: float, classes: int) -> None:
    with pytest.raises(SpecError) as caught:
        proper_accuracy(noise, classes)

    assert caught.value.identifier == "label-noise-out-of-range"


def test_times_to_an_accuracy_by_group() -> None:
    times = group_times(NOISY, 0.6)

    assert (times.pristine, times.corrupt) == (FitTime(4, False), FitTime(30, False))
    assert times.pristine is not None and times.corrupt is not None
    assert (times.pristine.resolution, times.corrupt.resolution) == (4, 20)
    assert group_times(NOISY, 0.7).corrupt == FitTime(30, True)
    assert time_to_accuracy(NOISY, 0.1) == FitTime(0, False)


def test_empty_group_has_no_time() -> None:
    clean = record({"step": 0, "train_accuracy": 0.5, "unchanged_train_accuracy": 0.5, "test_accuracy": 0.2})

    assert group_times(clean, 0.5).corrupt is None
    assert peak(clean) is not None and peak(clean).corrupt_accuracy is None
    assert peak(record({"step": 0})) is None


def test_peak_is_the_first_best_test_accuracy() -> None:
    best = peak(NOISY)

    assert best is not None
    assert (best.step, best.test_accuracy, best.final_test_accuracy) == (4, 0.7, 0.5)
    assert (best.train_accuracy, best.corrupt_accuracy) == (0.5, 0.0)
