"""Trainings on random subsets of the subject's data, each tested on what it left out: what several checks rest on."""

from __future__ import annotations

from shattering.checks.registry import Subject
from shattering.core.spec import RunSpec

FRACTION = 0.7
"""Of the training examples that each run is given, as Feldman & Zhang (2020) chose; the rest is held out."""

MEASURES = ("accuracy", "learning_dynamics", "tested_outputs", "tested_dynamics")


def subset_runs(subject: Subject, count: int) -> list[RunSpec]:
    """``count`` trainings like the subject's, each on a random 70% of its training examples.

    Run k has seed k in everything, in the choice of the subset too (stream ``subset``), so that the runs for a smaller
    count are the first of those for a larger one, and checks that ask for them share them. Each is tested on the
    training examples that it left out, first and with their given labels, and then on the test split. Its record has
    ``prediction`` and the columns of `learning_dynamics` for the examples trained on, and those of `tested_outputs`
    and `tested_dynamics` for the others.

    Args:
        subject: what is audited.
        count: how many, at least 0.

    Returns:
        The specs, seeds 1 … count.
    """
    base, examples = subject.base, len(subject.splits.train)
    size = max(2, round(FRACTION * examples))
    data = base.data.model_copy(update={"train_size": size, "tested_on": "both"})
    training = base.training.model_copy(update={"batch_size": min(base.training.batch_size, size)})
    measured = base.measures.model_copy(update={"names": MEASURES})
    update = {"data": data, "training": training, "measures": measured}
    return [base.model_copy(update={**update, "seed": seed}) for seed in range(1, count + 1)]
