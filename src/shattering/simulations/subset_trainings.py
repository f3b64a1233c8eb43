"""Many trainings of one perceptron on subsets of one set of examples, in one process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray

from shattering.core.spec import MeasureSpec, RunSpec, TrainingSpec
from shattering.core.streams import Stream
from shattering.models.mlp import perceptron
from shattering.simulations.registry import Bench
from shattering.training.examples import prepare
from shattering.training.loop import train
from shattering.training.schedule import steps_per_epoch
from shattering.training.state import Progress
from shattering.training.update import build_optimizer
from shattering.training.ways import PLAIN, build_stepper, forced_way

FASTEST = "compiled"
"""The way of making updates of small perceptrons; where it cannot be gone, the plain one is."""

WORTHWHILE = 50
"""With fewer trainings than this the compiled code would take longer to load than it saves."""

PIECE = 100
"""Trainings after which their predictions are kept, so that a run that is killed does not begin anew."""


@dataclass(frozen=True)
class Recipe:
    """How each network is built and trained.

    Args:
        hidden: units of each hidden layer.
        batch: examples of a batch; fewer where a subset has fewer.
        rate: of stochastic gradient descent with momentum 0.9.
        epochs: passes over the subset at most.
        until_fitted: whether a training ends where it gets all its examples right.
    """

    hidden: tuple[int, ...]
    batch: int
    rate: float
    epochs: int
    until_fitted: bool


class Trainer:
    """Trains networks on subsets of a bench's training examples and asks each for predictions of all examples.

    Args:
        bench: real data; training number i has the seed of the stream ``subset-trainings`` at index i for its weights
            and its order.
        recipe: how each is trained.
        trainings: about how many there will be.
    """

    def __init__(self, bench: Bench, recipe: Recipe, trainings: int = WORTHWHILE) -> None:
        self.bench, self.recipe = bench, recipe
        self.way = forced_way() or (FASTEST if trainings >= WORTHWHILE else PLAIN)
        spec = RunSpec()
        spec = spec.model_copy(update={"data": spec.data.model_copy(update={"whiten": bench.whiten})})
        self.spec = spec
        self.train, self.test = prepare(bench.splits.train, spec), prepare(bench.splits.test, spec)

    def predictions(self, subset: NDArray[np.integer], number: int) -> NDArray[np.int16]:
        """Classes that a training on a subset gives to all training examples, then to all test examples.

        Args:
            subset: rows of the training split.
            number: of the training, at least 0; the same number and subset give the same training.

        Raises:
            Stopped: the user asked to.
        """
        chosen = self.train.take(subset)
        spec = self._spec(len(subset), number)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(Stream(spec.seed, "initialisation").integer())
            model = perceptron(prod(self.train.input_shape), self.recipe.hidden, self.train.num_classes, 0.0)
        optimizer = build_optimizer(model, spec)
        stepper, _, _ = build_stepper(self.way, model, optimizer, chosen, spec)
        for _ in train(model, optimizer, chosen, spec, Progress(), stepper=stepper, should_stop=self.bench.desk.stop):
            self.bench.desk.should_stop()
        model.eval()
        with torch.no_grad():
            said = [model(examples.inputs[:]).argmax(dim=1).numpy() for examples in (self.train, self.test)]
        return np.concatenate(said).astype(np.int16)

    def predictions_of(self, name: str, subsets: Sequence[NDArray[np.integer]], first: int = 0) -> NDArray[np.int16]:
        """`predictions` of trainings number ``first`` … on these subsets: ``[trainings, n + n_test]``.

        Args:
            name: of the pieces that are kept at the desk meanwhile.
            subsets: one for each.
            first: number of the first.
        """
        parts = []
        for start in range(0, len(subsets), PIECE):
            kept = self.bench.desk.kept(f"{name}-{start}")
            if kept is None:
                few = range(start, min(start + PIECE, len(subsets)))
                kept = np.stack([self.predictions(subsets[place], first + place) for place in few])
                self.bench.desk.keep(f"{name}-{start}", kept)
            parts.append(kept.astype(np.int16))
        return np.concatenate(parts)

    def _spec(self, examples: int, number: int) -> RunSpec:
        recipe = self.recipe
        batch = min(recipe.batch, examples)
        training = TrainingSpec(
            learning_rate=recipe.rate,
            batch_size=batch,
            max_steps=recipe.epochs * steps_per_epoch(examples, batch),
            fit_accuracy=1.0,
            stop_when_fitted=recipe.until_fitted,
        )
        seed = self.bench.stream("subset-trainings").integer(number)
        nothing = MeasureSpec(names=(), points_per_decade=0, every_epochs=0)
        return self.spec.model_copy(update={"training": training, "measures": nothing, "seed": seed})


def random_subsets(bench: Bench, count: int, size: int, examples: int) -> list[NDArray[np.int64]]:
    """``count`` subsets of ``size`` of so many examples, ascending: by the stream ``subsets``, one index for each."""
    stream = bench.stream("subsets")
    return [np.sort(stream.permutation(examples, number)[:size]) for number in range(count)]
