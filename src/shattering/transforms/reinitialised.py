"""The control of the lottery ticket: the same connections, other weights."""

from __future__ import annotations

from shattering.transforms.registry import Begin, Origin, transform


@transform(paper="Frankle & Carbin (2019), Section 2, random reinitialisation")
def reinitialised(origin: Origin) -> Begin:
    """The parent's masks on freshly drawn weights: those of the run's own stream ``initialisation``.

    With the parent's seed of that stream these are the parent's own initial weights, and nothing is drawn anew.
    """
    return Begin(origin.fresh, origin.masks)
