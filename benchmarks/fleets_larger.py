"""Fleets of networks too large for the compiled way: ours beside an eager loop, in ratios of time.

The small convolutional network on MNIST and CIFAR-10 (16 models, batch 64), and the MLP 1×512 on CIFAR-10 cut to 28×28
(4 models, batch 128), SGD with momentum 0.9 in float32. Everybody makes the same updates of the same models on the same
rows, so their weights must agree; the largest relative difference of a parameter after the first repeat is printed.

* ``eager``: the models one after another in one process on one thread, as one writes it: contiguous tensors, autograd,
  ``torch.optim.SGD``.
* ``eager, channels-last``: the same with channels-last tensors and the fused optimizer, which our plain way also has.
* ``vmap``: ``torch.func`` over stacked parameters, all models in lockstep, one thread.
* ``by hand``: our stepper, model by model, one thread.
* ``by hand, two cores``: the same in two processes of one thread each, half of the models in either; what starts them
  is not counted.

Each repeat runs every way once, turn about; a ratio is the time of ``eager`` over that of a way in the same repeat. The
data are looked for where `shattering` looks for them (SHATTERING_DATA).

    python benchmarks/fleets_larger.py [--quick] [--repeats N] [--cases NAME …] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from shattering.core.spec import RunSpec, override
from shattering.data.load import load_data
from shattering.execution.provenance import provenance
from shattering.execution.run import corrupted, initial_model
from shattering.training.examples import Examples, prepare
from shattering.training.steppers.by_hand import ByHandStepper, why_not
from shattering.training.stepping import Wanted
from shattering.training.update import build_optimizer

RESULTS = Path(__file__).parent / "results" / "fleets_larger.json"
EXAMPLES, REPEATS, CORES = 8192, 15, 2
EAGER = "eager"

Way = Callable[[int], list[list[Tensor]]]
"""Makes the updates of a repeat; returns each model's parameters."""


@dataclass(frozen=True)
class Case:
    """A network on a data set.

    Args:
        changes: of the default spec.
        models: in the fleet.
        steps: of each model in each repeat.
        lockstep: whether the stacked parameters are tried.
    """

    changes: dict[str, Any]
    models: int
    steps: int
    lockstep: bool = True


CONVNET = {"model.name": "small_convnet", "training.batch_size": 64, "training.learning_rate": 0.01}
CASES = {
    "convnet, MNIST": Case({**CONVNET, "data.name": "mnist"}, models=16, steps=4),
    "convnet, CIFAR-10": Case({**CONVNET, "data.name": "cifar10"}, models=16, steps=4),
    "MLP 1x512, CIFAR-10": Case(
        {"model.name": "mlp_1x512", "data.name": "cifar10", "data.crop": 28, "training.learning_rate": 0.01},
        models=4,
        steps=10,
        lockstep=False,
    ),
}


def spec_of(case: Case, member: int) -> RunSpec:
    """The spec of one model of the fleet."""
    return override(RunSpec(), {"data.train_size": EXAMPLES, "seed": member, "stream_seeds.subset": 0, **case.changes})


def examples_of(case: Case) -> Examples:
    """The training examples, the same for all models."""
    spec = spec_of(case, 0)
    return prepare(corrupted(load_data(spec.data.name), spec).train, spec)


def rows_of(case: Case, member: int, repeat: int) -> list[Tensor]:
    """The batches of one model in one repeat."""
    generator = torch.Generator().manual_seed(1000 * repeat + member)
    size = spec_of(case, member).training.batch_size
    return list(torch.randint(EXAMPLES, (case.steps, size), generator=generator))


def weights_of(models: list[nn.Module]) -> list[list[Tensor]]:
    """Each model's parameters as they are now."""
    return [[parameter.detach() for parameter in model.parameters()] for model in models]


def eager(case: Case, examples: Examples, *, channels_last: bool) -> Way:
    """One model after another with autograd."""
    assert isinstance(examples.inputs, Tensor)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    inputs = torch.empty(examples.inputs.shape, memory_format=layout).copy_(examples.inputs)
    labels, models, optimizers = examples.labels, [], []
    for member in range(case.models):
        spec = spec_of(case, member)
        model = initial_model(spec, examples.input_shape, examples.num_classes).to(memory_format=layout)
        models.append(model)
        optimizers.append(
            torch.optim.SGD(model.parameters(), spec.training.learning_rate, 0.9, fused=channels_last or None)
        )

    def train(repeat: int) -> list[list[Tensor]]:
        for member, (model, optimizer) in enumerate(zip(models, optimizers, strict=True)):
            for rows in rows_of(case, member, repeat):
                optimizer.zero_grad()
                outputs = model(inputs[rows])
                loss = F.cross_entropy(outputs, labels[rows])
                torch.autograd.backward(loss)
                optimizer.step()
                loss.item(), (outputs.argmax(dim=1) == labels[rows]).sum().item()
        return weights_of(models)

    return train


def lockstep(case: Case, examples: Examples) -> Way:
    """All models at once: stacked parameters under ``vmap``."""
    assert isinstance(examples.inputs, Tensor)
    inputs, labels = examples.inputs.contiguous(), examples.labels
    models = [
        initial_model(spec_of(case, member), examples.input_shape, examples.num_classes)
        for member in range(case.models)
    ]
    weights = {
        name: torch.stack([dict(model.named_parameters())[name].detach() for model in models]).contiguous()
        for name, _ in models[0].named_parameters()
    }
    speeds = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    rate = spec_of(case, 0).training.learning_rate

    def loss(weights: dict[str, Tensor], inputs: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(models[0], weights, (inputs,)), labels)

    gradients = vmap(grad(loss))

    def train(repeat: int) -> list[list[Tensor]]:
        batches = [rows_of(case, member, repeat) for member in range(case.models)]
        for step in range(case.steps):
            rows = torch.stack([batch[step] for batch in batches])
            with torch.no_grad():
                for name, found in gradients(weights, inputs[rows], labels[rows]).items():
                    weights[name].add_(speeds[name].mul_(0.9).add_(found), alpha=-rate)
        return [[weight[member] for weight in weights.values()] for member in range(case.models)]

    return train


def by_hand(case: Case, examples: Examples, members: range) -> Way:
    """Our stepper, model by model."""
    models, steppers = [], []
    for member in members:
        spec = spec_of(case, member)
        model = initial_model(spec, examples.input_shape, examples.num_classes)
        reason = why_not(model, spec, examples)
        assert reason is None, reason
        models.append(model)
        examples = examples.laid_out_for(model)
        steppers.append(ByHandStepper(model, build_optimizer(model, spec), examples, spec))

    def train(repeat: int) -> list[list[Tensor]]:
        for member, stepper in zip(members, steppers, strict=True):
            batches, rate = rows_of(case, member, repeat), spec_of(case, member).training.learning_rate
            while batches:
                sizes = tuple(map(len, batches))
                losses, hits = stepper.advance(Wanted(torch.cat(batches), sizes, (rate,) * len(sizes), None, iter(())))
                losses.tolist(), hits.tolist()
                batches = batches[len(losses) :]
        return weights_of(models)

    return train


def worker(name: str, core: int, pipe: Any) -> None:
    """A process with its part of the fleet: trains a repeat whenever it is told one."""
    torch.set_num_threads(1)
    case = CASES[name]
    train = by_hand(case, examples_of(case), range(core, case.models, CORES))
    pipe.send(None)
    while (repeat := pipe.recv()) is not None:
        weights = train(repeat)
        pipe.send(None)
        if repeat == 0:
            pipe.send([[weight.numpy() for weight in model] for model in weights])


def on_two_cores(name: str, stack: ExitStack) -> tuple[Callable[[int], None], Callable[[], list[list[Tensor]]]]:
    """The fleet in processes: one function to train a repeat, one to fetch the weights after the first."""
    context = multiprocessing.get_context("spawn")
    pipes = []
    for core in range(CORES):
        ours, theirs = context.Pipe()
        process = context.Process(target=worker, args=(name, core, theirs), daemon=True)
        process.start()
        stack.callback(process.join)
        stack.callback(ours.send, None)
        pipes.append(ours)
    for pipe in pipes:
        pipe.recv()

    def train(repeat: int) -> None:
        for pipe in pipes:
            pipe.send(repeat)
        for pipe in pipes:
            pipe.recv()

    def fetched() -> list[list[Tensor]]:
        parts = [[[torch.from_numpy(weight) for weight in model] for model in pipe.recv()] for pipe in pipes]
        return [parts[member % CORES][member // CORES] for member in range(CASES[name].models)]

    return train, fetched


def difference(found: list[list[Tensor]], expected: list[list[Tensor]]) -> float:
    """The largest relative difference of a parameter, ‖w - w′‖ / ‖w′‖."""
    return max(
        float((own - theirs).norm() / theirs.norm())
        for ours, others in zip(found, expected, strict=True)
        for own, theirs in zip(ours, others, strict=True)
    )


def compare(name: str, repeats: int) -> list[dict[str, Any]]:
    """Times every way of a case, turn about, after a first repeat that is not counted, whose weights are compared."""
    case = CASES[name]
    examples = examples_of(case)
    ways: dict[str, Callable[[int], Any]] = {EAGER: eager(case, examples, channels_last=False)}
    if len(examples.input_shape) == 3 and case.lockstep:
        ways["eager, channels-last"] = eager(case, examples, channels_last=True)
        ways["vmap"] = lockstep(case, examples)
    ways["by hand"] = by_hand(case, examples, range(case.models))
    with ExitStack() as stack:
        train, fetched = on_two_cores(name, stack)
        found = {way: [[w.clone() for w in model] for model in run(0)] for way, run in ways.items()}
        ways["by hand, two cores"] = train
        train(0)
        found["by hand, two cores"] = fetched()
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        names = list(ways)
        for repeat in range(1, repeats + 1):
            for i in range(len(names)):
                way = names[(i + repeat) % len(names)]
                start = time.perf_counter()
                ways[way](repeat)
                seconds[way].append(time.perf_counter() - start)
    rows = []
    for way in names:
        ratios = [slow / own for slow, own in zip(seconds[EAGER], seconds[way], strict=True)]
        rows.append(
            {
                "case": name,
                "models": case.models,
                "way": way,
                "repeats": repeats,
                "updates_per_second": case.models * case.steps / statistics.median(seconds[way]),
                "ratio_min": min(ratios),
                "ratio_median": statistics.median(ratios),
                "ratio_max": max(ratios),
                "difference": difference(found[way], found[EAGER]),
            }
        )
    return rows


def results(repeats: int, cases: list[str]) -> list[dict[str, Any]]:
    """Runs the cases on one thread and prints their table."""
    torch.set_num_threads(1)
    print(f"{'case':<22}{'way':<24}{'updates/s':>10}{'ratio min':>11}{'median':>8}{'max':>8}{'weights differ by':>19}")
    rows = []
    for name in cases:
        for row in compare(name, repeats):
            rows.append(row)
            print(
                f"{name:<22}{row['way']:<24}{row['updates_per_second']:>10,.1f}{row['ratio_min']:>11.2f}"
                f"{row['ratio_median']:>8.2f}{row['ratio_max']:>8.2f}{row['difference']:>19.1e}",
                flush=True,
            )
    return rows


def main() -> None:
    """Runs the comparison, prints the table and saves it; a quick run is saved only where ``--json`` says so."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two repeats; shows that it works")
    parser.add_argument("--repeats", type=int, help=f"repeats of each way ({REPEATS}; 2 when quick)")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES), metavar="NAME")
    parser.add_argument("--json", type=Path, help=f"file to write (benchmarks/results/{RESULTS.name})")
    options = parser.parse_args()
    rows = results(options.repeats or (2 if options.quick else REPEATS), options.cases)
    out = options.json or (None if options.quick else RESULTS)
    if out is not None:
        machine = provenance(spec_of(CASES[options.cases[0]], 0))
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps({"machine": machine, "threads": 1, "rows": rows}, indent=2) + "\n", encoding="utf-8")
        print(f"saved to {out}")


if __name__ == "__main__":
    main()
