"""What the learners of scikit-learn share: seeds from the run's streams, a column of scores for each class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field as Bound

from shattering.core.spec import Number, Whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from shattering.learners.registry import Material

Count = Annotated[Whole, Bound(ge=1)]
"""A number of examples, trees, rounds or neighbours."""

Leaves = Annotated[Whole, Bound(ge=2)]
"""A greatest number of leaves; a tree of one leaf has nothing to learn."""

Rate = Annotated[Number, Bound(gt=0, le=1)]
"""By how much each round's trees are shrunk."""

SCORED_AT_ONCE = 2000
"""Rows between two questions whether to stop."""

NODE_BYTES = 84
"""Of a tree's node: 64 in scikit-learn, and what `tree_weights` copies."""

NODE_CLASS_BYTES = 16
"""Of a tree's node for each class, in scikit-learn and in `tree_weights`."""

NODES_PER_EXAMPLE = 1.2
"""Of a tree that fits random labels; measured between 0.7 and 1.1 on MNIST and CIFAR-10. The bound is 2."""


def seed_of(material: Material, purpose: str) -> int:
    """A seed for scikit-learn's generator, which takes 32 bits, from the run's stream ``purpose``."""
    return material.stream(purpose).integer() % 2**32


def scorer(
    material: Material, classes: Sequence[int], probabilities: Callable[[NDArray[np.float32]], NDArray[np.float64]]
) -> Callable[[NDArray[np.float32]], NDArray[np.float64]]:
    """Scores of all classes from an estimator that knows only those it was shown.

    Args:
        material: says how many classes there are, and has the desk.
        classes: the classes that the columns of ``probabilities`` stand for.
        probabilities: ``[n, features] -> [n, len(classes)]``, in [0, 1].

    Returns:
        A function from inputs to float64 ``[n, num_classes]``; classes never shown have 0.
    """
    import numpy as np

    # Without the material itself, whose inputs would stay in memory as long as the function.
    desk, num_classes, columns = material.desk, material.num_classes, np.asarray(classes, dtype=np.int64)

    def scores(inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        rows = inputs.reshape(len(inputs), -1)
        found = np.zeros((len(rows), num_classes))
        for first in range(0, len(rows), SCORED_AT_ONCE):
            desk.should_stop()
            part = slice(first, first + SCORED_AT_ONCE)
            found[part, columns] = probabilities(rows[part])
        return found

    return scores


def tree_weights(estimators: Sequence[Any]) -> dict[str, NDArray[Any]]:
    """What defines the function of decision trees, one tree's nodes after another's.

    Returns:
        ``nodes``: number of nodes of each tree; ``feature``, ``threshold``, ``left``, ``right``: of each node, negative
        at leaves; ``value``: distribution over the classes shown, ``[nodes, classes]``.
    """
    import numpy as np

    trees = [estimator.tree_ for estimator in estimators]
    return {
        "nodes": np.array([tree.node_count for tree in trees], dtype=np.int64),
        "feature": np.concatenate([tree.feature.astype(np.int32) for tree in trees]),
        "threshold": np.concatenate([tree.threshold for tree in trees]),
        "left": np.concatenate([tree.children_left.astype(np.int32) for tree in trees]),
        "right": np.concatenate([tree.children_right.astype(np.int32) for tree in trees]),
        "value": np.concatenate([tree.value[:, 0, :] for tree in trees]),
    }
