"""Ways to get Σgᵢ and Σ‖gᵢ‖² over a batch: ours, PyTorch's own, and those of other libraries."""

from __future__ import annotations

import copy
import importlib.util
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from shattering.gradients.engine import Engine

VMAP_CHUNK = 16

Sums = tuple[float, Iterable[Tensor]]
"""Σ‖gᵢ‖², and Σgᵢ of each parameter."""

Pass = Callable[[], Sums]
"""One measurement at the network's present weights."""


@dataclass(frozen=True)
class Method:
    """A way to measure.

    Args:
        name: in tables.
        build: makes a pass from a network, inputs and labels.
        library: that it needs; none: ours and PyTorch's own.
    """

    name: str
    build: Callable[[nn.Module, Tensor, Tensor], Pass]
    library: str | None = None

    @property
    def installed(self) -> bool:
        return self.library is None or importlib.util.find_spec(self.library) is not None


def each_loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """One cross-entropy per example."""
    return F.cross_entropy(outputs, labels, reduction="none")


def squared(tensors: Iterable[Tensor]) -> float:
    """The squared Euclidean norm of all of them together."""
    return float(sum(tensor.double().square().sum() for tensor in tensors))


def plain(network: nn.Module, inputs: Tensor, labels: Tensor) -> Pass:
    """The yardstick: forward and backward of the mean loss; its first number means nothing."""

    def measure() -> Sums:
        network.zero_grad()
        torch.autograd.backward(each_loss(network(inputs), labels).mean())
        return 0.0, [p.grad for p in network.parameters() if p.grad is not None]

    return measure


def ours(network: nn.Module, inputs: Tensor, labels: Tensor) -> Pass:
    engine = Engine(network, each_loss)

    def measure() -> Sums:
        # Σ‖gᵢ‖² and Σgᵢ, as of every way; ‖Σgᵢ‖² is nobody's within the time.
        sums = engine.sums((inputs, labels))
        return sum(sums.squared.values()), sums.total.values()

    return measure


def one_at_a_time(network: nn.Module, inputs: Tensor, labels: Tensor) -> Pass:
    parameters = list(network.parameters())

    def measure() -> Sums:
        norms = torch.zeros((), dtype=torch.float64, device=inputs.device)
        totals = [torch.zeros_like(p) for p in parameters]
        for i in range(len(inputs)):
            loss = each_loss(network(inputs[i : i + 1]), labels[i : i + 1])
            for total, gradient in zip(totals, torch.autograd.grad(loss.sum(), parameters), strict=True):
                norms += torch.linalg.vector_norm(gradient).double().square()
                total += gradient
        return float(norms), totals

    return measure


def vmapped(network: nn.Module, inputs: Tensor, labels: Tensor) -> Pass:
    parameters = {name: p.detach() for name, p in network.named_parameters()}
    buffers = dict(network.named_buffers())

    def loss(weights: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        outputs = functional_call(network, (weights, buffers), (image[None],))
        return each_loss(outputs, label[None]).sum()

    gradients = vmap(grad(loss), (None, 0, 0))

    def measure() -> Sums:
        norms = torch.zeros((), dtype=torch.float64, device=inputs.device)
        totals = {name: torch.zeros_like(p) for name, p in parameters.items()}
        for chunk in zip(*(torch.split(x, VMAP_CHUNK) for x in (inputs, labels)), strict=True):
            for name, each in gradients(parameters, *chunk).items():
                norms += torch.linalg.vector_norm(each.flatten(1), dim=1).double().square().sum()
                totals[name] += each.sum(0)
        return float(norms), list(totals.values())

    return measure


def channels_first(network: nn.Module) -> nn.Module:
    """A copy in PyTorch's default order: Opacus 1.6 reads channels-last maps as if they were in it, and errs."""
    copied: nn.Module = copy.deepcopy(network).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return copied


def opacus_hooks(network: nn.Module, inputs: Tensor, labels: Tensor) -> Pass:
    from opacus import GradSampleModule

    wrapped = GradSampleModule(channels_first(network), loss_reduction="sum", strict=False)
    inputs = inputs.contiguous()

    def measure() -> Sums:
        wrapped.zero_grad()
        torch.autograd.backward(each_loss(wrapped(inputs), labels).sum())
        samples = [p.grad_sample for p in wrapped.parameters()]
        norms = sum(torch.linalg.vector_norm(each.flatten(1), dim=1).double().square().sum() for each in samples)
        return float(norms), [p.grad for p in wrapped.parameters()]

    return measure


def opacus_ghost(network: nn.Module, inputs: Tensor, labels: Tensor) -> Pass:
    """Norms without gradients of single examples; the sum is the gradient that autograd computes besides."""
    from opacus.grad_sample import GradSampleModuleFastGradientClipping

    wrapped = GradSampleModuleFastGradientClipping(channels_first(network), loss_reduction="sum", strict=False)
    inputs = inputs.contiguous()

    def measure() -> Sums:
        wrapped.zero_grad()
        torch.autograd.backward(each_loss(wrapped(inputs), labels).sum())
        norms = sum(p._norm_sample.double().square().sum() for p in wrapped.parameters())
        return float(norms), [p.grad for p in wrapped.parameters()]

    return measure


def backpack_norms(network: nn.Module, inputs: Tensor, labels: Tensor) -> Pass:
    from backpack import backpack, extend
    from backpack.extensions import BatchL2Grad

    extended = copy.deepcopy(network)
    # Layers only: as an attribute of the whole network, what the library remembers would clash with a layer's name.
    for module in extended.modules():
        if any(True for _ in module.parameters(recurse=False)):
            extend(module)

    def measure() -> Sums:
        extended.zero_grad()
        with backpack(BatchL2Grad()):
            torch.autograd.backward(each_loss(extended(inputs), labels).sum())
        norms = sum(vars(p)["batch_l2"].double().sum() for p in extended.parameters())
        return float(norms), [p.grad for p in extended.parameters() if p.grad is not None]

    return measure


METHODS = (
    Method("plain forward and backward", plain),
    Method("ours", ours),
    Method("one example at a time", one_at_a_time),
    Method(f"torch.func, chunks of {VMAP_CHUNK}", vmapped),
    Method("Opacus hooks", opacus_hooks, "opacus"),
    Method("Opacus ghost clipping", opacus_ghost, "opacus"),
    Method("BackPACK BatchL2Grad", backpack_norms, "backpack"),
)


def quietly(build: Callable[[], Pass]) -> Pass:
    """The pass, without the warnings of libraries about their own use of PyTorch."""
    warnings.filterwarnings("ignore", "Full backward hook is firing|.*hooks.*grad_sample.*")
    return build()
