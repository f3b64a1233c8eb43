"""Which examples a network gets right after one epoch, over many initialisations and orders."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field as Bound

from shattering.core.spec import Number, Whole
from shattering.simulations.registry import Bench, Numbers, simulation

QUANTILES = tuple(place / 20 for place in range(21))

Count = Annotated[Whole, Bound(ge=1)]


def _seconds(fields: Mapping[str, Any]) -> float:
    return 0.06 * float(fields.get("repeats", 100))


def binomial_quantiles(trials: int, chance: float, places: tuple[float, ...] = QUANTILES) -> list[float]:
    """The smallest k / ``trials`` whose binomial distribution function reaches each place, in [0, 1]."""
    weights = [math.comb(trials, k) * chance**k * (1 - chance) ** (trials - k) for k in range(trials + 1)]
    below = np.cumsum(weights)
    return [float(np.argmax(below >= min(place, below[-1]) - 1e-12)) / trials for place in places]


def excess_variance(right: NDArray[np.float64], trials: int) -> float:
    """The variance of the examples' frequencies over that of a binomial with their mean: 1 where all are equally easy.

    Args:
        right: ``[n]``, how often each example was right among ``trials``, in [0, 1].
        trials: at least 1.

    Returns:
        At least 0; 0 where every frequency, or none, is 0 or 1 throughout.
    """
    mean = float(right.mean())
    expected = mean * (1 - mean) / trials
    return float(right.var()) / expected if expected > 0 else 0.0


@simulation(
    summary="how often each training example is right after one epoch, over many initialisations and orders",
    paper="Arpit et al. (2017), easy examples",
    units={"quantile": "1", "right": "1", "binomial": "1", "mean": "1", "excess_variance": "1"},
    seconds=_seconds,
)
def first_epoch_easiness(
    bench: Bench,
    *,
    repeats: Count = 100,
    depth: Count = 2,
    width: Count = 256,
    rate: Annotated[Number, Bound(gt=0)] = 0.1,
    batch_size: Count = 32,
) -> Iterator[Numbers]:
    """Trains a perceptron for one epoch, again and again, and counts how often each example is then right.

    Args:
        bench: the examples and the labels that are trained on. Repetition k has the k-th numbers of the streams
            ``initialisation`` and ``order``.
        repeats: trainings.
        depth, width: of the perceptron `mlp`.
        rate, batch_size: of SGD without momentum.

    Yields:
        At 21 quantiles of the examples: the frequency of being right there (``right``), and what it would be were all
        examples equally easy (``binomial``); the mean frequency and the `excess_variance` stand in every row.
    """
    import torch
    from torch.nn import functional

    from shattering.models.build import build_model

    train = bench.splits.train
    inputs = torch.from_numpy(bench.inputs("train")).float()
    labels = torch.from_numpy(np.array(train.labels))
    hits = torch.zeros(len(labels), dtype=torch.float64)
    for repeat in range(repeats):
        bench.desk.should_stop()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(bench.stream("initialisation").integer(repeat))
            model = build_model("mlp", {"depth": depth, "width": width}, (inputs.shape[1],), train.num_classes)
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)
        order = torch.from_numpy(bench.stream("order").permutation(len(labels), repeat))
        for rows in torch.split(order, batch_size):
            optimizer.zero_grad(set_to_none=True)
            functional.cross_entropy(model(inputs[rows]), labels[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        with torch.no_grad():
            hits += (model(inputs).argmax(dim=1) == labels).double()
    right = (hits / repeats).numpy()
    mean, excess = float(right.mean()), excess_variance(right, repeats)
    seen = np.quantile(right, QUANTILES)
    for place, found, even in zip(QUANTILES, seen, binomial_quantiles(repeats, mean), strict=True):
        yield {"quantile": place, "right": float(found), "binomial": even, "mean": mean, "excess_variance": excess}
