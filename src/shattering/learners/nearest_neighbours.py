"""Nearest neighbours: with one neighbour, memory itself."""

from __future__ import annotations

from shattering.core.errors import SpecError
from shattering.learners.registry import Fitted, Material, learner
from shattering.learners.scikit import Count, scorer


@learner(
    summary="the majority among the nearest training examples",
    paper="Cover & Hart (1967)",
    units={"neighbours": "examples", "stored_numbers": "numbers"},
    growth=2.0,
)
def nearest_neighbours(material: Material, *, neighbours: Count = 1) -> Fitted:
    """The classes of the nearest training examples by Euclidean distance, all of them asked (no index).

    With one neighbour every training example finds itself, so any labels of distinct examples are fitted by
    construction; with more, a training example is outvoted where its neighbours disagree with it. The scores are the
    shares of the classes among the neighbours; of equal shares the lowest class wins. Nothing is random.

    Args:
        material: what to learn from.
        neighbours: how many are asked, from 1 to the number of training examples.

    Returns:
        Facts: ``neighbours``; ``stored_numbers``, features · n, for the data are the model.

    Raises:
        SpecError: ``learner-too-many-neighbours``.
    """
    from sklearn.neighbors import KNeighborsClassifier

    rows, labels = material.rows, material.labels
    if neighbours > len(rows):
        raise SpecError(
            "learner-too-many-neighbours",
            f"model.fields.neighbours={neighbours} but there are {len(rows)} training examples; ask for no more "
            "neighbours than examples.",
        )
    estimator = KNeighborsClassifier(n_neighbors=neighbours, algorithm="brute", n_jobs=1)
    with material.desk.waiting():
        estimator.fit(rows, labels)
    return Fitted(
        scores=scorer(material, estimator.classes_, estimator.predict_proba),
        facts={"neighbours": neighbours, "stored_numbers": int(rows.size)},
        weights={"examples": rows, "labels": labels},
    )
