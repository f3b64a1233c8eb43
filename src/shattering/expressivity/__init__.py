"""Finite-sample expressivity: networks that fit any labels of their points, written down instead of trained."""

from shattering.expressivity.classes import class_scores, rounded
from shattering.expressivity.deep import DeepMemoriser, construct_deep, memorise_deep
from shattering.expressivity.points import Sample, Sorted, distinct_points, separate
from shattering.expressivity.triangular import condition, eigenvalues, relu_matrix, solve
from shattering.expressivity.two_layer import Construction, TwoLayerMemoriser, construct, memorise

__all__ = [
    "Construction",
    "DeepMemoriser",
    "Sample",
    "Sorted",
    "TwoLayerMemoriser",
    "class_scores",
    "condition",
    "construct",
    "construct_deep",
    "distinct_points",
    "eigenvalues",
    "memorise",
    "memorise_deep",
    "relu_matrix",
    "rounded",
    "separate",
    "solve",
]
