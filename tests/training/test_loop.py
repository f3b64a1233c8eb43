"""The loop against a slow and obvious twin; how trainings end; what must not leak into them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from shattering.core.errors import Stopped
from shattering.core.record import Status
from shattering.core.spec import RunSpec
from shattering.core.streams import Stream
from shattering.data.dataset import Splits
from shattering.execution.run import corrupted, execute, initial_model
from shattering.training.evaluation import evaluate
from shattering.training.examples import Examples, prepare
from shattering.training.loop import draws_in_forward, train
from shattering.training.state import Progress
from shattering.training.update import build_optimizer
from tiny_runs import Memory, digits, network_spec, stop_at_call, tiny_spec


def parts(spec: RunSpec) -> tuple[torch.nn.Module, Examples]:
    examples = prepare(corrupted(digits(), spec).train, spec)
    return initial_model(spec, examples.input_shape, examples.num_classes), examples


def slow_twin(spec: RunSpec, steps: int) -> list[torch.Tensor]:
    """SGD with momentum and ℓ2 decay, by hand: g ← ∇ + λw, v ← μv + g, w ← w - ηv."""
    model, examples = parts(spec)
    weights = list(model.parameters())
    velocity = [torch.zeros_like(weight) for weight in weights]
    training, step, epoch = spec.training, 0, 0
    epoch_steps = -(-len(examples) // training.batch_size)
    while step < steps:
        order = Stream(spec.seed, "order").permutation(len(examples), epoch)
        for start in range(0, len(order), training.batch_size):
            if step == steps:
                break
            rows = order[start : start + training.batch_size]
            logits = model(torch.stack([examples.inputs[row] for row in rows]))
            log_sum = torch.log(torch.exp(logits).sum(dim=1))
            loss = (log_sum - logits[torch.arange(len(rows)), examples.labels[rows]]).mean()
            gradients = torch.autograd.grad(loss, weights)
            rate = training.learning_rate
            if training.schedule == "exponential":
                rate *= training.decay ** (step // (training.decay_steps or epoch_steps))
            with torch.no_grad():
                for weight, gradient, speed in zip(weights, gradients, velocity, strict=True):
                    speed.copy_(training.momentum * speed + gradient + training.weight_decay * weight)
                    weight -= rate * speed
            step += 1
        epoch += 1
    return [weight.detach() for weight in weights]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"training__momentum": 0.0},
        {"training__weight_decay": 0.05},
        {"training__schedule": "exponential", "training__decay": 0.7},
        {"training__schedule": "exponential", "training__decay": 0.9, "training__decay_steps": 4},
        {"corruption__name": "random_labels", "seed": 3, "model__name": "mlp_3x512"},
    ],
)
def test_twenty_steps_equal_a_plain_loop(changes: dict[str, object]) -> None:
    spec = tiny_spec(
        **{"compute__dtype": "float64", "training__max_steps": 20, "training__fit_accuracy": 1.0} | changes
    )
    spec = spec.model_copy(update={"training": spec.training.model_copy(update={"stop_when_fitted": False})})
    _, model = execute(spec, digits())
    for found, wanted in zip(model.parameters(), slow_twin(spec, 20), strict=True):
        assert torch.allclose(found.detach(), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_adam_equals_its_formula(optimizer: str) -> None:
    """One step from rest: the mean of the gradient over the root of its square, both without bias, is its sign."""
    spec = tiny_spec(
        compute__dtype="float64", training__optimizer=optimizer, training__max_steps=1, training__learning_rate=1e-3,
        training__weight_decay=0.1 if optimizer == "adamw" else 0.0,
    )  # fmt: skip
    before, examples = parts(spec)
    rows = Stream(spec.seed, "order").permutation(len(examples), 0)[:24]
    loss = functional.cross_entropy(before(examples.inputs[rows]), examples.labels[rows])
    gradients = torch.autograd.grad(loss, list(before.parameters()))
    _, after = execute(spec, digits())
    shrink = 1 - 1e-3 * spec.training.weight_decay
    for old, new, gradient in zip(before.parameters(), after.parameters(), gradients, strict=True):
        wanted = old * shrink - 1e-3 * gradient / (gradient.abs() + 1e-8)
        assert torch.allclose(new, wanted, rtol=1e-12, atol=1e-12)


# Endings


def test_fitted_run_is_done_at_the_end_of_an_epoch() -> None:
    spec = tiny_spec(model__fields__width=64, training__fit_accuracy=0.9, training__max_steps=300)
    record, model = execute(spec, digits())
    assert record.status is Status.DONE
    assert record.summary["steps"] == record.summary["steps_to_fit"] == record.last["step"] < 300
    assert record.summary["steps_to_fit"] % 3 == 0
    assert record.summary["epochs_to_fit"] == record.summary["steps_to_fit"] / 3
    assert record.last["train_accuracy"] >= 0.9
    hits = record.examples["prediction"] == record.examples["label"]
    assert float(hits.mean()) == record.last["train_accuracy"]
    examples = prepare(corrupted(digits(), spec).train, spec)
    assert evaluate(model, examples, spec).accuracy(examples.labels) == record.last["train_accuracy"]


@pytest.mark.parametrize("every, points", [(0, 0), (1, 0), (3, 4), (0, 12)])
def test_what_is_measured_does_not_move_the_time_to_fit(every: int, points: int) -> None:
    spec = tiny_spec(model__fields__width=64, training__fit_accuracy=0.9, training__max_steps=300)
    plain = execute(spec, digits())[0]
    schedule = spec.measures.model_copy(update={"every_epochs": every, "points_per_decade": points})
    other, _ = execute(spec.model_copy(update={"measures": schedule}), digits())
    assert other.summary["steps_to_fit"] == plain.summary["steps_to_fit"]
    assert other.weights_sha256 == plain.weights_sha256


def test_augmented_batches_do_not_hide_the_fit() -> None:
    """Their running accuracy stays low, so the criterion is evaluated at every epoch's end."""
    spec = tiny_spec(
        model__fields__width=64, training__fit_accuracy=0.9, training__max_steps=600, training__augmentation="full",
        data__crop=7, measures__every_epochs=0,
    )  # fmt: skip
    record, _ = execute(spec, digits())
    assert record.status is Status.DONE
    assert record.summary["steps_to_fit"] < 600


def test_training_may_go_on_after_the_fit() -> None:
    stops = tiny_spec(model__fields__width=64, training__fit_accuracy=0.9, training__max_steps=60)
    goes_on = stops.model_copy(update={"training": stops.training.model_copy(update={"stop_when_fitted": False})})
    first, second = execute(stops, digits())[0], execute(goes_on, digits())[0]
    assert second.status is Status.DONE
    assert second.summary["steps"] == 60 == second.last["step"]
    assert second.summary["steps_to_fit"] == first.summary["steps_to_fit"] < 60
    assert second.rows[: len(first.rows)] == first.rows


def test_the_fit_has_a_row_of_its_own() -> None:
    spec = tiny_spec(
        model__fields__width=64, training__fit_accuracy=0.9, training__max_steps=60, training__stop_when_fitted=False,
        measures__every_epochs=0, measures__points_per_decade=1,
    )  # fmt: skip
    record, _ = execute(spec, digits())
    fitted = record.summary["steps_to_fit"]
    assert fitted not in (0, 1, 10, 60)
    assert [row["step"] for row in record.rows] == sorted({0, 1, 10, fitted, 60})


def test_spent_budget_is_not_fitted() -> None:
    record, _ = execute(tiny_spec(training__max_steps=7), digits())
    assert record.status is Status.NOT_FITTED
    assert record.summary["steps"] == record.last["step"] == 7
    assert record.summary["steps_to_fit"] is None and record.summary["epochs_to_fit"] is None
    assert record.weights_sha256 is not None and len(record.examples["prediction"]) == 64


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"training__optimizer": "adam"},
        {"measures__points_per_decade": 0, "measures__every_epochs": 0},
        {"measures__points_per_decade": 20},
        {"training__stop_when_fitted": False, "training__fit_accuracy": 0.01},
    ],
)
def test_divergence_keeps_finite_rows_only(changes: dict[str, object]) -> None:
    record, _ = execute(tiny_spec(training__learning_rate=1e30, **changes), digits())
    assert record.status is Status.DIVERGED
    step = record.summary["diverged_step"]
    assert step == record.summary["steps"] and 1 <= step < 5
    assert all(row["step"] < step for row in record.rows)
    assert all(np.isfinite(list(row.values())).all() for row in record.rows)
    assert record.weights_sha256 is None and record.examples == {}
    if "measures__every_epochs" not in changes:
        assert record.rows[0]["step"] == 0


def test_weights_lost_in_the_last_update_are_divergence() -> None:
    """Nothing but the evaluation at the end can see what the last update did, fitted before or not."""
    for fit in (1.0, 0.001):
        spec = tiny_spec(
            training__learning_rate=1e30, training__max_steps=1, training__fit_accuracy=fit,
            training__stop_when_fitted=False, measures__points_per_decade=0, measures__every_epochs=0,
        )  # fmt: skip
        assert execute(spec, digits())[0].status is Status.DIVERGED


def test_divergence_is_resumed_to_the_same_end() -> None:
    from tiny_runs import facts, stopped_and_resumed

    spec = tiny_spec(training__learning_rate=1e30)
    whole = facts(execute(spec, digits())[0])
    for number in range(1, 8):
        resumed = stopped_and_resumed(spec, stop_at_call(number))
        assert resumed is None or facts(resumed) == whole
    assert number == 7


def test_snapshots_come_in_order_and_tell_where_they_are() -> None:
    spec = tiny_spec(training__schedule="exponential", training__decay=0.5)
    model, examples = parts(spec)
    snapshots = list(train(model, build_optimizer(model, spec), examples, spec, Progress()))
    assert [snapshot.step for snapshot in snapshots] == [0, 1, 2, 3, 6, 9, 10, 12, 14]
    assert [snapshot.epoch for snapshot in snapshots] == [snapshot.step / 3 for snapshot in snapshots]
    assert [snapshot.learning_rate for snapshot in snapshots] == [0.1 * 0.5 ** (s.step // 3) for s in snapshots]
    assert [snapshot.ending for snapshot in snapshots] == [""] * 8 + ["budget"]


def test_one_more_example_than_batches_hold_sits_out() -> None:
    spec = tiny_spec(data__train_size=49, training__max_steps=4)
    record, _ = execute(spec, digits())
    assert [row["epoch"] for row in record.rows if row["step"] in (2, 4)] == [1.0, 2.0]
    assert len(record.examples["prediction"]) == 49


# Evaluation


def test_evaluation_leaves_the_mode_as_it_was() -> None:
    spec = network_spec("convolutional")
    model, examples = parts(spec)
    for mode in (True, False):
        model.train(mode)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        evaluate(model, examples, spec, batch_size=10)
        assert model.training is mode
        assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
        with pytest.raises(Stopped):
            evaluate(model, examples, spec, should_stop=lambda: True)
        assert model.training is mode


def test_evaluation_does_not_depend_on_its_batches() -> None:
    spec = tiny_spec(compute__dtype="float64")
    model, examples = parts(spec)
    whole, pieces = evaluate(model, examples, spec), evaluate(model, examples, spec, batch_size=7)
    assert torch.equal(whole.predictions, pieces.predictions)
    assert torch.allclose(whole.losses, pieces.losses, rtol=1e-12)
    assert whole.accuracy(examples.labels, torch.zeros(64, dtype=torch.bool)) is None
    assert whole.accuracy(whole.predictions) == 1.0


def test_only_networks_that_draw_are_seeded() -> None:
    assert not draws_in_forward(parts(tiny_spec())[0], tiny_spec())
    assert draws_in_forward(parts(tiny_spec(model__fields__dropout=0.1))[0], tiny_spec(model__fields__dropout=0.1))
    assert draws_in_forward(torch.nn.Linear(1, 1), network_spec("noisy"))


def test_process_is_left_as_it_was() -> None:
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    execute(tiny_spec(model__fields__dropout=0.3), digits())
    assert torch.equal(torch.rand(3), wanted)
    assert not torch.are_deterministic_algorithms_enabled()


# Leakage


@pytest.mark.parametrize("whitened", [True, False])
def test_test_pixels_change_no_training_bit(whitened: bool) -> None:
    train_split, test_split = digits().train, digits().test
    brighter = replace(test_split, inputs=test_split.inputs * 3)
    spec = tiny_spec(data__whiten=whitened, model__fields__dropout=0.2, corruption__name="random_labels")
    one, _ = execute(spec, digits())
    other, _ = execute(spec, Splits(train_split, brighter))
    assert one.weights_sha256 == other.weights_sha256
    assert one.summary == other.summary
    trained = [name for name in one.last if not name.startswith(("test_", "generalization"))]
    assert [[row[name] for name in trained] for row in one.rows] == [
        [row[name] for name in trained] for row in other.rows
    ]
    if not whitened:
        assert one.last["test_loss"] != other.last["test_loss"]


@pytest.mark.parametrize("corruption", ["random_labels", "true_labels"])
def test_label_corruption_leaves_data_and_test_set_alone(corruption: str) -> None:
    spec = tiny_spec(corruption__name=corruption)
    before = digits().train.fingerprint, digits().test.fingerprint
    chosen = corrupted(digits(), spec)
    plain = corrupted(digits(), tiny_spec())
    assert chosen.test.fingerprint == plain.test.fingerprint
    execute(spec, digits())
    assert (digits().train.fingerprint, digits().test.fingerprint) == before


def test_bijection_of_labels_with_outputs_permuted_alike() -> None:
    """Relabelled data and a network whose output units are permuted alike: the same accuracies for ten steps."""
    spec = tiny_spec(compute__dtype="float64", training__max_steps=10)
    bijection = torch.tensor([3, 8, 0, 9, 1, 7, 2, 4, 6, 5])

    def accuracies(relabelled: bool) -> list[float]:
        model, examples = parts(spec)
        if relabelled:
            examples = replace(examples, labels=bijection[examples.labels])
            output = model[-1]
            with torch.no_grad():
                output.weight[bijection] = output.weight.clone()
                output.bias[bijection] = output.bias.clone()
        steps = train(model, build_optimizer(model, spec), examples, spec, Progress())
        return [evaluate(snapshot.model, examples, spec).accuracy(examples.labels) for snapshot in steps]

    assert accuracies(False) == accuracies(True)


def test_memory_of_checkpoints_is_in_order() -> None:
    """The stand-in for a store's checkpoints gives the newest first, as a store does."""
    memory = Memory()
    memory.save(1, b"a")
    memory.save(2, b"b")
    assert list(memory.newest()) == [(2, b"b"), (1, b"a")]
