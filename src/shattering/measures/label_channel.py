"""A noisy channel between true and given labels, fitted to what networks say of examples that they were not given."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shattering.core.streams import Stream

Floats = NDArray[np.float64]

FLOOR = 1e-3
"""Added to probabilities before their logarithm: a mean over few snapshots does not know smaller ones."""

BIAS_DECAY = 0.01
LARGEST_LOGIT, LARGEST_SHARPNESS, LARGEST_BIAS = 12.0, 30.0, 10.0
ITERATIONS, TOLERANCE = 200, 1e-7

MOST_EXAMPLES, MOST_PRODUCTS, LEAST_OF_CLASS = 20_000, 10**8, 50
"""A fit is made on so many examples, drawn at random, and applied to all; on fewer where classes are many."""

READING = 0.1
"""How decided the middle reading is."""


@dataclass(frozen=True, eq=False)
class Channel:
    """How labels came to be given, as `fit_channel` found it.

    Args:
        transition: float64 ``[k, k]``: P[given j | true i]; rows sum to 1, and the identity means no noise.
        predicted: float64 ``[n, k]``: P[true i | prediction], from the held-out prediction alone.
        believed: float64 ``[n, k]``: P[true i | prediction, given label].
        rate: fraction of labels believed to be wrong, in [0, 1].
    """

    transition: Floats
    predicted: Floats
    believed: Floats
    rate: float


@dataclass(frozen=True, eq=False)
class Readings:
    """The channel read in three ways, from putting doubt down to the networks to putting it down to the labels.

    Args:
        lenient: decided = 0.
        middle: decided = 0.1.
        strict: decided = 1.
    """

    lenient: Channel
    middle: Channel
    strict: Channel


def readings(probabilities: Floats, given: NDArray[np.int64]) -> Readings:
    """The three channels of `Readings`, each fitted by `fit_channel`."""
    lenient, middle, strict = (fit_channel(probabilities, given, decided=decided) for decided in (0.0, READING, 1.0))
    return Readings(lenient, middle, strict)


def wrong(channel: Channel, given: NDArray[np.int64]) -> Floats:
    """The probability that each given label is wrong, ``[n]`` in [0, 1]."""
    chance: Floats = 1 - channel.believed[np.arange(len(given)), given]
    return chance


def fit_channel(probabilities: Floats, given: NDArray[np.int64], *, decided: float = 0.0) -> Channel:
    """Fits true classes and the noise between them and the given labels to held-out predictions, by maximum likelihood.

    With p an example's held-out prediction, centred ℓ = log(p + 0.001), and T the transition matrix,

        P[true i | p] = softmaxᵢ(β Σⱼ Tᵢⱼ ℓⱼ + bᵢ)        P[given j | p] = Σᵢ P[true i | p] Tᵢⱼ

    The first says that a prediction, learned from noisy labels, resembles the noisy labels of the example's class: it
    is read as β draws from that row of T. Where T is the identity it is temperature scaling. The parameters T, β and b
    (with a slight pull of b to 0) maximise

        Σₙ log P[givenₙ | pₙ] - decided · Σₙ H(P[true | pₙ])

    where H is the entropy. Data alone cannot tell an example whose class the networks do not know from one whose
    labels are given wrong at random: both are predicted unsurely. ``decided`` is how such examples are read. At 0 doubt
    is the networks' own ignorance wherever the likelihood allows, and noise is what contradicts sure predictions; at 1
    every example is held to have the class that it looks most like, and all that contradicts it to be noise.

    The climb (L-BFGS) begins at the transition among the more surely predicted half of each class (anchors, as in
    Patrini et al. 2017): from elsewhere it may end where labels are right and classes unknowable.

    Args:
        probabilities: float64 ``[n, k]``, rows sum to 1; none may depend on the example's own label.
        given: int64 ``[n]`` in 0 … k-1.
        decided: at least 0.

    Returns:
        The channel. A fit evaluates its objective a hundred times or so, at of the order of n·k² operations; above
        20,000 examples, or 10⁸ such operations, it is made on a random part of them (stream ``label-channel``).
    """
    from scipy.optimize import minimize

    all_examples, classes = probabilities.shape
    fitted, labels = probabilities, given
    most = min(MOST_EXAMPLES, max(LEAST_OF_CLASS * classes, MOST_PRODUCTS // classes**2))
    if all_examples > most:
        drawn = np.sort(Stream(0, "label-channel").permutation(all_examples)[:most])
        fitted, labels = probabilities[drawn], given[drawn]
    logs, count = _centred(fitted), len(labels)
    shape = classes * classes
    start = np.concatenate([np.log(anchored(fitted, labels)).ravel(), [np.log(4.0)], np.zeros(classes)])
    bounds = [(-LARGEST_LOGIT, LARGEST_LOGIT)] * shape + [(-3.0, float(np.log(LARGEST_SHARPNESS)))]
    bounds += [(-LARGEST_BIAS, LARGEST_BIAS)] * classes
    one_hot = np.zeros((count, classes))
    one_hot[np.arange(count), labels] = 1.0

    def negative(parameters: Floats) -> tuple[float, Floats]:
        transition, sharpness, bias = _unpacked(parameters, classes)
        likeness = logs @ transition.T
        predicted = _softmax(sharpness * likeness + bias)
        joint = predicted * transition[:, labels].T
        total = joint.sum(axis=1)
        believed = joint / total[:, None]
        log_predicted = np.log(predicted + 1e-300)
        entropy = -(predicted * log_predicted).sum(axis=1)
        value = float((np.log(total) - decided * entropy).sum() - BIAS_DECAY * (bias**2).sum())
        by_logit = believed - predicted + decided * predicted * (log_predicted + entropy[:, None])
        by_transition = (believed.T @ one_hot) / transition + sharpness * (by_logit.T @ logs)
        by_row = transition * (by_transition - (transition * by_transition).sum(axis=1, keepdims=True))
        by_sharpness = sharpness * float((by_logit * likeness).sum())
        by_bias = by_logit.sum(axis=0) - 2 * BIAS_DECAY * bias
        return -value, -np.concatenate([by_row.ravel(), [by_sharpness], by_bias])

    found = minimize(
        negative, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": ITERATIONS, "ftol": TOLERANCE}
    )
    transition, sharpness, bias = _unpacked(np.asarray(found.x, dtype=np.float64), classes)
    predicted = _softmax(sharpness * (_centred(probabilities) @ transition.T) + bias)
    believed = predicted * transition[:, given].T
    believed /= believed.sum(axis=1, keepdims=True)
    rate = float(1 - believed[np.arange(all_examples), given].mean())
    return Channel(transition, predicted, believed, rate)


def anchored(probabilities: Floats, given: NDArray[np.int64]) -> Floats:
    """The given labels of the more surely predicted half of each class, as shares: float64 ``[k, k]``.

    Row i is about the examples predicted as i, the half of them (five at least) with the largest lead over the second
    class. A class that is never predicted is left to itself.
    """
    classes = probabilities.shape[1]
    predicted, ordered = probabilities.argmax(axis=1), np.sort(probabilities, axis=1)
    lead = ordered[:, -1] - ordered[:, -2]
    shares = np.zeros((classes, classes))
    for row in range(classes):
        among = np.flatnonzero(predicted == row)
        sure = among[np.argsort(-lead[among], kind="stable")[: max(5, len(among) // 2)]]
        shares[row] = np.bincount(given[sure], minlength=classes) + 0.5 / classes
        if not len(sure):
            shares[row, row] += 1
    anchors: Floats = shares / shares.sum(axis=1, keepdims=True)
    return anchors


def _centred(probabilities: Floats) -> Floats:
    """ℓ of `fit_channel`."""
    logs = np.log(probabilities + FLOOR)
    centred: Floats = logs - logs.mean(axis=1, keepdims=True)
    return centred


def _unpacked(parameters: Floats, classes: int) -> tuple[Floats, float, Floats]:
    """Transition, sharpness β and bias b."""
    shape = classes * classes
    transition = _softmax(parameters[:shape].reshape(classes, classes))
    return transition, float(np.exp(parameters[shape])), parameters[shape + 1 :]


def _softmax(logits: Floats) -> Floats:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Floats = raised / raised.sum(axis=1, keepdims=True)
    return shares
