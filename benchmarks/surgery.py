"""Cost of a training step by each robust gradient, over a plain SGD step, interleaved in one process on one thread.

The case of Chatterjee's winsorized SGD: three hidden layers of 256, 784 inputs, 10 classes, batches of 100. Inputs are
drawn at random in two ways: every entry nonzero, as whitened images are, and about one in five, as MNIST's pixels are,
with some that are zero in every example. The peers winsorize as one writes it first: every layer's gradients of single
examples at once, and `torch.sort` or `torch.quantile` over the batch. Each does the whole step, forward to optimizer.

Only ratios within one run mean anything: absolute times move by a fifth and more from run to run.

    python benchmarks/surgery.py [--quick] [--repeats N] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shattering.core.spec import RunSpec
from shattering.execution.provenance import provenance
from shattering.gradients.order_statistics import moved
from shattering.gradients.robust import (
    backward_median,
    backward_median_of_means,
    backward_winsorized,
    rolling_median,
)

BATCH, INPUTS, WIDTH, CLASSES, RATE = 100, 784, 256, 10, 0.01
RESULTS = Path(__file__).parent / "results" / "surgery.json"
PERCENTS = (1.0, 2.0, 4.0, 8.0)
Step = Callable[[], object]


def network() -> nn.Sequential:
    """The perceptron that is timed, the same each time."""
    torch.manual_seed(0)
    sizes = (INPUTS, WIDTH, WIDTH, WIDTH, CLASSES)
    layers: list[nn.Module] = []
    for ins, outs in pairwise(sizes):
        layers += [nn.Linear(ins, outs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def batch(dense: bool) -> tuple[Tensor, Tensor]:
    """Inputs and labels; sparse inputs have columns that are never, rarely and often nonzero, as pixels are."""
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(BATCH, INPUTS, generator=generator)
    if not dense:
        often = torch.linspace(-0.5, 0.75, INPUTS).clamp(min=0)
        inputs = inputs.abs() * (torch.rand(BATCH, INPUTS, generator=generator) < often)
    return inputs, torch.randint(CLASSES, (BATCH,), generator=generator)


def steps(dense: bool) -> dict[str, Step]:
    """A function for each rule that makes one training step with it, on a network of its own."""
    examples = batch(dense)

    def step(backward: Callable[[nn.Module], object], rolling: bool = False) -> Step:
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=RATE, fused=True)
        if rolling:
            rolling_median(optimizer)

        def run() -> None:
            backward(model)
            optimizer.step()
            optimizer.zero_grad()

        return run

    def plain(model: nn.Module) -> None:
        torch.autograd.backward(F.cross_entropy(model(examples[0]), examples[1]))

    rules = {"plain SGD": step(plain), "rolling median": step(plain, rolling=True)}
    rules["median of means"] = step(lambda model: backward_median_of_means(model, F.cross_entropy, examples))
    for percent in PERCENTS:
        winsorized = partial(backward_winsorized, loss=F.cross_entropy, batch=examples, percent=percent)
        rules[f"winsorized {percent:g} %"] = step(winsorized)
    rules["median"] = step(lambda model: backward_median(model, F.cross_entropy, examples))
    rules["torch.sort, 2 %"] = step(lambda model: by_hand(model, examples, sorted_limits))
    rules["torch.quantile, 2 %"] = step(lambda model: by_hand(model, examples, quantile_limits))
    return rules


def by_hand(
    model: nn.Module, examples: tuple[Tensor, Tensor], limits: Callable[[Tensor], tuple[Tensor, Tensor]]
) -> None:
    """Winsorizing with all gradients of a layer's examples in memory."""
    caught: list[tuple[nn.Module, Tensor, Tensor]] = []

    def keep(layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        caught.append((layer, given[0], output))

    hooks = [layer.register_forward_hook(keep) for layer in model if isinstance(layer, nn.Linear)]  # type: ignore[attr-defined]
    loss = F.cross_entropy(model(examples[0]), examples[1])
    for hook in hooks:
        hook.remove()
    deltas = torch.autograd.grad(loss, [output for _, _, output in caught])
    for (layer, inputs, _), delta in zip(caught, deltas, strict=True):
        for name, gradients in (("weight", delta[:, :, None] * inputs.detach()[:, None, :]), ("bias", delta)):
            low, high = limits(gradients)
            getattr(layer, name).grad = gradients.clamp(low, high).sum(dim=0)


def sorted_limits(gradients: Tensor) -> tuple[Tensor, Tensor]:
    """The order statistics by sorting."""
    k = moved(2.0, len(gradients))
    ordered = gradients.sort(dim=0).values
    return ordered[k], ordered[len(gradients) - 1 - k]


def quantile_limits(gradients: Tensor) -> tuple[Tensor, Tensor]:
    """The order statistics as quantiles, column by column of blocks that are small enough for `torch.quantile`."""
    ranks = torch.tensor([moved(2.0, BATCH), BATCH - 1 - moved(2.0, BATCH)]) / (BATCH - 1)
    columns = gradients.flatten(1)
    parts = [
        torch.quantile(columns[:, start : start + 2**16], ranks, dim=0, interpolation="nearest")
        for start in range(0, columns.shape[1], 2**16)
    ]
    low, high = torch.cat(parts, dim=1).view(2, *gradients.shape[1:])
    return low, high


def compare(dense: bool, repeats: int) -> list[dict[str, Any]]:
    """Times every rule in turn, so often, and returns their ratios to the plain step of the same turn."""
    rules = steps(dense)
    times: dict[str, list[float]] = {name: [] for name in rules}
    for step in rules.values():
        step()
    for _ in range(repeats):
        for name, step in rules.items():
            count = 10 if name in ("plain SGD", "rolling median", "median of means") else 1
            start = time.perf_counter()
            for _ in range(count):
                step()
            times[name].append((time.perf_counter() - start) / count)
    rows = []
    for name, taken in times.items():
        ratios = sorted(one / plain for one, plain in zip(taken, times["plain SGD"], strict=True))
        rows.append(
            {
                "inputs": "dense" if dense else "sparse",
                "rule": name,
                "repeats": repeats,
                "milliseconds_median": 1000 * statistics.median(taken),
                "ratio_min": ratios[0],
                "ratio_median": statistics.median(ratios),
                "ratio_max": ratios[-1],
            }
        )
    return rows


def main() -> None:
    """Runs the comparison, prints the table and saves it; a quick run is saved only where ``--out`` says so."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two repeats; shows that it works")
    parser.add_argument("--repeats", type=int, help="repeats of each rule (5; 2 when quick)")
    parser.add_argument("--out", type=Path, help=f"file to write (benchmarks/results/{RESULTS.name})")
    options = parser.parse_args()
    torch.set_num_threads(1)
    repeats = options.repeats or (2 if options.quick else 5)

    print(f"{'inputs':<8}{'rule':<22}{'ms':>8}{'ratio min':>11}{'median':>8}{'max':>8}")
    rows = []
    for dense in (False, True):
        for row in compare(dense, repeats):
            rows.append(row)
            print(
                f"{row['inputs']:<8}{row['rule']:<22}{row['milliseconds_median']:>8.1f}"
                f"{row['ratio_min']:>11.1f}{row['ratio_median']:>8.1f}{row['ratio_max']:>8.1f}",
                flush=True,
            )
    out = options.out or (None if options.quick else RESULTS)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        saved = {"machine": provenance(RunSpec()), "threads": 1, "rows": rows}
        out.write_text(json.dumps(saved, indent=2) + "\n", encoding="utf-8")
        print(f"saved to {out}")


if __name__ == "__main__":
    main()
