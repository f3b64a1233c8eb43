"""How the error falls with the number of training examples: a power law, and how sure one may be of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shattering.core.errors import ShatteringError
from shattering.core.statistics import CONFIDENCE, FEWEST_RUNS
from shattering.core.streams import Stream, uniform_classes

FEWEST_SIZES = 3

EXPONENTS = np.concatenate([np.linspace(0.02, 1.0, 50), np.linspace(1.1, 3.0, 20)])
"""Values of b that are tried."""

BOOTSTRAPS = 400


@dataclass(frozen=True)
class PowerLaw:
    """e(n) = a · n^-b + c.

    Args:
        a, b, c: a and c at least 0, b in 0.02 … 3.
        size: the largest number of examples seen; a is in units of it, so that e(n) = a · (n/size)^-b + c.
    """

    a: float
    b: float
    c: float
    size: int

    def at(self, examples: float) -> float:
        """The error at so many examples."""
        return self.a * math.exp(-self.b * math.log(examples / self.size)) + self.c


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """The error at each size, the law through it, and what it promises of more data.

    Args:
        sizes: number of training examples, ascending.
        errors: mean error at each.
        law: least squares.
        exponent: b with the ends of its 95% interval.
        gain: e(n) - e(factor · n) by the law, n the largest size, with the ends of its 95% interval.
        factor: how many times more data.
        seeds: repetitions.
    """

    sizes: tuple[int, ...]
    errors: tuple[float, ...]
    law: PowerLaw
    exponent: tuple[float, float, float]
    gain: tuple[float, float, float]
    factor: float
    seeds: int


def fit_power_laws(sizes: Sequence[int], errors: NDArray[Any]) -> NDArray[np.float64]:
    """Least squares of a · (n/n_max)^-b + c with a, c at least 0, for many curves at once.

    For each b of a grid the best a and c are those of a straight line, cut off at 0.

    Args:
        sizes: ``s`` numbers of examples.
        errors: ``[curves, s]``.

    Returns:
        ``[curves, 3]``: a, b, c.
    """
    places = np.asarray(sizes, dtype=np.float64) / max(sizes)
    errors = np.asarray(errors, dtype=np.float64)
    best = np.full(len(errors), np.inf)
    found = np.zeros((len(errors), 3))
    mean = errors.mean(axis=1)
    for b in EXPONENTS:
        x = places**-b
        spread = x - x.mean()
        a = np.maximum(0.0, (errors - mean[:, None]) @ spread / (spread @ spread))
        c = mean - a * x.mean()
        a = np.where(c < 0, np.maximum(0.0, errors @ x / (x @ x)), a)
        c = np.maximum(c, 0.0)
        loss = ((a[:, None] * x + c[:, None] - errors) ** 2).sum(axis=1)
        better = loss < best * (1 - 1e-9)
        best = np.where(better, loss, best)
        found[better] = np.stack([a, np.full_like(a, b), c], axis=1)[better]
    return found


def learning_curve(sizes: Sequence[int], wrong: Sequence[NDArray[Any]], *, factor: float = 2.0) -> LearningCurve | None:
    """Fits the law and says how sure its exponent and its promise are (Hestness et al. 2017 for the law).

    The bootstrap draws seeds with all their sizes, and test examples, each with replacement (streams
    ``curve-seeds``, ``curve-examples``), as both are left to chance. K seeds drawn from K spread less than K of all
    there are, by sqrt((K - 1)/K), and their tails are not normal: so the interval is the estimate ± the bootstrap's
    standard deviation times sqrt(K/(K - 1)) times Student's quantile of K - 1 degrees of freedom. It does not know that
    the law may break beyond the largest size.

    Args:
        sizes: numbers of training examples, ascending, the same for all seeds.
        wrong: for each size ``[K, N]``: whether each seed's run was wrong on each test example.
        factor: how many times the largest size is asked for, above 1.

    Returns:
        None below three sizes or three seeds. The gain's interval lies within [0, e(n)].

    Raises:
        ShatteringError: ``curve-uneven`` where the tables' shapes differ.
    """
    if len({table.shape for table in wrong}) > 1 or len(wrong) != len(sizes):
        raise ShatteringError(
            "curve-uneven", "A learning curve needs the same seeds and test examples at every size; leave others out."
        )
    if len(sizes) < FEWEST_SIZES or len(wrong[0]) < FEWEST_RUNS:
        return None
    from scipy.special import stdtrit

    table = np.stack([each.astype(np.float64) for each in wrong], axis=1)  # [seeds, sizes, examples]
    seeds = len(table)
    errors = table.mean(axis=(0, 2))
    laws = fit_power_laws(sizes, np.concatenate([errors[None], _redrawn(table)]))

    def promised(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        gains: NDArray[np.float64] = rows[:, 0] * (1 - factor ** -rows[:, 1])
        return gains

    wider = math.sqrt(seeds / (seeds - 1)) * float(stdtrit(seeds - 1, (1 + CONFIDENCE) / 2))
    a, b, c = (float(value) for value in laws[0])
    gain, half = float(promised(laws[:1])[0]), wider * float(promised(laws[1:]).std())
    slack = wider * float(laws[1:, 1].std())
    law = PowerLaw(a, b, c, max(sizes))
    return LearningCurve(
        sizes=tuple(sizes),
        errors=tuple(float(error) for error in errors),
        law=law,
        exponent=(b, max(0.0, b - slack), b + slack),
        gain=(gain, max(0.0, gain - half), max(gain, min(law.at(law.size), gain + half))),
        factor=factor,
        seeds=seeds,
    )


def _redrawn(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean errors at each size in `BOOTSTRAPS` worlds, ``[worlds, sizes]``."""
    seeds, sizes, examples = table.shape
    worlds = np.arange(BOOTSTRAPS)
    drawn = Stream(0, "curve-seeds").words(worlds, blocks=-(-seeds // 4))[:, :seeds]
    chosen = uniform_classes(drawn, seeds)
    found = np.empty((BOOTSTRAPS, sizes))
    stream = Stream(0, "curve-examples")
    for world in worlds:
        counts = np.bincount(chosen[world], minlength=seeds)
        words = stream.words(int(world), blocks=-(-examples // 4))[:examples]
        weights = np.bincount(uniform_classes(words, examples), minlength=examples)
        found[world] = np.einsum("k,ksn,n->s", counts, table, weights, optimize=True) / (seeds * examples)
    return found
