"""Trees, forests, boosting and neighbours: what they memorise, and that their size is counted rightly."""

from __future__ import annotations

import numpy as np
import pytest

from shattering.core.errors import SpecError
from shattering.core.streams import Stream
from shattering.learners.decision_tree import decision_tree
from shattering.learners.gradient_boosting import ROUNDS_AT_ONCE, gradient_boosting
from shattering.learners.nearest_neighbours import nearest_neighbours
from shattering.learners.random_forest import random_forest
from shattering.learners.registry import Fitted, Material

EXAMPLES, CLASSES = 200, 4


def noise(seed: int = 0, examples: int = EXAMPLES) -> Material:
    """Gaussian inputs and labels that have nothing to do with them."""
    generator = np.random.default_rng(seed)
    inputs = generator.standard_normal((examples, 6)).astype(np.float32)
    return Material(inputs, generator.integers(CLASSES, size=examples), CLASSES, lambda purpose: Stream(seed, purpose))


def signal(seed: int = 0) -> Material:
    """The same inputs; the class is told by the signs of two features."""
    material = noise(seed)
    labels = (material.inputs[:, 0] > 0) + 2 * (material.inputs[:, 1] > 0).astype(np.int64)
    return Material(material.inputs, labels, CLASSES, material.stream)


def train_accuracy(result: Fitted, material: Material) -> float:
    return float((result.scores(material.inputs).argmax(axis=1) == material.labels).mean())


def walked(weights: dict, inputs: np.ndarray, tree: int) -> np.ndarray:
    """One tree's distributions by following its nodes, one example at a time."""
    first = int(weights["nodes"][:tree].sum())
    found = []
    for row in inputs:
        node = 0
        while weights["left"][first + node] >= 0:
            at = first + node
            side = "left" if row[weights["feature"][at]] <= weights["threshold"][at] else "right"
            node = int(weights[side][at])
        found.append(weights["value"][first + node])
    return np.array(found)


def test_a_tree_memorises_noise_at_the_price_of_leaves() -> None:
    random, true = decision_tree(noise()), decision_tree(signal())

    assert train_accuracy(random, noise()) == train_accuracy(true, signal()) == 1.0
    assert random.facts["leaves"] > 10 * true.facts["leaves"]
    assert random.facts["depth"] > true.facts["depth"]
    assert true.facts["leaves"] == 4
    assert true.facts["depth"] == 2


def test_a_tree_of_one_class_is_a_leaf() -> None:
    material = noise()
    result = decision_tree(Material(material.inputs, np.full(EXAMPLES, 2), CLASSES, material.stream))

    assert result.facts == {"leaves": 1, "depth": 0, "nodes": 1, "leaves_per_example": 1 / EXAMPLES}
    np.testing.assert_array_equal(result.scores(material.inputs), np.tile([0.0, 0, 1, 0], (EXAMPLES, 1)))


def test_a_leaf_for_each_example_where_neighbours_never_agree() -> None:
    """On a line, with labels that alternate, no two examples can share a leaf."""
    line = np.arange(32, dtype=np.float32)[:, None]
    result = decision_tree(Material(line, np.arange(32) % 2, 2, lambda purpose: Stream(0, purpose)))

    assert result.facts["leaves_per_example"] == 1.0
    assert result.facts["nodes"] == 63


@pytest.mark.parametrize(
    ("fields", "fact", "most"),
    [({"max_depth": 3}, "depth", 3), ({"max_leaves": 9}, "leaves", 9), ({"min_leaf": 20}, "leaves", 10)],
)
def test_a_tree_that_is_held_back_does_not_memorise(fields, fact, most) -> None:
    result = decision_tree(noise(), **fields)

    assert result.facts[fact] <= most
    assert train_accuracy(result, noise()) < 0.8


def test_twins_with_two_labels_cannot_both_be_fitted() -> None:
    material = noise()
    inputs, labels = material.inputs.copy(), material.labels.copy()
    inputs[1], labels[:2] = inputs[0], (0, 1)
    twins = Material(inputs, labels, CLASSES, material.stream)

    for result in (decision_tree(twins), nearest_neighbours(twins)):
        assert train_accuracy(result, twins) == 1 - 1 / EXAMPLES


def test_the_weights_are_the_tree() -> None:
    for result in (decision_tree(noise()), random_forest(noise(), trees=7)):
        others = noise(seed=1).inputs
        trees = [walked(result.weights, others, tree) for tree in range(len(result.weights["nodes"]))]

        np.testing.assert_allclose(result.scores(others), np.mean(trees, axis=0), rtol=0, atol=1e-12)


def test_a_forest_grown_in_parts_is_the_forest_grown_at_once() -> None:
    from sklearn.ensemble import RandomForestClassifier

    material = noise()
    seed = material.stream("forest").integer() % 2**32
    whole = RandomForestClassifier(12, random_state=seed).fit(material.rows, material.labels)

    result = random_forest(material, trees=12)

    np.testing.assert_array_equal(result.scores(material.inputs), whole.predict_proba(material.rows))
    assert result.facts["trees"] == 12
    assert result.facts["leaves_per_tree"] == pytest.approx(result.facts["leaves"] / 12)


def test_every_tree_of_a_forest_without_bootstrap_memorises() -> None:
    material = noise()
    result = random_forest(material, trees=5, bootstrap=False)

    for tree in range(5):
        assert (walked(result.weights, material.inputs, tree).argmax(axis=1) == material.labels).all()
    sampled = random_forest(material, trees=1)
    assert 0.5 < train_accuracy(sampled, material) < 0.95
    assert result.facts["leaves_per_tree"] > sampled.facts["leaves_per_tree"]


def test_boosting_stops_where_nothing_is_wrong() -> None:
    result = gradient_boosting(noise(), bins=32)

    assert train_accuracy(result, noise()) == 1.0
    assert result.facts["rounds"] - ROUNDS_AT_ONCE < result.facts["rounds_to_fit"] <= result.facts["rounds"] < 200
    assert result.facts["trees"] == CLASSES * result.facts["rounds"]


def test_the_round_of_the_fit_is_the_first() -> None:
    material = noise()
    rounds = int(gradient_boosting(material).facts["rounds_to_fit"])

    before, at, after = (gradient_boosting(material, rounds=rounds + more) for more in (-1, 0, 1))

    assert "rounds_to_fit" not in before.facts
    assert train_accuracy(before, material) < 1.0
    assert at.facts["rounds_to_fit"] == after.facts["rounds_to_fit"] == rounds


def test_boosting_goes_on_where_it_is_asked_to() -> None:
    result = gradient_boosting(signal(), rounds=32, stop_when_fitted=False)

    assert result.facts["rounds"] == 32
    assert result.facts["rounds_to_fit"] < gradient_boosting(noise()).facts["rounds_to_fit"]


@pytest.mark.parametrize("threads", [1, 2])
def test_boosting_does_not_depend_on_threads(threads) -> None:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(threads):
        found = gradient_boosting(noise(), rounds=3, bins=16).weights
    with threadpool_limits(1):
        alone = gradient_boosting(noise(), rounds=3, bins=16).weights

    for name, array in alone.items():
        np.testing.assert_array_equal(found[name], array)


def test_boosting_grows_on_a_single_class() -> None:
    material = noise()
    result = gradient_boosting(Material(material.inputs, np.full(EXAMPLES, 2), CLASSES, material.stream))

    assert (result.scores(material.inputs).argmax(axis=1) == 2).all()


def test_one_neighbour_memorises_and_many_vote() -> None:
    material = noise()

    assert train_accuracy(nearest_neighbours(material), material) == 1.0
    assert train_accuracy(nearest_neighbours(material, neighbours=15), material) < 0.6


@pytest.mark.parametrize("neighbours", [1, 4])
def test_neighbours_are_the_nearest(neighbours) -> None:
    material, others = noise(), noise(seed=1).inputs
    distances = ((others[:, None, :].astype(float) - material.inputs[None]) ** 2).sum(axis=-1)
    nearest = np.argsort(distances, axis=1)[:, :neighbours]
    shares = np.eye(CLASSES)[material.labels[nearest]].mean(axis=1)

    np.testing.assert_allclose(nearest_neighbours(material, neighbours=neighbours).scores(others), shares, atol=1e-12)


def test_more_neighbours_than_examples_are_refused() -> None:
    with pytest.raises(SpecError) as caught:
        nearest_neighbours(noise(examples=10), neighbours=11)

    assert caught.value.identifier == "learner-too-many-neighbours"


def test_progress_is_told_and_seeds_matter() -> None:
    told = []
    material = noise()
    desk = type(material.desk)(tell=lambda done, total: told.append((done, total)))
    random_forest(Material(material.inputs, material.labels, CLASSES, material.stream, desk=desk), trees=12)

    assert told == [(5, 12), (10, 12), (12, 12)]
    one, other = (
        random_forest(
            Material(material.inputs, material.labels, CLASSES, lambda purpose, seed=seed: Stream(seed, purpose)),
            trees=3,
        )
        for seed in (0, 1)
    )
    assert not np.array_equal(one.weights["threshold"], other.weights["threshold"])
