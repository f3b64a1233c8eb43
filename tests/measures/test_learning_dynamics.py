"""Margins, confidence and forgetting over a training, beside the plainest way to compute them."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from shattering.data.dataset import Splits
from shattering.execution.run import execute
from shattering.measures.learning_dynamics import by_class, folded, margins, probabilities
from tiny_runs import digits, stop_at_step, stopped_and_resumed, tiny_spec

EXAMPLES, CLASSES, SNAPSHOTS = 30, 4, 7
NAMES = ("accuracy", "learning_dynamics", "tested_outputs", "tested_dynamics")


@pytest.fixture
def history() -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(3)
    labels = draw.integers(CLASSES, size=EXAMPLES)
    outputs = draw.normal(size=(SNAPSHOTS, EXAMPLES, CLASSES))
    outputs[:, 0, :] = 0.0
    outputs[:, 0, labels[0]] = -1.0  # never right
    outputs[:, 1, labels[1]] += 10.0  # always
    return outputs, labels


def slowly(history: np.ndarray, label: int) -> dict[str, float]:
    """One example's columns, from the outputs of all snapshots."""
    lead, chance, right = [], [], []
    for outputs in history:
        others = [value for place, value in enumerate(outputs) if place != label]
        lead.append(outputs[label] - max(others))
        chance.append(math.exp(outputs[label]) / sum(math.exp(value) for value in outputs))
        right.append(lead[-1] > 0)
    count = len(history)
    mean = sum(chance) / count
    forgotten = sum(before and not after for before, after in pairwise(right))
    return {
        "looks": count,
        "margin_area": sum(lead) / count,
        "confidence": mean,
        "variability": math.sqrt(sum((value - mean) ** 2 for value in chance) / count),
        "correctness": sum(right) / count,
        "forgetting": forgotten if any(right) else count,
        "right": right[-1],
    }


def test_folding_agrees_with_the_plain_way(history) -> None:
    outputs, labels = history
    columns = folded(None, labels)
    for snapshot in outputs:
        columns = folded(snapshot, labels, columns)

    for example in range(EXAMPLES):
        for name, value in slowly(outputs[:, example], labels[example]).items():
            assert columns[name][example] == pytest.approx(value, rel=1e-10, abs=1e-12), name
    assert columns["forgetting"][0] == SNAPSHOTS
    assert columns["forgetting"][1] == 0
    assert columns["correctness"].max() == 1


def test_renaming_the_classes_changes_nothing(history) -> None:
    outputs, labels = history
    order = np.array([2, 0, 3, 1])  # class c becomes order[c]
    renamed = np.empty_like(outputs)
    renamed[:, :, order] = outputs
    first = second = None
    for before, after in zip(outputs, renamed, strict=True):
        first, second = folded(before, labels, first), folded(after, order[labels], second)

    assert first is not None and second is not None
    for name in first:
        np.testing.assert_allclose(second[name], first[name], rtol=1e-12)


def test_a_single_output_becomes_two() -> None:
    outputs = by_class(np.array([[0.5], [-2.0]]))

    assert margins(outputs, np.array([1, 1])).tolist() == [1.0, -4.0]
    assert probabilities(outputs).sum(axis=1) == pytest.approx(1)
    assert by_class(outputs) is outputs


def test_a_resumed_training_keeps_what_it_has_seen() -> None:
    whole = digits()
    splits = Splits(whole.train.take(np.arange(96)), whole.test.take(np.arange(20)))
    spec = tiny_spec(data__tested_on="both", data__test_size=None, measures__names=NAMES)

    straight = execute(spec, splits)[0]
    again = stopped_and_resumed(spec, stop_at_step(9), splits)

    assert again is not None
    assert len(straight.tested["left_out"]) == 96 - 64 + 20
    means = np.column_stack([straight.tested[f"mean_probability_{place}"] for place in range(10)])
    assert means.sum(axis=1) == pytest.approx(1)
    assert straight.tested["test_looks"][0] == len(straight.rows) - 1  # all but the untrained network
    for kept, resumed in ((straight.tested, again.tested), (straight.examples, again.examples)):
        assert kept.keys() == resumed.keys()
        assert all(np.array_equal(kept[name], resumed[name]) for name in kept)
