"""A decision tree, grown until its leaves are pure: it memorises by making leaves, which can be counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from shattering.learners.registry import Fitted, Material, learner
from shattering.learners.scikit import (
    NODE_BYTES,
    NODE_CLASS_BYTES,
    NODES_PER_EXAMPLE,
    Count,
    Leaves,
    scorer,
    seed_of,
    tree_weights,
)


def tree_bytes(train: int, test: int, features: int, classes: int, fields: Mapping[str, Any]) -> float:
    """Memory of one tree that makes a leaf for nearly every second example."""
    return NODES_PER_EXAMPLE * train * (NODE_BYTES + NODE_CLASS_BYTES * classes)


@learner(
    summary="a decision tree, grown until its leaves are pure",
    paper="Breiman, Friedman, Olshen & Stone (1984)",
    units={"leaves": "leaves", "depth": "splits", "nodes": "nodes", "leaves_per_example": "leaves"},
    growth=1.3,
    memory=tree_bytes,
)
def decision_tree(
    material: Material,
    *,
    criterion: Literal["gini", "entropy"] = "gini",
    max_depth: Count | None = None,
    max_leaves: Leaves | None = None,
    min_leaf: Count = 1,
) -> Fitted:
    """A classification tree of axis-parallel splits, each the best by the criterion (scikit-learn's).

    Chance decides only between splits of equal merit (stream ``tree``). Without a limit the tree goes on until each
    leaf holds one class, and so fits any labels of examples that differ from each other; the number of its leaves is
    the price. The scores are the shares of the classes in an example's leaf.

    Args:
        material: what to learn from.
        criterion: impurity that a split lowers most.
        max_depth: splits between root and leaf at most; none: no limit.
        max_leaves: leaves at most, the best splits first; none: no limit.
        min_leaf: training examples in a leaf at least.

    Returns:
        Facts: ``leaves`` (1 to the number of examples), ``depth`` (splits above the deepest leaf), ``nodes``
        (2·leaves - 1), ``leaves_per_example`` (leaves / n, in (0, 1]; 1: a leaf for each example).
    """
    from sklearn.tree import DecisionTreeClassifier

    estimator = DecisionTreeClassifier(
        criterion=criterion,
        max_depth=max_depth,
        max_leaf_nodes=max_leaves,
        min_samples_leaf=min_leaf,
        random_state=seed_of(material, "tree"),
    )
    with material.desk.waiting():
        estimator.fit(material.rows, material.labels)
    leaves = int(estimator.get_n_leaves())
    return Fitted(
        scores=scorer(material, estimator.classes_, estimator.predict_proba),
        facts={
            "leaves": leaves,
            "depth": int(estimator.get_depth()),
            "nodes": int(estimator.tree_.node_count),
            "leaves_per_example": leaves / len(material.labels),
        },
        weights={"classes": estimator.classes_, **tree_weights([estimator])},
    )
