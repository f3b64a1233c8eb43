"""Whether the label is among the first five guesses, as ImageNet is scored."""

from __future__ import annotations

from shattering.measures.registry import Probe, measure

GUESSES = 5


@measure(
    units={"train_top5_accuracy": "1", "test_top5_accuracy": "1"},
    paper="Russakovsky et al. (2015), Section 4.1; Zhang et al. (2017), Table 2",
)
def top5(probe: Probe) -> dict[str, float]:
    """Fraction of examples whose label is among the five classes with the largest outputs, in evaluation mode.

    On the training set against the labels trained on, on the test set against clean ones. At least the accuracy, and
    1 where there are five classes or fewer; guessing among k classes gives 5/k. The best test accuracy so far, which
    the paper prints in parentheses, is the largest over a run's snapshots.
    """
    train, test = probe.ranks()
    return {
        "train_top5_accuracy": float((train < GUESSES).double().mean()),
        "test_top5_accuracy": float((test < GUESSES).double().mean()),
    }
