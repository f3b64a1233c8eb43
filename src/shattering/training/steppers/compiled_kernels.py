"""A fully connected network's updates in compiled code: forward, backward and optimizer, batch after batch.

Everything lies in one piece of memory that the fastest caches hold, and every matrix product has its second factor and
its result in rows of registers, so one kind of block does for all. For that the first of several layers keeps
its weights as [inputs, outputs]; the others keep them as torch does, [outputs, inputs], with a transposed copy that is
renewed after every update; and of the outputs' gradient there is only the transposed one, [outputs, batch], in which a
lane is an example and the softmax needs no sum across lanes. Dimensions are padded with zeros.

Addresses and steps are bytes, in int64; ``like`` is a zero of the run's dtype.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from shattering.training.steppers.compiled_products import kernel, multiply, padded, sum_rows, transpose
from shattering.training.steppers.compiled_vectors import (
    VECTOR_BYTES,
    add,
    divide,
    exponential,
    load,
    multiply_add,
    product,
    splat,
    square_root,
    store,
    store_one,
    subtract,
    times,
    total,
    where_above,
    where_equal,
    width_of,
)

INPUTS, OUTPUTS, MATRIX, BIAS, TRANSPOSED, ACTIVATIONS, DELTAS = range(7)
"""Columns of the plan, one row a layer: sizes; where its weights begin in each of the four stretches below; addresses
of the transposed copy (0 where there is none), of the layer's inputs and of the loss's gradient to its outputs."""
WEIGHTS, GRADIENTS, FIRST_STATE, SECOND_STATE, STRETCH, SCORES, SCORES_ACROSS, LABELS, SHARES, ZEROS = range(10)
"""Places: four stretches of memory of as many bytes as the fifth says, and what the batch needs beside the layers."""
SGD, ADAM, ADAMW = range(3)
KIND, SQUARED, MOMENTUM, DECAY, BETA1, BETA2, EPSILON, STEP = range(8)
"""Settings of the optimizer and the loss, float64; ``STEP`` counts the updates made before."""


@kernel
def forward(like: Any, plan: Any, places: Any, batch: int) -> None:
    """From the first layer's inputs to the scores, [batch, outputs] and transposed."""
    size, last = width_of(like), len(plan) - 1
    for layer in range(len(plan)):
        inputs, outputs = plan[layer, INPUTS], plan[layer, OUTPUTS]
        matrix = plan[layer, TRANSPOSED] if plan[layer, TRANSPOSED] else places[WEIGHTS] + plan[layer, MATRIX]
        target = places[SCORES] if layer == last else plan[layer + 1, ACTIVATIONS]
        floor = like - np.inf if layer == last else like
        step, columns = padded(outputs) * size, padded(outputs) * size // VECTOR_BYTES
        source, source_step = plan[layer, ACTIVATIONS], padded(inputs) * size
        bias = places[WEIGHTS] + plan[layer, BIAS]
        multiply(
            like,
            batch,
            columns,
            inputs,
            source,
            source_step,
            size,
            matrix,
            step,
            target,
            step,
            bias,
            type(like)(floor),
            0,
        )
    outputs = plan[last, OUTPUTS]
    across = places[SCORES_ACROSS]
    transpose(
        like, padded(batch), padded(outputs), places[SCORES], padded(outputs) * size, across, padded(batch) * size
    )


@kernel
def cross_entropy(like: Any, classes: int, batch: int, scores: int, labels: int, shares: int) -> tuple[float, int]:
    """Summed loss and hits of a batch; its scores, [classes, batch], become the gradient of its mean loss."""
    step = padded(batch) * width_of(like)
    zero, one = splat(like), splat(type(like)(1))
    loss, hits = 0.0, 0.0
    for off in range(0, batch * width_of(like), VECTOR_BYTES):
        label, share = load(like, labels + off), load(like, shares + off)
        largest, found, own = load(like, scores + off), zero, zero
        for k in range(classes):
            score, class_k = load(like, scores + off + k * step), splat(type(like)(k))
            found = where_above(score, largest, class_k, found)
            largest = where_above(score, largest, score, largest)
            own = where_equal(label, class_k, score, own)
        mass = zero
        for k in range(classes):
            at = scores + off + k * step
            weight = exponential(subtract(load(like, at), largest))
            store(at, weight)
            mass = add(mass, weight)
        inverse = divide(share, mass)
        for k in range(classes):
            at = scores + off + k * step
            wanted = where_equal(label, splat(type(like)(k)), share, zero)
            store(at, subtract(times(load(like, at), inverse), wanted))
        # One logarithm for all lanes: of the product, in float64, of numbers between 1 and the classes.
        loss += math.log(product(where_above(share, zero, mass, one)))
        loss += total(where_above(share, zero, subtract(largest, own), zero))
        hits += total(where_above(share, zero, where_equal(found, label, one, zero), zero))
    return loss, int(hits)


@kernel
def squared(like: Any, classes: int, batch: int, scores: int, labels: int, shares: int) -> tuple[float, int]:
    """The same for half the squared distance to the one-hot label; with one output, to -1 or 1."""
    step = padded(batch) * width_of(like)
    zero, one, two = splat(like), splat(type(like)(1)), splat(type(like)(2))
    loss, hits = 0.0, 0.0
    for off in range(0, batch * width_of(like), VECTOR_BYTES):
        label, share = load(like, labels + off), load(like, shares + off)
        largest, found, distance = load(like, scores + off), zero, zero
        if classes == 1:
            found = where_above(largest, zero, one, zero)
        for k in range(classes):
            at, class_k = scores + off + k * step, splat(type(like)(k))
            score = load(like, at)
            if classes > 1:
                found = where_above(score, largest, class_k, found)
                largest = where_above(score, largest, score, largest)
                target = where_equal(label, class_k, one, zero)
            else:
                target = subtract(times(two, label), one)
            error = subtract(score, target)
            distance = multiply_add(error, error, distance)
            store(at, times(error, share))
        loss += 0.5 * total(where_above(share, zero, distance, zero))
        hits += total(where_above(share, zero, where_equal(found, label, one, zero), zero))
    return loss, int(hits)


@kernel
def backward(like: Any, plan: Any, places: Any, batch: int) -> None:
    """From the gradient of the scores to those of weights and biases."""
    size, last, free = width_of(like), len(plan) - 1, type(like)(like - np.inf)
    zeros = places[ZEROS]
    for layer in range(last, -1, -1):
        inputs, outputs = plan[layer, INPUTS], plan[layer, OUTPUTS]
        in_step, out_step = padded(inputs) * size, padded(outputs) * size
        # How the gradient of this layer's outputs lies: transposed for the scores.
        deltas = places[SCORES_ACROSS] if layer == last else plan[layer, DELTAS]
        example_step, unit_step = (size, padded(batch) * size) if layer == last else (out_step, size)
        activations = plan[layer, ACTIVATIONS]
        matrix, bias = places[GRADIENTS] + plan[layer, MATRIX], places[GRADIENTS] + plan[layer, BIAS]
        if plan[layer, TRANSPOSED]:
            registers = in_step // VECTOR_BYTES
            multiply(
                like,
                outputs,
                registers,
                batch,
                deltas,
                unit_step,
                example_step,
                activations,
                in_step,
                matrix,
                in_step,
                zeros,
                free,
                0,
            )
        else:
            registers = out_step // VECTOR_BYTES
            multiply(
                like,
                inputs,
                registers,
                batch,
                activations,
                size,
                in_step,
                deltas,
                out_step,
                matrix,
                out_step,
                zeros,
                free,
                0,
            )
        if layer == last:
            for k in range(outputs):
                found = splat(like)
                for off in range(0, batch * size, VECTOR_BYTES):
                    found = add(found, load(like, deltas + k * unit_step + off))
                store_one(bias + k * size, type(like)(total(found)))
        else:
            sum_rows(like, batch, outputs, deltas, out_step, bias)
        if layer > 0:
            weights = places[WEIGHTS] + plan[layer, MATRIX]
            multiply(
                like,
                batch,
                in_step // VECTOR_BYTES,
                outputs,
                deltas,
                example_step,
                unit_step,
                weights,
                in_step,
                plan[layer - 1, DELTAS],
                in_step,
                zeros,
                free,
                activations,
            )


@kernel
def optimize(like: Any, places: Any, settings: Any, rate: float, step: int) -> None:
    """One update of all weights, as torch's fused optimizers make it; ``step`` counts it in."""
    kind = type(like)
    weights, gradients = places[WEIGHTS], places[GRADIENTS]
    first, second = places[FIRST_STATE], places[SECOND_STATE]
    decay = splat(kind(settings[DECAY]))
    if settings[KIND] == SGD:
        minus_rate, momentum = splat(kind(-rate)), splat(kind(settings[MOMENTUM]))
        if settings[MOMENTUM] == 0:
            for off in range(0, places[STRETCH], VECTOR_BYTES):
                weight = load(like, weights + off)
                gradient = multiply_add(decay, weight, load(like, gradients + off))
                store(weights + off, multiply_add(minus_rate, gradient, weight))
        else:
            for off in range(0, places[STRETCH], VECTOR_BYTES):
                weight = load(like, weights + off)
                gradient = multiply_add(decay, weight, load(like, gradients + off))
                speed = multiply_add(momentum, load(like, first + off), gradient)
                store(first + off, speed)
                store(weights + off, multiply_add(minus_rate, speed, weight))
        return
    beta1, beta2 = settings[BETA1], settings[BETA2]
    minus_rate = splat(kind(-rate / (1 - beta1**step)))
    correction = splat(kind(1 / math.sqrt(1 - beta2**step)))
    new1, old2, new2 = splat(kind(1 - beta1)), splat(kind(beta2)), splat(kind(1 - beta2))
    epsilon = splat(kind(settings[EPSILON]))
    # AdamW shrinks the weights themselves; Adam adds the decay to the gradient.
    kept = splat(kind(1 - rate * settings[DECAY] if settings[KIND] == ADAMW else 1.0))
    coupled = splat(kind(0.0 if settings[KIND] == ADAMW else settings[DECAY]))
    for off in range(0, places[STRETCH], VECTOR_BYTES):
        weight = load(like, weights + off)
        gradient = multiply_add(coupled, weight, load(like, gradients + off))
        weight = times(weight, kept)
        mean, square = load(like, first + off), load(like, second + off)
        mean = multiply_add(subtract(gradient, mean), new1, mean)
        square = multiply_add(times(new2, gradient), gradient, times(old2, square))
        store(first + off, mean)
        store(second + off, square)
        scale = multiply_add(square_root(square), correction, epsilon)
        store(weights + off, multiply_add(minus_rate, divide(mean, scale), weight))
