"""Prints, as JSON, by how many bytes each scenario raises the peak of the memory that a process occupies."""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shattering.gradients.engine import Engine
from shattering.gradients.gram import gram
from shattering.gradients.per_example import per_example_gradients
from shattering.gradients.projections import projections

FEW, MANY = 1_000, 100_000
LIMIT = 32 * 2**20


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets, reduction="none")


def narrow() -> nn.Module:
    """2,450 parameters: the gradients of 100,000 examples would take 1 GB, their inputs 20 MB."""
    return nn.Sequential(nn.Linear(50, 40), nn.Tanh(), nn.Linear(40, 10))


def wide() -> nn.Module:
    """0.4 MB of activations an example: three hundred examples at once would take 120 MB."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.Tanh(), nn.Conv2d(16, 4, 3, padding=1), nn.Flatten(), nn.Linear(4096, 10)
    )


def long() -> nn.Module:
    """A million parameters: the gradients of forty examples take 160 MB."""
    return nn.Sequential(nn.Linear(1000, 1000), nn.Tanh(), nn.Linear(1000, 10))


def expanded(examples: int, *shape: int) -> tuple[Tensor, Tensor]:
    """One set of examples that takes no memory of its own."""
    one = torch.linspace(-1, 1, torch.Size(shape).numel()).reshape(1, *shape)
    return one.expand(examples, *shape), torch.zeros(1, dtype=torch.long).expand(examples)


def lazily(examples: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches that exist only while they are used."""
    for start in range(0, examples, 500):
        yield torch.randn(500, 50, generator=torch.Generator().manual_seed(start)), torch.zeros(500, dtype=torch.long)


def flat_over_a_loader() -> tuple[Callable[[], object], Callable[[], object]]:
    engine = Engine(narrow(), loss)
    return lambda: engine.sums(lazily(FEW)), lambda: engine.sums(lazily(MANY))


def flat_over_a_set() -> tuple[Callable[[], object], Callable[[], object]]:
    engine = Engine(narrow(), loss)
    return lambda: engine.sums(expanded(FEW, 50)), lambda: engine.sums(expanded(MANY, 50))


def limited_activations() -> tuple[Callable[[], object], Callable[[], object]]:
    engine = Engine(wide(), loss, max_memory=LIMIT)
    return lambda: engine.sums([expanded(2, 1, 32, 32)]), lambda: engine.sums([expanded(300, 1, 32, 32)])


def limited_gradients() -> tuple[Callable[[], object], Callable[[], object]]:
    def run(examples: int) -> None:
        for _ in per_example_gradients(long(), expanded(examples, 1000), loss, max_memory=LIMIT):
            pass

    return lambda: run(2), lambda: run(40)


def limited_gradients_and_activations() -> tuple[Callable[[], object], Callable[[], object]]:
    def run(examples: int) -> None:
        for _ in per_example_gradients(wide(), expanded(examples, 1, 32, 32), loss, max_memory=LIMIT):
            pass

    return lambda: run(2), lambda: run(300)


def limited_gram() -> tuple[Callable[[], object], Callable[[], object]]:
    model = long()
    return (
        lambda: gram(model, expanded(2, 1000), loss, max_memory=LIMIT),
        lambda: gram(model, expanded(40, 1000), loss, max_memory=LIMIT),
    )


def limited_projections() -> tuple[Callable[[], object], Callable[[], object]]:
    model = wide()
    along = {name: torch.ones_like(value) for name, value in model.named_parameters()}
    return (
        lambda: projections(model, expanded(2, 1, 32, 32), loss, along, max_memory=LIMIT),
        lambda: projections(model, expanded(300, 1, 32, 32), loss, along, max_memory=LIMIT),
    )


def unlimited_gradients() -> tuple[Callable[[], object], Callable[[], object]]:
    """The control: what the limits keep from happening, and the measurement must see."""
    return (
        lambda: list(per_example_gradients(long(), expanded(2, 1000), loss)),
        lambda: list(per_example_gradients(long(), expanded(40, 1000), loss)),
    )


SCENARIOS = (
    flat_over_a_loader,
    flat_over_a_set,
    limited_activations,
    limited_gradients,
    limited_gradients_and_activations,
    limited_gram,
    limited_projections,
    unlimited_gradients,
)


def peak() -> int:
    """In bytes; Linux counts in kibibytes, macOS in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    torch.set_num_threads(1)
    list(per_example_gradients(nn.Linear(1, 2), expanded(2, 1), loss))  # what torch loads at first use, once for all
    growth = {}
    for scenario in SCENARIOS:
        # A process for each: a peak never falls.
        reader, writer = os.pipe()
        if os.fork() == 0:
            warm, work = scenario()
            warm()
            before = peak()
            work()
            os.write(writer, str(peak() - before).encode())
            os._exit(0)
        os.close(writer)
        os.wait()
        growth[scenario.__name__] = int(os.read(reader, 32) or -1)
        os.close(reader)
    json.dump(growth, sys.stdout)


if __name__ == "__main__":
    main()
