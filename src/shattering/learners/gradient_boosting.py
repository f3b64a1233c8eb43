"""Gradient boosting: small trees, added round by round where the sum of those before is still wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field as Bound

from shattering.core.spec import Truth, Whole
from shattering.learners.registry import Fitted, Material, learner
from shattering.learners.scikit import Count, Leaves, Rate, scorer, seed_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ROUNDS_AT_ONCE = 5
"""Rounds between two looks at the training error."""

HISTOGRAM_BYTES = 20
"""Of a bin: two sums in float64 and a count."""

Bins = Annotated[Whole, Bound(ge=2, le=255)]


def boosting_bytes(train: int, test: int, features: int, classes: int, fields: Mapping[str, Any]) -> float:
    """The examples as float64 and as bins, in two orders, and a histogram of each feature for each leaf."""
    leaves, bins = int(fields.get("leaves", 31)), int(fields.get("bins", 255))
    return 10.0 * train * features + HISTOGRAM_BYTES * features * (bins + 1) * leaves + 32.0 * train * classes


@learner(
    summary="gradient boosting of small trees on binned features",
    paper="Friedman (2001)",
    units={
        "rounds": "rounds",
        "rounds_to_fit": "rounds",
        "trees": "trees",
        "leaves": "leaves",
        "depth": "splits",
        "leaves_per_example": "leaves",
    },
    growth=1.0,
    memory=boosting_bytes,
)
def gradient_boosting(
    material: Material,
    *,
    rounds: Count = 200,
    learning_rate: Rate = 0.1,
    leaves: Leaves = 31,
    min_leaf: Count = 20,
    bins: Bins = 255,
    stop_when_fitted: Truth = True,
) -> Fitted:
    """Trees fitted to the gradient of the cross-entropy, one for each class and round (scikit-learn's histograms).

    Nothing is held out, and nothing is stopped early but for the training error: the training set is looked at every
    `ROUNDS_AT_ONCE` rounds. The scores are the probabilities. No chance has a part in it below 200,000 examples,
    where the bins are found on a sample (stream ``boosting``).

    Args:
        material: what to learn from.
        rounds: rounds at most.
        learning_rate: factor on each tree, in (0, 1].
        leaves: of a tree, at most.
        min_leaf: training examples in a leaf at least.
        bins: values that a feature is rounded to, quantiles of its distribution.
        stop_when_fitted: whether to end when no training example is classified wrongly.

    Returns:
        Facts: ``rounds``; ``rounds_to_fit``, the first after which the training error is 0 (absent where it never
        is); ``trees``, ``leaves`` in all trees; ``depth``, mean over trees; ``leaves_per_example``, leaves of all
        trees / n, without an upper bound.
    """
    import numpy as np
    from sklearn.ensemble import HistGradientBoostingClassifier

    estimator = HistGradientBoostingClassifier(
        learning_rate=learning_rate,
        max_leaf_nodes=leaves,
        min_samples_leaf=min_leaf,
        max_bins=bins,
        early_stopping=False,
        random_state=seed_of(material, "boosting"),
        warm_start=True,
    )
    rows, labels, fit_round = material.rows, material.labels, None
    for done in (*range(ROUNDS_AT_ONCE, rounds, ROUNDS_AT_ONCE), rounds):
        with material.desk.waiting():
            estimator.set_params(max_iter=done).fit(rows, labels)
            fitted = bool(np.array_equal(estimator.predict(rows), labels))
        material.desk.told(done, rounds)
        if fitted and fit_round is None:
            with material.desk.waiting():
                fit_round = _first_fit(estimator, rows, labels)
            if stop_when_fitted:
                break
    # scikit-learn shows its boosted trees nowhere else.
    trees = [tree for one_round in estimator._predictors for tree in one_round]
    total = sum(int(tree.get_n_leaf_nodes()) for tree in trees)
    facts: dict[str, float | int] = {
        "rounds": int(estimator.n_iter_),
        "trees": len(trees),
        "leaves": total,
        "depth": float(np.mean([tree.get_max_depth() for tree in trees])),
        "leaves_per_example": total / len(labels),
    }
    if fit_round is not None:
        facts["rounds_to_fit"] = fit_round
    classes = len(estimator.classes_)
    return Fitted(
        scores=scorer(material, estimator.classes_, lambda part: estimator.predict_proba(part)[:, :classes]),
        facts=facts,
        weights={"classes": estimator.classes_, **_weights(estimator, trees)},
    )


def _first_fit(estimator: Any, rows: NDArray[np.float32], labels: NDArray[np.int64]) -> int:
    """The first round after which every training example is classified as labelled."""
    for number, predicted in enumerate(estimator.staged_predict(rows), start=1):
        if (predicted == labels).all():
            return number
    return int(estimator.n_iter_)


def _weights(estimator: Any, trees: list[Any]) -> dict[str, NDArray[Any]]:
    """What defines the function: the nodes of all trees, one tree's after another's."""
    import numpy as np

    nodes = np.concatenate([tree.nodes for tree in trees])
    return {
        "baseline": np.asarray(estimator._baseline_prediction, dtype=np.float64),
        "nodes": np.array([len(tree.nodes) for tree in trees], dtype=np.int64),
        "feature": nodes["feature_idx"].astype(np.int64),
        "threshold": nodes["num_threshold"].astype(np.float64),
        "left": nodes["left"].astype(np.int64),
        "right": nodes["right"].astype(np.int64),
        "is_leaf": nodes["is_leaf"].astype(np.uint8),
        "value": nodes["value"].astype(np.float64),
    }
