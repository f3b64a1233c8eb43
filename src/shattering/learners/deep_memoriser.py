"""Corollary 1 as a learner: the memorising network at any depth."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field as Bound

from shattering.core.spec import Whole
from shattering.learners.registry import Fitted, Material, learner
from shattering.learners.two_layer_memoriser import UNITS, fitted


@learner(
    summary="the same at depth k, with width O(n/k) and O(n+d) weights",
    paper="Zhang et al. (2017), Corollary 1",
    units={**UNITS, "depth": "layers", "width": "units", "connections": "weights"},
)
def deep_memoriser(material: Material, *, depth: Annotated[Whole, Bound(ge=2)] = 3) -> Fitted:
    """The ReLU network of Corollary 1, with the class's number as its real-valued output.

    ``weights`` counts the numbers to choose, ``2n + d + 1``; ``connections`` all weights and biases of the graph, those
    that are always 1 or -1 included; ``width`` the units of the widest hidden layer. Training and test scores are those
    of the network evaluated layer by layer. The rest is as for `two_layer_memoriser`.

    Args:
        material: training examples; exact copies with one label are merged, those with two are refused.
        depth: k, the number of layers: k - 1 hidden ones and the output.
    """
    from shattering.expressivity import construct_deep

    material.desk.told(0, 3)
    made = construct_deep(material.rows, material.labels, depth, stream=material.stream("direction"))
    material.desk.told(1, 3)
    model = made.model
    return fitted(material, made, {"depth": model.depth, "width": model.width, "connections": model.connections})
