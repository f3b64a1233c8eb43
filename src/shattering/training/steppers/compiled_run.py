"""What is called from outside the compiled code: updates, and the screen of the fit criterion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shattering.training.steppers.compiled_kernels import (
    ACTIVATIONS,
    BIAS,
    FIRST_STATE,
    INPUTS,
    KIND,
    LABELS,
    MATRIX,
    MOMENTUM,
    OUTPUTS,
    SCORES_ACROSS,
    SECOND_STATE,
    SGD,
    SHARES,
    SQUARED,
    STEP,
    TRANSPOSED,
    WEIGHTS,
    backward,
    cross_entropy,
    forward,
    optimize,
    squared,
)
from shattering.training.steppers.compiled_products import (
    copy,
    entry,
    gather,
    kernel,
    padded,
    sources,
    transpose,
    transpose_any,
)
from shattering.training.steppers.compiled_vectors import (
    load_one,
    store_one,
    width_of,
)


@kernel
def take_in(like: Any, plan: Any, stretch: int, tensors: Any) -> None:
    """Copies torch's tensors, a matrix and a bias of each layer, into one of the four stretches."""
    size = width_of(like)
    for layer in range(len(plan)):
        inputs, outputs = plan[layer, INPUTS], plan[layer, OUTPUTS]
        matrix = stretch + plan[layer, MATRIX]
        if plan[layer, TRANSPOSED]:
            for k in range(outputs):
                copy(like, inputs, tensors[2 * layer] + k * inputs * size, matrix + k * padded(inputs) * size)
        else:
            transpose_any(like, outputs, inputs, tensors[2 * layer], inputs * size, matrix, padded(outputs) * size)
        copy(like, outputs, tensors[2 * layer + 1], stretch + plan[layer, BIAS])


@kernel
def give_back(like: Any, plan: Any, stretch: int, tensors: Any) -> None:
    """The way back of `take_in`."""
    size = width_of(like)
    for layer in range(len(plan)):
        inputs, outputs = plan[layer, INPUTS], plan[layer, OUTPUTS]
        matrix = stretch + plan[layer, MATRIX]
        if plan[layer, TRANSPOSED]:
            for k in range(outputs):
                copy(like, inputs, matrix + k * padded(inputs) * size, tensors[2 * layer] + k * inputs * size)
        else:
            transpose_any(like, inputs, outputs, matrix, padded(outputs) * size, tensors[2 * layer], inputs * size)
        copy(like, outputs, stretch + plan[layer, BIAS], tensors[2 * layer + 1])


@kernel
def renew_transposed(like: Any, plan: Any, weights: int) -> None:
    """The transposed copies of the weights, for the next forward pass."""
    size = width_of(like)
    for layer in range(len(plan)):
        if plan[layer, TRANSPOSED]:
            rows, columns = padded(plan[layer, OUTPUTS]), padded(plan[layer, INPUTS])
            matrix, across = weights + plan[layer, MATRIX], plan[layer, TRANSPOSED]
            transpose(like, rows, columns, matrix, columns * size, across, rows * size)


@kernel
def prepare_labels(like: Any, labels: Any, rows: Any, places: Any, share: float) -> None:
    """Labels of a batch as numbers of the dtype, and its examples' share in the mean; 0 for what is padding."""
    size, kind = width_of(like), type(like)
    for k in range(len(rows)):
        store_one(places[LABELS] + k * size, kind(labels[rows[k]]))
        store_one(places[SHARES] + k * size, kind(share))
    for k in range(len(rows), padded(len(rows))):
        store_one(places[SHARES] + k * size, kind(0))


@kernel
def _advance(
    like: Any,
    plan: Any,
    places: Any,
    settings: Any,
    tensors: Any,
    inputs: int,
    example_step: int,
    offsets: Any,
    labels: Any,
    rows: Any,
    sizes: Any,
    rates: Any,
    losses: Any,
    hits: Any,
) -> None:
    """Updates, one for each of ``sizes``; and whatever follows a loss that is not finite is undefined.

    Args:
        like: a zero of the dtype.
        plan: int64 ``[layers, 7]``, see its columns above.
        places: int64 ``[10]``, see there.
        settings: float64 ``[8]``, see there.
        tensors: int64 ``[3, 2 · layers]``: where torch holds weights and biases, and the two states of each.
        inputs: where the examples lie.
        example_step: bytes from example to example.
        offsets: int64 ``[features]``, bytes from an example's beginning to each of its flattened numbers; or empty.
        labels: int64 ``[n]``.
        rows: int64 ``[sum(sizes)]``, the examples of one batch after another.
        sizes: int64 ``[k]``.
        rates: float64 ``[k]``, learning rates.
        losses: ``[k]``, to be written: mean losses before each update.
        hits: int64 ``[k]``, to be written: right classifications before each update.
    """
    last = len(plan) - 1
    width, classes = plan[0, INPUTS], plan[last, OUTPUTS]
    x, x_step = plan[0, ACTIVATIONS], padded(width) * width_of(like)
    states = 2 if settings[KIND] != SGD else 1 if settings[MOMENTUM] != 0 else 0
    take_in(like, plan, places[WEIGHTS], tensors[0])
    if states > 0:
        take_in(like, plan, places[FIRST_STATE], tensors[1])
    if states > 1:
        take_in(like, plan, places[SECOND_STATE], tensors[2])
    renew_transposed(like, plan, places[WEIGHTS])
    first = 0
    for number in range(len(sizes)):
        batch = sizes[number]
        chosen = rows[first : first + batch]
        first += batch
        gather(like, chosen, inputs, example_step, offsets, width, x, x_step)
        prepare_labels(like, labels, chosen, places, 1.0 / batch)
        forward(like, plan, places, batch)
        scores, targets, shares = places[SCORES_ACROSS], places[LABELS], places[SHARES]
        if settings[SQUARED]:
            loss, right = squared(like, classes, batch, scores, targets, shares)
        else:
            loss, right = cross_entropy(like, classes, batch, scores, targets, shares)
        losses[number], hits[number] = loss / batch, right
        backward(like, plan, places, batch)
        optimize(like, places, settings, rates[number], int(settings[STEP]) + number + 1)
        renew_transposed(like, plan, places[WEIGHTS])
    give_back(like, plan, places[WEIGHTS], tensors[0])
    if states > 0:
        give_back(like, plan, places[FIRST_STATE], tensors[1])
    if states > 1:
        give_back(like, plan, places[SECOND_STATE], tensors[2])


@kernel
def _surely_wrong(
    like: Any,
    plan: Any,
    places: Any,
    tensors: Any,
    inputs: int,
    example_step: int,
    offsets: Any,
    labels: Any,
    order: Any,
    batch: int,
    enough: int,
    margin: float,
) -> int:
    """How many examples are classified wrong by more than rounding can explain; counted until there are enough.

    Args:
        like: as for `advance`, and so everything else not named here.
        order: int64 ``[n]``, all rows.
        batch: examples at a time.
        enough: where counting ends.
        margin: by how much of the largest absolute score the label's has to be below the largest.
    """
    last, size = len(plan) - 1, width_of(like)
    width, classes = plan[0, INPUTS], plan[last, OUTPUTS]
    x, x_step = plan[0, ACTIVATIONS], padded(width) * size
    take_in(like, plan, places[WEIGHTS], tensors[0])
    renew_transposed(like, plan, places[WEIGHTS])
    wrong = 0
    for begin in range(0, len(order), batch):
        chosen = order[begin : begin + batch]
        gather(like, chosen, inputs, example_step, offsets, width, x, x_step)
        forward(like, plan, places, len(chosen))
        for k in range(len(chosen)):
            at, step = places[SCORES_ACROSS] + k * size, padded(len(chosen)) * size
            label = labels[chosen[k]]
            if classes == 1:
                score = load_one(like, at)
                wrong += score < -margin if label == 1 else score > margin
                continue
            own, largest, scale = load_one(like, at + label * step), load_one(like, at), 0.0
            for j in range(classes):
                score = load_one(like, at + j * step)
                largest = max(largest, score)
                scale = max(scale, abs(score))
            wrong += own < largest - margin * scale
        if wrong >= enough:
            break
    return wrong


def _entries(stamp: int) -> tuple[Callable[..., int], Callable[..., int]]:
    @entry
    def advance(*arguments: Any) -> int:
        _advance(*arguments)
        return stamp

    @entry
    def surely_wrong(*arguments: Any) -> int:
        return _surely_wrong(*arguments) if stamp >= 0 else 0

    return advance, surely_wrong


advance, surely_wrong = _entries(sources())
