"""Going on where another run was."""

from __future__ import annotations

from shattering.transforms.registry import Begin, Origin, transform


@transform(paper="Frankle, Dziugaite, Roy & Carbin (2020), Section 2")
def unchanged(origin: Origin) -> Begin:
    """The parent's weights at the step, with its masks.

    Two runs that start so from one parent, each with an order of its own, are the two copies of instability analysis.
    """
    return Begin(origin.weights, origin.masks)
