"""Rates, epochs, snapshots, batches: against plain counting."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from shattering.core.philox import philox4x32
from shattering.core.spec import MeasureSpec, TrainingSpec
from shattering.training.loop import epoch_batches
from shattering.training.schedule import is_snapshot, learning_rate, log_spaced_steps, steps_per_epoch
from tiny_runs import tiny_spec


def batches_of(examples: int, batch_size: int, epoch: int, **changes) -> list[list[int]]:
    spec = tiny_spec(training__batch_size=batch_size, **changes)
    stand_in = SimpleNamespace(labels=torch.zeros(examples), __len__=None)
    stand_in = type("Stand", (), {"labels": stand_in.labels, "__len__": lambda self: examples})()
    return [batch.tolist() for batch in epoch_batches(spec, stand_in, epoch)]


@given(examples=some.integers(2, 200), batch_size=some.integers(1, 70), epoch=some.integers(0, 2**40))
def test_an_epoch_shows_every_example_once(examples: int, batch_size: int, epoch: int) -> None:
    batches = batches_of(examples, batch_size, epoch)
    seen = [row for batch in batches for row in batch]
    assert len(set(seen)) == len(seen) and set(seen) <= set(range(examples))
    left_out = examples - len(seen)
    assert left_out == (1 if examples > batch_size > 1 and examples % batch_size == 1 else 0)
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert len(batches) == steps_per_epoch(examples, batch_size)
    assert batch_size == 1 or len(batches[-1]) > 1


def plain_permutation(seed: int, epoch: int, size: int, purpose_crc: int) -> list[int]:
    """The documented mapping in plain integers, a word at a time."""
    keys = []
    for position in range(size):
        counter = tuple(
            np.asarray(word, dtype=np.uint32) for word in (position // 4, epoch % 2**32, epoch // 2**32, purpose_crc)
        )
        keys.append((int(np.ravel(philox4x32(counter, (seed % 2**32, seed // 2**32)))[position % 4]), position))
    return [position for _, position in sorted(keys)]


@pytest.mark.parametrize(("seed", "epoch"), [(0, 0), (3, 1), (2**40 + 5, 2**33 + 1)])
def test_order_equals_a_plain_twin(seed: int, epoch: int) -> None:
    import zlib

    wanted = plain_permutation(seed, epoch, 29, zlib.crc32(b"order"))
    flat = [row for batch in batches_of(29, 8, epoch, seed=seed) for row in batch]
    assert flat == wanted


def test_order_has_a_seed_of_its_own() -> None:
    assert batches_of(20, 5, 0, seed=1) != batches_of(20, 5, 0, seed=2)
    assert batches_of(20, 5, 0, seed=1, stream_seeds={"order": 2}) == batches_of(20, 5, 0, seed=2)
    assert batches_of(20, 5, 0) != batches_of(20, 5, 1)


def test_learning_rates() -> None:
    constant = TrainingSpec(learning_rate=0.3)
    assert {learning_rate(constant, step, 7) for step in (0, 1, 700)} == {0.3}
    by_epoch = TrainingSpec(learning_rate=0.1, schedule="exponential", decay=0.5)
    assert [learning_rate(by_epoch, step, 3) for step in range(7)] == [0.1] * 3 + [0.05] * 3 + [0.025]
    by_steps = TrainingSpec(learning_rate=0.1, schedule="exponential", decay=0.5, decay_steps=2)
    assert [learning_rate(by_steps, step, 3) for step in range(5)] == [0.1, 0.1, 0.05, 0.05, 0.025]


@pytest.mark.parametrize(
    ("per_decade", "wanted"),
    [
        (0, []),
        (1, [0, 1, 10, 100]),
        (2, [0, 1, 3, 10, 32, 100]),
        (4, [0, 1, 2, 3, 6, 10, 18, 32, 56, 100, 178]),
    ],
)
def test_log_spaced_steps(per_decade: int, wanted: list[int]) -> None:
    assert sorted(log_spaced_steps(MeasureSpec(points_per_decade=per_decade), 200)) == wanted


@given(per_decade=some.integers(1, 20), budget=some.integers(1, 10**6))
def test_log_spaced_steps_stay_within_the_budget(per_decade: int, budget: int) -> None:
    steps = log_spaced_steps(MeasureSpec(points_per_decade=per_decade), budget)
    assert {0, 1} <= steps and max(steps) <= budget
    tens = {10**power for power in range(7) if 10**power <= budget}
    assert tens <= steps


def test_snapshots_of_epochs() -> None:
    def due(every: int, steps: int = 13) -> list[int]:
        measures = MeasureSpec(points_per_decade=0, every_epochs=every)
        return [step for step in range(steps) if is_snapshot(measures, frozenset(), step, 3)]

    assert due(0) == []
    assert due(1) == [0, 3, 6, 9, 12]
    assert due(2) == [0, 6, 12]
