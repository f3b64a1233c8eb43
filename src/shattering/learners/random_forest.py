"""A random forest: many trees that see other examples and other features, and vote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from shattering.core.spec import Truth
from shattering.learners.decision_tree import tree_bytes
from shattering.learners.registry import Fitted, Material, learner
from shattering.learners.scikit import Count, Leaves, scorer, seed_of, tree_weights

TREES_AT_ONCE = 5
"""Trees between two questions whether to stop. Growing a forest in parts changes none of its trees."""


def forest_bytes(train: int, test: int, features: int, classes: int, fields: Mapping[str, Any]) -> float:
    """Memory of all trees."""
    return int(fields.get("trees", 100)) * tree_bytes(train, test, features, classes, fields)


@learner(
    summary="a random forest, its trees grown until their leaves are pure",
    paper="Breiman (2001)",
    units={
        "trees": "trees",
        "leaves": "leaves",
        "depth": "splits",
        "nodes": "nodes",
        "leaves_per_tree": "leaves",
        "leaves_per_example": "leaves",
    },
    growth=1.3,
    memory=forest_bytes,
)
def random_forest(
    material: Material,
    *,
    trees: Count = 100,
    bootstrap: Truth = True,
    features: Literal["sqrt", "log2", "all"] = "sqrt",
    criterion: Literal["gini", "entropy"] = "gini",
    max_depth: Count | None = None,
    max_leaves: Leaves | None = None,
    min_leaf: Count = 1,
) -> Fitted:
    """Trees whose splits are the best among a few features drawn anew for each split (scikit-learn's).

    Chance: the examples of each tree and the features of each split (stream ``forest``). With the bootstrap a tree
    sees about 63% of the examples, drawn with replacement, so that an example's label is known to two trees of three;
    without it every tree fits every label. The scores are the trees' mean.

    Args:
        material: what to learn from.
        trees: number of trees.
        bootstrap: whether each tree gets a sample of its own, as large as the data, or all of the data.
        features: features looked at for a split.
        criterion: impurity that a split lowers most.
        max_depth: splits between root and leaf at most; none: no limit.
        max_leaves: leaves of a tree at most, the best splits first; none: no limit.
        min_leaf: training examples in a leaf at least.

    Returns:
        Facts: ``trees``; ``leaves`` and ``nodes`` of all trees together; ``leaves_per_tree`` and ``depth``, means over
        the trees; ``leaves_per_example``, leaves of a mean tree / n, in (0, 1].
    """
    import numpy as np
    from sklearn.ensemble import RandomForestClassifier

    estimator = RandomForestClassifier(
        bootstrap=bootstrap,
        max_features=None if features == "all" else features,
        criterion=criterion,
        max_depth=max_depth,
        max_leaf_nodes=max_leaves,
        min_samples_leaf=min_leaf,
        random_state=seed_of(material, "forest"),
        n_jobs=1,
        warm_start=True,
    )
    for grown in (*range(TREES_AT_ONCE, trees, TREES_AT_ONCE), trees):
        with material.desk.waiting():
            estimator.set_params(n_estimators=grown).fit(material.rows, material.labels)
        material.desk.told(grown, trees)
    leaves = [int(tree.get_n_leaves()) for tree in estimator.estimators_]
    return Fitted(
        scores=scorer(material, estimator.classes_, estimator.predict_proba),
        facts={
            "trees": trees,
            "leaves": sum(leaves),
            "depth": float(np.mean([tree.get_depth() for tree in estimator.estimators_])),
            "nodes": sum(int(tree.tree_.node_count) for tree in estimator.estimators_),
            "leaves_per_tree": sum(leaves) / trees,
            "leaves_per_example": sum(leaves) / trees / len(material.labels),
        },
        weights={"classes": estimator.classes_, **tree_weights(estimator.estimators_)},
    )
