"""Ways of training many small networks in one thread: an eager loop, vmap, JAX, and ours. See fleets.py.

Every way gets the same arrays and makes the same updates: stochastic gradient descent on the cross entropy, with or
without momentum, each network on its own labels, in its own order, from its own weights.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from shattering.core.spec import RunSpec, parse_spec
from shattering.core.streams import Stream
from shattering.data.load import load_data
from shattering.models.build import build_model
from shattering.training.examples import Examples
from shattering.training.stepping import Wanted
from shattering.training.update import build_optimizer

RATE, BATCH, WIDTH, CLASSES = 0.1, 64, 64, 10
EPOCH = 22
"""Whole batches of 64 in the 1,437 digits."""


@dataclass(frozen=True, eq=False)
class Fleet:
    """What is trained.

    Args:
        inputs: ``[n, 1, 8, 8]``.
        labels: int64 ``[models, n]``, random ones.
        rows: int64 ``[models, steps, batch]``.
        weights: of each model, in the order of its parameters.
        momentum: of the optimizer.
    """

    inputs: Tensor
    labels: Tensor
    rows: Tensor
    weights: list[list[Tensor]]
    momentum: float

    @property
    def spec(self) -> RunSpec:
        """Of ours."""
        training = {"batch_size": BATCH, "learning_rate": RATE, "momentum": self.momentum}
        return parse_spec({"training": training, "compute": {"dtype": str(self.inputs.dtype).removeprefix("torch.")}})


Weights = list[list[NDArray[Any]]]
Way = Callable[[Fleet], Callable[[], Weights]]
"""Makes everything ready; what it returns trains all models from their first weights and returns the last ones."""


def network(dtype: torch.dtype) -> nn.Module:
    """The digits network 64-64-10, as the project builds it."""
    return build_model("mlp_1x512", {"width": WIDTH}, (1, 8, 8), CLASSES).to(dtype)


def fleet(models: int, steps: int, momentum: float, dtype: torch.dtype = torch.float32) -> Fleet:
    """Models with their own random labels, orders and first weights; whole batches only."""
    pixels = np.moveaxis(load_data("digits").train.inputs, -1, 1) / 16.0 * 2 - 1
    count = len(pixels)
    labels, rows, weights = [], [], []
    for seed in range(models):
        words = Stream(seed, "labels").words(np.arange(count))[:, 0].astype(np.uint64)
        labels.append(((words * np.uint64(CLASSES)) >> np.uint64(32)).astype(np.int64))
        epochs = [Stream(seed, "order").permutation(count, epoch) for epoch in range(-(-steps // EPOCH))]
        rows.append(np.concatenate([order[: EPOCH * BATCH] for order in epochs])[: steps * BATCH].reshape(steps, BATCH))
        torch.manual_seed(seed)
        weights.append([parameter.detach() for parameter in network(dtype).parameters()])
    stacked = torch.from_numpy(np.stack(labels)), torch.from_numpy(np.stack(rows))
    return Fleet(torch.from_numpy(pixels).to(dtype), *stacked, weights, momentum)


def _built(work: Fleet, model: int) -> nn.Module:
    net = network(work.inputs.dtype)
    _restore(net, work.weights[model])
    return net


def _restore(net: nn.Module, weights: list[Tensor]) -> None:
    with torch.no_grad():
        for parameter, weight in zip(net.parameters(), weights, strict=True):
            parameter.copy_(weight)


def _arrays(net: nn.Module) -> list[NDArray[Any]]:
    return [parameter.detach().numpy().copy() for parameter in net.parameters()]


def eager(work: Fleet) -> Callable[[], Weights]:
    """PyTorch as one writes it, with its fused optimizer, one model after another."""
    networks = [_built(work, model) for model in range(len(work.labels))]

    def train() -> Weights:
        found = []
        for model, (labels, batches) in enumerate(zip(work.labels, work.rows, strict=True)):
            net = networks[model]
            _restore(net, work.weights[model])
            optimizer = torch.optim.SGD(net.parameters(), lr=RATE, momentum=work.momentum, fused=True)
            for rows in batches:
                functional.cross_entropy(net(work.inputs[rows]), labels[rows]).backward()
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            found.append(_arrays(net))
        return found

    return train


@functools.cache
def _stacked_step(momentum: float) -> Callable[..., tuple[list[Tensor], list[Tensor]]]:
    def loss(weights: list[Tensor], inputs: Tensor, labels: Tensor) -> Tensor:
        hidden = functional.relu(functional.linear(inputs, weights[0], weights[1]))
        return functional.cross_entropy(functional.linear(hidden, weights[2], weights[3]), labels)

    gradients = torch.func.vmap(torch.func.grad(loss))

    def step(
        weights: list[Tensor], speeds: list[Tensor], inputs: Tensor, labels: Tensor
    ) -> tuple[list[Tensor], list[Tensor]]:
        found = gradients(weights, inputs, labels)
        speeds = [momentum * s + g for s, g in zip(speeds, found, strict=True)] if momentum else found
        return [w - RATE * s for w, s in zip(weights, speeds, strict=True)], speeds

    return step


@functools.cache
def _compiled_step(momentum: float) -> Any:
    return torch.compile(_stacked_step(momentum), dynamic=False)


def _vmapped(work: Fleet, step: Callable[..., tuple[list[Tensor], list[Tensor]]]) -> Callable[[], Weights]:
    flat = work.inputs.flatten(1)
    which = torch.arange(len(work.labels))[:, None]

    def train() -> Weights:
        weights = [torch.stack(parts) for parts in zip(*work.weights, strict=True)]
        speeds = [torch.zeros_like(weight) for weight in weights]
        with torch.no_grad():
            for number in range(work.rows.shape[1]):
                rows = work.rows[:, number]
                weights, speeds = step(weights, speeds, flat[rows], work.labels[which, rows])
        return [[weight[model].numpy() for weight in weights] for model in range(len(work.labels))]

    return train


def vmap(work: Fleet) -> Callable[[], Weights]:
    """`torch.func`: vmap of grad over stacked parameters, all models in step."""
    return _vmapped(work, _stacked_step(work.momentum))


def vmap_compiled(work: Fleet) -> Callable[[], Weights]:
    """The same under `torch.compile`."""
    return _vmapped(work, _compiled_step(work.momentum))


def jax(work: Fleet) -> Callable[[], Weights]:
    """JAX: vmap over the models of a scan over the steps, all in one call of a compiled function."""
    jax = importlib.import_module("jax")
    jnp = jax.numpy
    flat = jnp.asarray(work.inputs.flatten(1).numpy())
    labels, batches = jnp.asarray(work.labels.numpy(), jnp.int32), jnp.asarray(work.rows.numpy(), jnp.int32)

    def loss(weights: Any, inputs: Any, targets: Any) -> Any:
        hidden = jax.nn.relu(inputs @ weights[0] + weights[1])
        scores = jax.nn.log_softmax(hidden @ weights[2] + weights[3])
        return -jnp.take_along_axis(scores, targets[:, None], axis=1).mean()

    def one(weights: Any, own_labels: Any, own_batches: Any) -> Any:
        def step(carried: Any, rows: Any) -> Any:
            weights, speeds = carried
            found = jax.grad(loss)(weights, flat[rows], own_labels[rows])
            if work.momentum:
                speeds = [work.momentum * s + g for s, g in zip(speeds, found, strict=True)]
                found = speeds
            return ([w - RATE * s for w, s in zip(weights, found, strict=True)], speeds), None

        speeds = [jnp.zeros_like(weight) for weight in weights] if work.momentum else []
        return jax.lax.scan(step, (weights, speeds), own_batches)[0][0]

    # Weights lie as [inputs, outputs]: the way JAX's own layers keep them.
    first = [
        jnp.asarray(torch.stack([part.T if part.dim() == 2 else part for part in parts]).contiguous().numpy())
        for parts in zip(*work.weights, strict=True)
    ]
    compiled = jax.jit(jax.vmap(one)).lower(first, labels, batches).compile()

    def train() -> Weights:
        last = [np.asarray(weight) for weight in compiled(first, labels, batches)]
        return [[part[model].T for part in last] for model in range(len(work.labels))]

    return train


def ours(work: Fleet, at_once: int | None = None) -> Callable[[], Weights]:
    """The compiled stepper, one model after another, asked for as many updates at once as it takes."""
    from shattering.training.steppers.compiled import CompiledStepper

    spec, changed = work.spec, torch.zeros(len(work.inputs), dtype=torch.bool)
    ready = []
    for model, labels in enumerate(work.labels):
        net = _built(work, model)
        optimizer = build_optimizer(net, spec)
        examples = Examples(work.inputs, labels, labels, changed, CLASSES)
        ready.append((net, optimizer, CompiledStepper(net, optimizer, examples, spec)))

    def train() -> Weights:
        found = []
        for model, (batches, (net, optimizer, stepper)) in enumerate(zip(work.rows, ready, strict=True)):
            _restore(net, work.weights[model])
            optimizer.state.clear()
            for part in torch.split(batches, at_once or stepper.reach):
                sizes, rates = (BATCH,) * len(part), (RATE,) * len(part)
                stepper.advance(Wanted(part.reshape(-1), sizes, rates, None, iter(())))
            found.append(_arrays(net))
        return found

    return train


def ours_by_epochs(work: Fleet) -> Callable[[], Weights]:
    """The same, asked for an epoch of updates at a time, as the training loop asks."""
    return ours(work, EPOCH)


def missing(name: str) -> str | None:
    """Why a way cannot be gone here; none where it can."""
    if name.startswith("JAX") and importlib.util.find_spec("jax") is None:
        return "JAX is not installed"
    if name.endswith("compiled") and not any(shutil.which(os.environ.get("CXX", cc)) for cc in ("g++", "clang++")):
        return "torch.compile finds no C++ compiler"
    if name.startswith("ours") and importlib.util.find_spec("numba") is None:
        return "Numba is not installed"
    return None


WAYS: dict[str, Way] = {
    "eager loop": eager,
    "torch.func vmap": vmap,
    "torch.func vmap, compiled": vmap_compiled,
    "JAX vmap + jit": jax,
    "ours, an epoch at a call": ours_by_epochs,
    "ours": ours,
}
