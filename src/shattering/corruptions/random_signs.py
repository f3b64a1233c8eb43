"""Labels that are random signs, by which the Rademacher complexity of a class of functions is measured."""

from __future__ import annotations

from collections.abc import Callable

from shattering.core.streams import Stream, uniform_classes
from shattering.corruptions.registry import corruption, relabel
from shattering.data.dataset import Dataset


@corruption(paper="Zhang et al. (2017), Section 2.2", changes="labels", test_set="untouched")
def random_signs(dataset: Dataset, stream: Callable[[str], Stream]) -> Dataset:
    """Replaces every training label by class 0 or class 1, each with probability one half: σ = -1 or 1.

    The signs σᵢ of the empirical Rademacher complexity E_σ sup_h (1/n) Σ σᵢ h(xᵢ). Word 1 of the stream ``labels`` at
    index i decides for example i. The number of classes stays, so the network keeps its outputs, of which training
    soon leaves all but two aside; data of two classes get what ``random_labels`` gives them.

    Args:
        dataset: a training split.
        stream: gives the stream ``labels``.
    """
    return relabel(dataset, uniform_classes(stream("labels").words(dataset.source_indices)[:, 1], 2))
