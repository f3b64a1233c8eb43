"""How many labels are wrong, and which classes they are given instead, with intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shattering.measures.label_channel import Channel, Readings, wrong

Floats = NDArray[np.float64]

NORMAL_95 = 1.959964

OVERSIGHT = 0.5
"""Mistakes that networks make beyond those they expect of themselves, as a share of the odds of the latter."""


@dataclass(frozen=True, eq=False)
class NoiseRate:
    """The estimated share of wrong labels.

    Args:
        value: in [0, 1].
        low, high: ends of its 95% interval, in [0, 1]; low is 0 where the networks' own mistakes could be all.
        strict: what the strict reading of doubtful examples gives; the lenient one gives the value.
        error, strict_error: standard errors of the value and of the strict reading.
        mistakes: expected share of examples that the networks take for a wrong class, in [0, 1].
        transition: float64 ``[k, k]``: P[given j | true i].
        transition_error: float64 ``[k, k]``, its standard errors.
        examples: how many it rests on.
    """

    value: float
    low: float
    high: float
    strict: float
    error: float
    strict_error: float
    mistakes: float
    transition: Floats
    transition_error: Floats
    examples: int


def noise_rate(channels: Readings, given: NDArray[np.int64]) -> NoiseRate:
    """Estimates the rate of wrong labels from held-out predictions, with an interval that owns up to what is unknown.

    Two things look alike: an example whose class the networks do not know, and one whose label is given wrong because
    it is hard. So the channel of `fit_channel` is read twice. The lenient reading (decided = 0) puts doubt down to the
    networks: it is right for noise that does not depend on how hard an example is. The strict one (decided = 1)
    believes the prediction: it is right for annotators who err where examples are hard. The estimate is the lenient
    reading, and the interval holds both:

        low  = lenient - 1.96 · its standard error - mistakes / (2 - 2 · mistakes), at least 0
        high = strict + 1.96 · its standard error, at most 1

    ``mistakes`` is 1 - mean over examples of the largest P[true | prediction] under the lenient reading: how often the
    networks expect to be wrong themselves. They are given credit for half those odds beyond, of being wrong surely,
    which passes for wrong labels; so under no noise the low end is 0, and poor networks, who know little of what they
    do not know, tell little.

    With d an example's probability to have a wrong label and ε the rate, a standard error is
    1 / √Σ(d/ε - (1 - d)/(1 - ε))², which is √(ε(1 - ε)/n) where every d is 0 or 1, and more in doubt: Fisher's
    information on ε where the shape of the channel is known. It speaks of examples drawn anew; that of a transition's
    entry is binomial, over the expected number of examples of its class.

    What no estimate from these data can tell is a class that the networks take for another one surely and always: it
    counts as noise.

    Args:
        channels: the `readings` of held-out predictions and labels.
        given: int64 ``[n]``, the labels.

    Returns:
        The estimate; its transition is that of the lenient reading.
    """
    lenient, strict = channels.lenient, channels.strict
    lenient_error, strict_error = (rate_error(wrong(channel, given)) for channel in (lenient, strict))
    mistakes = float(1 - lenient.predicted.max(axis=1).mean())
    unforeseen = OVERSIGHT * mistakes / max(1e-9, 1 - mistakes)
    lowest, highest = min(lenient.rate, strict.rate), max(lenient.rate, strict.rate)
    of_class = lenient.believed.sum(axis=0)[:, None] + 4  # two successes and two failures: no entry is certain
    shrunk = (lenient.transition * (of_class - 4) + 2) / of_class
    return NoiseRate(
        value=lenient.rate,
        low=max(0.0, lowest - NORMAL_95 * lenient_error - unforeseen),
        high=min(1.0, highest + NORMAL_95 * strict_error),
        strict=strict.rate,
        error=lenient_error,
        strict_error=strict_error,
        mistakes=mistakes,
        transition=lenient.transition,
        transition_error=np.sqrt(shrunk * (1 - shrunk) / of_class),
        examples=len(given),
    )


def rate_error(doubt: Floats) -> float:
    """The standard error of `noise_rate` for probabilities of wrong labels ``[n]``; the rate counts as 1/n at least."""
    count = len(doubt)
    rate = float(np.clip(doubt.mean(), 1 / count, 1 - 1 / count))
    scores = doubt / rate - (1 - doubt) / (1 - rate)
    return float(1 / np.sqrt((scores**2).sum()))


def expected_precision(channel: Channel, given: NDArray[np.int64], order: NDArray[np.int64]) -> Floats:
    """Expected share of wrong labels among the first 1 … n of ``order``, after a channel: float64 ``[n]``."""
    shares: Floats = np.cumsum(wrong(channel, given)[order]) / np.arange(1, len(order) + 1)
    return shares
