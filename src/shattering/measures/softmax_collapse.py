"""How much of a training set the arithmetic can no longer learn from: the softmax has rounded to one."""

from __future__ import annotations

from shattering.measures.registry import Probe, measure


@measure(
    units={"collapsed_float32": "1", "collapsed_float64": "1"},
    paper="Prieto et al. (2025), softmax collapse",
)
def softmax_collapse(probe: Probe) -> dict[str, float]:
    """Fractions of the training examples whose cross-entropy is lost to rounding, in float32 and in float64.

    An example's loss is log(1 + ε), with ε what the other classes' exponentials add to the label's. Where ε is below
    2⁻²⁴ (2⁻⁵³), 1 + ε is 1 in float32 (float64): the loss is exactly zero, and so is its gradient through the label's
    output. Losses are evaluated in float64 from the outputs in the training's precision, whatever that is.

    Returns:
        ``collapsed_float32`` and ``collapsed_float64`` in [0, 1]; 1 where nothing more is learned from any example.
        They say what would be lost in that precision; which one trains is ``compute.dtype``.
    """
    losses = probe.train[0].double()
    return {
        "collapsed_float32": float((losses < 2.0**-24).double().mean()),
        "collapsed_float64": float((losses < 2.0**-53).double().mean()),
    }
