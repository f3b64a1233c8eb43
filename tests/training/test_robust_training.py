"""Trainings by robust gradients: against plain loops, stopped and resumed, and whether they memorise less."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from shattering.core.errors import ModelError, SpecError
from shattering.core.spec import RunSpec, override
from shattering.core.streams import Stream
from shattering.execution.run import corrupted, execute, initial_model
from shattering.training.examples import prepare
from shattering.training.update import build_optimizer
from tiny_runs import digits, facts, network_spec, stop_at_step, stopped_and_resumed, tiny_spec

RULES: dict[str, dict[str, Any]] = {
    "winsorized": {"training__gradient": "winsorized", "training__winsorize": 10},
    "median": {"training__gradient": "median"},
    "median of means": {"training__gradient": "median_of_means"},
    "rolling median": {"training__gradient": "rolling_median"},
}


def combined(rule: str, alone: list[np.ndarray], before: list[np.ndarray], percent: float) -> np.ndarray:
    """The batch's gradient by the rule, from its examples' gradients and the means of the two batches before."""
    values = np.stack(alone)
    if rule == "median of means":
        cuts = [part * len(values) // 3 for part in range(4)]
        return np.median([values[cuts[part] : cuts[part + 1]].mean(axis=0) for part in range(3)], axis=0)
    if rule == "rolling median":
        return np.median([*before[-2:], values.mean(axis=0)], axis=0)
    k = int(percent * len(values) // 100) if rule == "winsorized" else (len(values) - 1) // 2
    ordered = np.sort(values, axis=0)
    return np.clip(values, ordered[k], ordered[len(values) - 1 - k]).mean(axis=0)


def slow_twin(spec: RunSpec, rule: str) -> list[np.ndarray]:
    """SGD with momentum on gradients that are taken one example at a time."""
    examples = prepare(corrupted(digits(), spec).train, spec)
    model = initial_model(spec, examples.input_shape, examples.num_classes)
    weights = list(model.parameters())
    speeds = [np.zeros(weight.shape) for weight in weights]
    means: list[list[np.ndarray]] = [[] for _ in weights]
    size, epoch_steps = spec.training.batch_size, -(-len(examples) // spec.training.batch_size)
    for step in range(spec.training.max_steps):
        order = Stream(spec.seed, "order").permutation(len(examples), step // epoch_steps)
        start = step % epoch_steps * size
        alone: list[list[np.ndarray]] = [[] for _ in weights]
        for row in order[start : start + size]:
            loss = functional.cross_entropy(model(examples.inputs[row][None]), examples.labels[row][None])
            for entries, gradient in zip(alone, torch.autograd.grad(loss, weights), strict=True):
                entries.append(gradient.numpy())
        for number, weight in enumerate(weights):
            gradient = combined(rule, alone[number], means[number], spec.training.winsorize)
            means[number].append(np.mean(alone[number], axis=0))
            speeds[number] = spec.training.momentum * speeds[number] + gradient
            with torch.no_grad():
                weight -= spec.training.learning_rate * torch.from_numpy(speeds[number])
    return [weight.detach().numpy() for weight in weights]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_steps_equal_a_plain_loop(rule: str, momentum: float) -> None:
    spec = tiny_spec(
        **RULES[rule],
        compute__dtype="float64",
        training__max_steps=5,
        training__momentum=momentum,
        model__name="mlp_3x512",
    )
    _, model = execute(spec, digits())
    for found, wanted in zip(model.parameters(), slow_twin(spec, rule), strict=True):
        assert np.allclose(found.detach().numpy(), wanted, rtol=1e-11, atol=1e-12)


def test_moving_no_example_is_sgd_to_the_bit() -> None:
    plain, _ = execute(tiny_spec(), digits())
    for percent in (0, 4.1):  # of 24 examples: none
        robust, _ = execute(tiny_spec(training__gradient="winsorized", training__winsorize=percent), digits())
        assert robust.weights_sha256 == plain.weights_sha256 and robust.rows == plain.rows


OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"training__momentum": 0.0},
    "momentum": {"training__momentum": 0.9, "training__weight_decay": 0.01},
    "adam": {"training__optimizer": "adam", "training__learning_rate": 0.01},
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("rule", RULES)
def test_a_stopped_training_goes_on_to_the_bit(rule: str, optimizer: str) -> None:
    spec = tiny_spec(
        **RULES[rule], **OPTIMIZERS[optimizer], training__max_steps=7, model__fields__dropout=0.3,
        corruption__name="random_labels",
    )  # fmt: skip
    whole = facts(execute(spec, digits())[0])
    for step in (1, 2, 3, 5):
        resumed = stopped_and_resumed(spec, stop_at_step(step))
        assert resumed is not None and facts(resumed) == whole, step


@pytest.mark.parametrize("rule", ["median of means", "rolling median"])
def test_convolutions_batch_norm_and_tied_weights(rule: str) -> None:
    spec = network_spec("convolutional", **RULES[rule], training__max_steps=6)
    resumed = stopped_and_resumed(spec, stop_at_step(4))
    assert resumed is not None and facts(resumed) == facts(execute(spec, digits())[0])


def test_augmented_convolutions() -> None:
    spec = network_spec(
        "noisy", **RULES["winsorized"], training__augmentation="full", data__crop=6, training__max_steps=3
    )
    record, _ = execute(spec, digits())
    assert record.last["step"] == 3 and np.isfinite(record.last["train_loss"])


@pytest.mark.parametrize("rule", ["winsorized", "median"])
def test_what_cannot_be_is_refused(rule: str) -> None:
    spec = network_spec("convolutional", **RULES[rule])
    with pytest.raises(ModelError) as error:
        execute(spec, digits())
    assert error.value.identifier == "robust-batch-norm"
    half = tiny_spec(**RULES[rule], compute__dtype="bfloat16", compute__device="cuda")
    with pytest.raises(SpecError) as refused:
        build_optimizer(torch.nn.Linear(2, 2), half)
    assert refused.value.identifier == "spec-bfloat16-robust"
    for percent in (-1, 50):
        with pytest.raises(SpecError):
            override(spec, {"training.winsorize": percent})


def test_winsorized_training_memorises_less() -> None:
    """Random labels: SGD fits them, clipped gradients hardly; on true labels both learn."""
    shared = {
        "model__fields__width": 64, "training__max_steps": 260, "training__fit_accuracy": 1.0, "data__train_size": 128,
        "training__batch_size": 32, "training__momentum": 0.0, "measures__every_epochs": 0,
    }  # fmt: skip
    accuracy = {
        (labels, percent): execute(
            tiny_spec(**shared, corruption__name=labels, training__gradient="winsorized", training__winsorize=percent),
            digits(),
        )[0].last["train_accuracy"]
        for labels in ("random_labels", "true_labels")
        for percent in (0, 13)
    }
    assert accuracy["random_labels", 0] > 0.8
    assert accuracy["random_labels", 13] < 0.6
    assert accuracy["true_labels", 13] > 0.85
