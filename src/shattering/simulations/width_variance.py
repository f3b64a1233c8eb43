"""Networks of growing width, trained on several small samples several times each: their bias and variance."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from shattering.core.spec import DataSpec, MeasureSpec, RunSpec, TrainingSpec
from shattering.core.streams import Stream
from shattering.models.mlp import perceptron
from shattering.simulations.registry import Bench, Numbers, simulation
from shattering.simulations.subset_trainings import random_subsets
from shattering.theory.bias_variance import bias_variance
from shattering.training.examples import Examples, prepare
from shattering.training.loop import train
from shattering.training.state import Progress
from shattering.training.update import build_optimizer
from shattering.training.ways import build_stepper, forced_way

NOTHING = MeasureSpec(names=(), points_per_decade=0, every_epochs=0)
RATE = 3e-3


def _seconds(fields: object) -> float:
    """Measured at the defaults, two busy cores."""
    return 40.0


@simulation(
    summary="bias and variance of perceptrons against width, on small samples",
    paper="Neal et al. (2018)",
    units={
        "width": "units",
        "parameters": "parameters",
        "bias": "1",
        "optimisation_variance": "1",
        "sampling_variance": "1",
        "variance": "1",
        "error": "1",
        "test_error": "1",
        "train_accuracy": "1",
    },
    seconds=_seconds,
)
def width_variance(
    bench: Bench,
    *,
    examples: int = 100,
    samples: int = 6,
    trainings: int = 4,
    steps: int = 1500,
    widths: tuple[int, ...] = (2, 4, 8, 12, 16, 32, 64, 128),
    hidden: bool = True,
) -> Iterator[Numbers]:
    """Trains networks by Adam on all of a sample at once, squared loss, and splits their test error.

    Sample s has the first ``examples`` of the permutation of the stream ``subsets`` at index s; training t on it the
    seed of the stream ``width-trainings`` at index s · trainings + t for its weights. The same samples and seeds serve
    every width.

    Args:
        bench: real data.
        examples: of a sample, at least 2.
        samples, trainings: how many, at least 2 each.
        steps: updates of a training.
        widths: units of the hidden layer.
        hidden: whether there is a hidden layer; without, the network is linear, its loss convex, and trainings on the
            same sample end alike: the control. One row then.

    Yields:
        For each width ``bias`` (squared), ``optimisation_variance``, ``sampling_variance``, ``variance`` (their sum)
        and ``error`` as `shattering.theory.bias_variance` has them, for one-hot targets; ``test_error`` and
        ``train_accuracy``, means of classifications.
    """
    spec = _spec(bench, examples, steps)
    train_split, test = prepare(bench.splits.train, spec), prepare(bench.splits.test, spec)
    subsets = random_subsets(bench, samples, examples, len(train_split))
    targets = np.eye(test.num_classes)[test.labels.numpy()]
    for done, width in enumerate(widths if hidden else (0,)):
        outputs = np.empty((samples, trainings, len(test), test.num_classes))
        fitted, parameters = [], 0
        for number in range(samples * trainings):
            sample, training = divmod(number, trainings)
            chosen = train_split.take(subsets[sample])
            model = _trained(bench, spec, chosen, width, number)
            with torch.no_grad():
                outputs[sample, training] = model(test.inputs).numpy()
                fitted.append(float((model(chosen.inputs).argmax(1) == chosen.labels).double().mean()))
            parameters = sum(parameter.numel() for parameter in model.parameters())
            bench.desk.should_stop()
        parts = bias_variance(outputs, targets)
        bench.desk.told(done + 1, len(widths))
        yield {
            "width": width,
            "parameters": parameters,
            "bias": parts.bias,
            "optimisation_variance": parts.optimisation,
            "sampling_variance": parts.sampling,
            "variance": parts.optimisation + parts.sampling,
            "error": parts.error,
            "test_error": float((outputs.argmax(-1) != test.labels.numpy()).mean()),
            "train_accuracy": float(np.mean(fitted)),
        }


def _spec(bench: Bench, examples: int, steps: int) -> RunSpec:
    training = TrainingSpec(
        optimizer="adam",
        learning_rate=RATE,
        batch_size=examples,
        max_steps=steps,
        fit_accuracy=1.0,
        stop_when_fitted=False,
        loss="squared",
    )
    return RunSpec(data=DataSpec(whiten=bench.whiten), training=training, measures=NOTHING)


def _trained(bench: Bench, spec: RunSpec, chosen: Examples, width: int, number: int) -> torch.nn.Module:
    seed = bench.stream("width-trainings").integer(number)
    run = spec.model_copy(update={"seed": seed})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(Stream(seed, "initialisation").integer())
        features = int(np.prod(chosen.input_shape))
        model = perceptron(features, (width,) if width else (), chosen.num_classes, 0.0)
    optimizer = build_optimizer(model, run)
    stepper, _, _ = build_stepper(forced_way() or "compiled", model, optimizer, chosen, run)
    # Fitted from the outset as far as the loop is concerned, so that no step is followed by an evaluation.
    for _ in train(model, optimizer, chosen, run, Progress(fitted=True), stepper=stepper, should_stop=bench.desk.stop):
        bench.desk.should_stop()
    return model.eval()
