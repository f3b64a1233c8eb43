"""The compiled way: small fully connected networks, whose updates cost less than calling torch for them."""

from __future__ import annotations

import importlib.util
import math
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shattering.core.spec import RunSpec
from shattering.training.examples import Examples
from shattering.training.masking import MASKED, is_masked
from shattering.training.stepping import Advanced, Wanted

LARGEST = 2_000_000
"""Parameters at most: a matrix library keeps its pace beyond the caches, this does not."""

MARGIN = 1e-3
"""Of the largest absolute score: a label's that is so far below the largest is so in any order of summation."""

SCREENED = 128
"""Examples whose scores are computed at once to see whether the criterion may be met."""

PACE = 50e9
"""Floating-point operations a second of float32, to tell how many updates take about 50 ms."""


def why_not(model: nn.Module, spec: RunSpec, examples: Examples) -> str | None:
    """Why a run cannot be trained in compiled code, in a clause; none where it can."""
    compute, training = spec.compute, spec.training
    inputs = examples.inputs
    if importlib.util.find_spec("numba") is None:
        return "Numba is not installed"
    if compute.device != "cpu" or compute.dtype == "bfloat16":
        return "it works in float32 and float64 on a CPU"
    if compute.threads != 1:
        return f"it works in one thread, and compute.threads={compute.threads}"
    if examples.team is not None or not isinstance(inputs, Tensor):
        return "the batches are shared by several processes, or their images are on the disk"
    if training.gradient != "mean" or training.augmentation != "none":
        return "the gradient is not the plain mean, or the batches are augmented"
    if is_masked(model):
        return MASKED
    if ":" in spec.training.loss:
        return "the loss is the user's own"
    linears = linear_layers(model)
    if linears is None:
        return "the network is not nn.Flatten, then nn.Linear with biases and nn.ReLU between them, and nothing else"
    if not all(parameter.requires_grad and parameter.is_contiguous() for parameter in model.parameters()):
        return "parameters are frozen or not contiguous"
    if len({id(parameter) for layer in linears for parameter in layer.parameters()}) < 2 * len(linears):
        return "layers share parameters"
    kinds = {inputs.dtype} | {parameter.dtype for parameter in model.parameters()}
    if kinds != {torch.float64 if compute.dtype == "float64" else torch.float32}:
        return "inputs and parameters are not of the run's dtype"
    if linears[0].in_features != inputs[0].numel():
        return "the first layer does not take the examples' features"
    if sum(parameter.numel() for parameter in model.parameters()) > LARGEST:
        return f"it has more than {LARGEST:,} parameters"
    if linears[-1].out_features == 1 and training.loss != "squared":
        return "there is one output, and the loss is not the squared one"
    return None


def linear_layers(model: nn.Module) -> list[nn.Linear] | None:
    """The linear layers of ``nn.Sequential(Flatten, Linear, ReLU, …, Linear)``; none for any other structure."""
    if type(model) is not nn.Sequential or any(_hooked(module) for module in model.modules()):
        return None
    children = list(model)
    if not children or type(children[0]) is not nn.Flatten or (children[0].start_dim, children[0].end_dim) != (1, -1):
        return None
    linears: list[nn.Linear] = []
    for place, child in enumerate(children[1:]):
        if place % 2 == 1:
            if type(child) is not nn.ReLU:
                return None
        elif (
            type(child) is not nn.Linear
            or not isinstance(child.bias, nn.Parameter)
            or not isinstance(child.weight, nn.Parameter)
        ):
            return None
        else:
            linears.append(child)
    if len(children) != 2 * len(linears) or not linears:
        return None
    if any(before.out_features != after.in_features for before, after in pairwise(linears)):
        return None
    return linears


def _hooked(module: nn.Module) -> bool:
    """Whether something is to happen in this module beside its own arithmetic."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(module, name, None) for name in hooks) or "forward" in vars(module)


class CompiledStepper:
    """All wanted updates in one call of compiled code, on torch's own tensors.

    Args:
        model: one for which `why_not` is none.
        optimizer: over its parameters.
        examples: the training split.
        spec: the run.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, examples: Examples, spec: RunSpec) -> None:
        from shattering.training.steppers import compiled_run

        self._code = compiled_run
        layers = linear_layers(model)
        assert layers is not None and isinstance(examples.inputs, Tensor)
        self._optimizer, self._examples, self._training = optimizer, examples, spec.training
        self._parameters = [tensor for layer in layers for tensor in (layer.weight, layer.bias)]
        self._tensors: list[list[Tensor]] = [list(self._parameters)]
        self._counts: list[NDArray[np.float32]] = []
        self._at = np.zeros((3, len(self._parameters)), np.int64)
        self._fixed = self._settings()
        self._begun = False  # torch has no states before its first step, and so a checkpoint has none
        self._dtype = np.dtype(spec.compute.dtype)
        self._like = self._dtype.type(0)
        self._labels = examples.labels.numpy()
        self._everyone = np.arange(len(examples))
        self._example_step, self._offsets = _flattened(examples.inputs)
        widths = [layers[0].in_features, *(layer.out_features for layer in layers)]
        batch = min(spec.training.batch_size, len(examples))
        self._room = _Room(widths, max(batch, min(SCREENED, len(examples))), self._dtype)
        work = 6 * batch * sum(a * b for a, b in pairwise(widths)) * self._dtype.itemsize // 4
        self.reach = max(1, math.ceil(0.05 * PACE / work))

    def advance(self, wanted: Wanted) -> Advanced:
        """All of the wanted updates."""
        count = len(wanted.sizes)
        if not self._begun:
            self._begun = True
            self._tensors[1:], self._counts = self._states()
        if self._counts:
            self._fixed[-1] = self._counts[0]
        losses, hits = np.zeros(count, self._dtype), np.zeros(count, np.int64)
        for group in self._optimizer.param_groups:
            group["lr"] = wanted.rates[-1]
        self._code.advance(
            self._like,
            self._room.plan,
            self._room.places,
            self._fixed,
            self._addresses(),
            self._inputs_at(),
            self._example_step,
            self._offsets,
            self._labels,
            wanted.rows.numpy(),
            np.array(wanted.sizes, np.int64),
            np.array(wanted.rates, np.float64),
            losses,
            hits,
        )
        for steps in self._counts:
            steps += count
        return torch.from_numpy(losses), torch.from_numpy(hits)

    def permutation(self, seed: int, purpose: str, size: int, index: int) -> NDArray[np.int64]:
        """The bits of ``Stream(seed, purpose).permutation(size, index)``, in the time of an update or two."""
        from shattering.training.steppers.compiled_order import permutation

        return permutation(seed, purpose, size, index)

    def may_fit(self, needed: int) -> bool:
        """False where more than ``n - needed`` examples are wrong by more than rounding can explain."""
        enough = len(self._examples) - needed + 1
        if enough <= 0:
            return False
        wrong = self._code.surely_wrong(
            self._like,
            self._room.plan,
            self._room.places,
            self._addresses(),
            self._inputs_at(),
            self._example_step,
            self._offsets,
            self._labels,
            self._everyone,
            min(SCREENED, len(self._examples)),
            enough,
            MARGIN,
        )
        return bool(wrong < enough)

    def _addresses(self) -> NDArray[np.int64]:
        """Where weights, and the states that there are, lie now."""
        for row, tensors in enumerate(self._tensors):
            self._at[row] = [tensor.data_ptr() for tensor in tensors]
        return self._at

    def _inputs_at(self) -> int:
        assert isinstance(self._examples.inputs, Tensor)
        return self._examples.inputs.data_ptr()

    def _settings(self) -> NDArray[np.float64]:
        """The settings that stay, in the order of `compiled_kernels`."""
        training, group = self._training, self._optimizer.param_groups[0]
        kind = ("sgd", "adam", "adamw").index(training.optimizer)
        settings = np.zeros(8)
        settings[:4] = kind, training.loss == "squared", training.momentum, training.weight_decay
        if kind > 0:
            settings[4:7] = *group["betas"], group["eps"]
        return settings

    def _states(self) -> tuple[list[list[Tensor]], list[NDArray[np.float32]]]:
        """The optimizer's states of weights and biases, made as torch makes them at its first step; its counts."""
        state = self._optimizer.state
        if self._training.optimizer == "sgd":
            names: tuple[str, ...] = ("momentum_buffer",) if self._training.momentum else ()
        else:
            names = ("exp_avg", "exp_avg_sq")
            for parameter in self._parameters:
                if "step" not in state[parameter]:
                    state[parameter]["step"] = torch.zeros((), dtype=torch.float32)
        for parameter in self._parameters:
            for name in names:
                if state[parameter].get(name) is None:
                    state[parameter][name] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        counts = [state[parameter]["step"].numpy() for parameter in self._parameters] if len(names) == 2 else []
        return [[state[parameter][name] for parameter in self._parameters] for name in names], counts


class _Room:
    """The memory that one network's updates need, and what lies where in it; see the columns in `compiled_kernels`."""

    def __init__(self, widths: list[int], batch: int, dtype: np.dtype[Any]) -> None:
        from shattering.training.steppers import compiled_kernels as code
        from shattering.training.steppers.compiled_products import ROW

        self._size, self._used = dtype.itemsize, 0

        def up(size: int) -> int:
            return -(-size // ROW) * ROW

        layers = len(widths) - 1
        plan = np.zeros((layers, 7), np.int64)
        places = np.zeros(10, np.int64)
        for layer, (inputs, outputs) in enumerate(pairwise(widths)):
            plan[layer, [code.INPUTS, code.OUTPUTS]] = inputs, outputs
            plan[layer, code.MATRIX] = self._take(up(inputs) * up(outputs))
            plan[layer, code.BIAS] = self._take(up(outputs))
        places[code.STRETCH] = self._used
        self._used = 0
        for stretch in (code.WEIGHTS, code.GRADIENTS, code.FIRST_STATE, code.SECOND_STATE):
            places[stretch] = self._take(int(places[code.STRETCH]) // self._size)
        for layer, (inputs, outputs) in enumerate(pairwise(widths)):
            plan[layer, code.ACTIVATIONS] = self._take(up(batch) * up(inputs))
            plan[layer, code.DELTAS] = self._take(up(batch) * up(outputs))
            if layer > 0 or layers == 1:
                plan[layer, code.TRANSPOSED] = self._take(up(inputs) * up(outputs))
        for place in (code.SCORES, code.SCORES_ACROSS):
            places[place] = self._take(up(batch) * up(widths[-1]))
        for place in (code.LABELS, code.SHARES):
            places[place] = self._take(up(batch))
        places[code.ZEROS] = self._take(up(max(widths)))
        self._memory = np.zeros(self._used + 64, np.uint8)
        begin = self._memory.ctypes.data
        begin += -begin % 64
        places[[place for place in range(10) if place != code.STRETCH]] += begin
        plan[:, [code.ACTIVATIONS, code.DELTAS]] += begin
        plan[:, code.TRANSPOSED] += np.where(plan[:, code.TRANSPOSED] > 0, begin, 0)
        self.plan, self.places = plan, places

    def _take(self, count: int) -> int:
        """So many numbers more, from a multiple of 64 bytes on."""
        at = self._used
        self._used += -(-count * self._size // 64) * 64
        return at


def _flattened(inputs: Tensor) -> tuple[int, NDArray[np.int64]]:
    """Bytes from example to example, and to each number in the order of `nn.Flatten`; none where they lie so."""
    size = inputs.element_size()
    offsets = np.zeros(tuple(inputs.shape[1:]), np.int64)
    for axis, (length, stride) in enumerate(zip(inputs.shape[1:], inputs.stride()[1:], strict=True)):
        shape = [length if place == axis else 1 for place in range(inputs.dim() - 1)]
        offsets = offsets + (np.arange(length) * stride * size).reshape(shape)
    flat = np.ascontiguousarray(offsets.reshape(-1))
    plain = bool((flat == np.arange(len(flat)) * size).all())
    return inputs.stride(0) * size, flat[:0] if plain else flat
