"""The labels of the training examples, dealt out anew: what a permutation test refits a network on."""

from __future__ import annotations

from collections.abc import Callable

from shattering.core.streams import Stream
from shattering.corruptions.registry import corruption, relabel
from shattering.data.dataset import Dataset


@corruption(
    paper="Fisher (1935), The Design of Experiments; for classifiers Ojala & Garriga (2010), Test 1",
    changes="labels",
    test_set="untouched",
    joint=True,
)
def permuted_labels(dataset: Dataset, stream: Callable[[str], Stream]) -> Dataset:
    """Gives each training example the label of another one, by a random permutation: class counts stay as they are.

    Unlike ``random_labels``, which draws classes anew, this keeps everything about the labels but what they belong to,
    so under the hypothesis that labels have nothing to do with inputs the labels as they are and any permutation of
    them are equally likely. Training example j, in the order of the training set at hand, gets the label that stands
    at position ``permutation[j]`` there, by the permutation of the stream ``label-permutation`` at index 0 over as many
    positions as there are examples. Of a subset only the labels in it are dealt out.

    Args:
        dataset: a training split.
        stream: gives the stream ``label-permutation``.
    """
    order = stream("label-permutation").permutation(len(dataset))
    return relabel(dataset, dataset.original_labels[order])
