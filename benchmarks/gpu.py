"""Two goals on one GPU: how soon the small Inception has fitted random labels, and 64 small convolutional networks.

1. *fit*: the small Inception on CIFAR-10 with random labels by the protocol of Table 1 (Zhang et al. 2017), in
   bfloat16, until all 50,000 training images are classified right at an epoch's end; seconds from the first lease to
   the last commit, with data, recording of the steps and evaluations.
2. *fleet*: 64 small convolutional networks on random labels of 2,000 random images each, 400 updates of 100 examples,
   seeds of their own: one after another as the plain loop trains them, one after another with recorded steps, then all
   in lockstep, vmapped and interleaved. Each way makes 64 records; what is timed is all of that, and a ratio is the
   time of the plain loop over that of a way in the same repeat. Before it is timed each way runs once on two networks.

``--data random`` takes random images of CIFAR-10's shape for the first where it is not at hand: random labels of random
images are fitted as well, in another time. On a machine without a GPU only ``--quick`` runs, on the CPU: few updates of
the Inception, four networks, and no step is recorded as a graph there.

    python benchmarks/gpu.py [--quick] [--only fit|fleet] [--data cifar10|random] [--data-dir DIR] [--repeats N]
                             [--out FOLDER] [--json FILE]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gpu_machine import announce, data_folder, paper_plan, recorded, save, stepping
from shattering.core.record import Record
from shattering.core.spec import RunSpec, parse_spec
from shattering.data.arrays import from_arrays
from shattering.data.dataset import Splits
from shattering.execution.control import Control
from shattering.execution.run import execute
from shattering.execution.stacked import execute_stacked
from shattering.studies.zhang2017_random_labels import ROWS
from table1 import spec_of

RESULTS = Path(__file__).parent / "results" / "gpu.json"
FIT_GOAL_SECONDS, FLEET_GOAL = 60, 8

MEMBERS, EXAMPLES, UPDATES, BATCH, SIDE = 64, 2000, 400, 100, 28
QUICK_MEMBERS, QUICK_EXAMPLES, QUICK_UPDATES = 4, 200, 8

FIT = {"training.fit_accuracy": 1.0, "training.stop_when_fitted": True}
NO_CURVE = {"measures.points_per_decade": 0, "measures.every_epochs": 0}
QUICK_FIT = {
    "data.train_size": 24,
    "data.test_size": 16,
    "training.batch_size": 12,
    "training.learning_rate": 0.02,
    "training.max_steps": 24,
}


def fit(options: argparse.Namespace, device: str, quick: bool) -> dict[str, Any]:
    """Trains the Inception on random labels until it has fitted them all."""
    row = next(row for row in ROWS if row.source == "Table 1: Inception, random labels")
    overrides = FIT | NO_CURVE | (QUICK_FIT if quick else {})
    if device == "cuda":
        overrides["compute.dtype"] = "bfloat16"
    with data_folder(options.data, quick) as data, stepping("captured"):
        planned = paper_plan(data, options.data_dir, overrides, device)
        spec = spec_of(row, planned)
        records, seconds = recorded(planned, [spec], options.out / "fit", 1)
    record = records.get(spec.digest)
    if record is None:
        raise SystemExit("The run failed; see what was said above.")
    ways = {key: record.provenance[key] for key in ("stepper", "captured") if key in record.provenance}
    told = {
        "seconds": seconds,
        "status": record.status.value,
        "epochs_to_fit": record.summary["epochs_to_fit"],
        "steps": record.summary["steps"],
        "train": record.last.get("train_accuracy"),
        "examples": record.summary["train_size"],
        "digest": record.digest,
        "data": options.data,
        "goal_seconds": FIT_GOAL_SECONDS,
    }
    print(
        f"fit: {told['status']} after {told['steps']} updates; training accuracy {told['train']:.2%} on "
        f"{told['examples']:,} examples; {seconds:.1f} s (goal {FIT_GOAL_SECONDS}); {ways}",
        flush=True,
    )
    return told | ways


def fleet_specs(count: int, updates: int, device: str) -> list[RunSpec]:
    """Runs that differ in their seed, and so in labels, order and initial weights."""
    return [
        parse_spec(
            {
                "data": {"name": "random_images"},
                "corruption": {"name": "random_labels"},
                "model": {"name": "small_convnet"},
                "training": {
                    "learning_rate": 0.01,
                    "batch_size": BATCH,
                    "max_steps": updates,
                    "fit_accuracy": 1.0,
                    "stop_when_fitted": False,
                },
                "compute": {"device": device},
                "measures": {"points_per_decade": 0, "every_epochs": 0},
                "seed": seed,
            }
        )
        for seed in range(count)
    ]


def fleet_images(examples: int) -> Splits:
    """Uniform bytes and labels."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (examples + 100, SIDE, SIDE, 1), dtype=np.uint8)
    labels = generator.integers(0, 10, examples + 100)
    return from_arrays(images[:examples], labels[:examples], images[examples:], labels[examples:])


def fleet(device: str, quick: bool, repeats: int) -> dict[str, Any]:
    """Times the ways of training many small networks, turn about."""
    import torch

    splits = fleet_images(QUICK_EXAMPLES if quick else EXAMPLES)
    specs = fleet_specs(QUICK_MEMBERS if quick else MEMBERS, QUICK_UPDATES if quick else UPDATES, device)

    def in_turn(way: str) -> Callable[[list[RunSpec]], list[Any]]:
        return lambda some: [execute(spec, splits, Control(way=way))[0] for spec in some]

    ways: dict[str, Callable[[list[RunSpec]], list[Any]]] = {"plain, one after another": in_turn("plain")}
    if device == "cuda":  # elsewhere nothing can be recorded
        ways["recorded, one after another"] = in_turn("captured")
    ways |= {
        "lockstep, vmapped": lambda some: execute_stacked(some, splits, way="vmapped"),
        "lockstep, interleaved": lambda some: execute_stacked(some, splits, way="interleaved"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    facts: dict[str, dict[str, Any]] = {}
    for way in ways.values():
        way(specs[:2])
    for repeat in range(repeats):
        for place in range(len(ways)):
            name = list(ways)[(place + repeat) % len(ways)]
            began = time.perf_counter()
            made = ways[name](specs)
            if device == "cuda":
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - began)
            facts[name] = checked(made, specs)
    plain = seconds["plain, one after another"]
    rows = []
    print(f"\nfleet: {len(specs)} networks, {specs[0].training.max_steps} updates of {BATCH} examples each")
    print(f"{'way':<30}{'seconds':>9}{'updates/s':>11}{'ratio min':>11}{'median':>8}{'max':>8}")
    for name, times in seconds.items():
        ratios = sorted(slow / fast for slow, fast in zip(plain, times, strict=True))
        median = statistics.median(times)
        updates = len(specs) * specs[0].training.max_steps / median
        middle = statistics.median(ratios)
        print(
            f"{name:<30}{median:>9.2f}{updates:>11,.0f}{ratios[0]:>11.2f}{middle:>8.2f}{ratios[-1]:>8.2f}", flush=True
        )
        rows.append(
            {
                "way": name,
                "seconds": times,
                "updates_per_second": updates,
                "ratio_min": ratios[0],
                "ratio_median": middle,
                "ratio_max": ratios[-1],
                **facts[name],
            }
        )
    best = max((row for row in rows if row["way"].startswith("lockstep")), key=lambda row: row["ratio_median"])
    print(f"best in lockstep: {best['way']}, {best['ratio_median']:.1f} times one after another (goal {FLEET_GOAL})")
    return {"members": len(specs), "examples": len(splits.train), "goal": FLEET_GOAL, "ways": rows}


def checked(made: list[Any], specs: list[RunSpec]) -> dict[str, Any]:
    """Every run must have its record, with all its updates; returns how they were made and how they ended."""
    for one, spec in zip(made, specs, strict=True):
        if not isinstance(one, Record):
            raise SystemExit(f"The run {spec.digest} failed: {one!r}")
        assert one.digest == spec.digest and one.summary["steps"] == spec.training.max_steps
    told = {key: value for key, value in made[0].provenance.items() if key in ("stepper", "gradients", "captured")}
    final = statistics.mean(float(one.last["train_accuracy"]) for one in made)
    return {**told, "records": len(made), "mean_train_accuracy": final}


def main() -> None:
    """Runs what is asked for, and saves it where it was the full form on a GPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few updates of few networks; shows that it works")
    parser.add_argument("--only", choices=["fit", "fleet"], help="one of the two")
    parser.add_argument("--data", choices=["cifar10", "random"], default="cifar10", help="images for the fit")
    parser.add_argument("--data-dir", type=Path, help="where to look for CIFAR-10")
    parser.add_argument("--repeats", type=int, help="of the fleet's ways (3; 1 when quick)")
    parser.add_argument("--out", type=Path, default=Path("runs") / "gpu", help="folder of the stores")
    parser.add_argument("--json", type=Path, help=f"file to write (benchmarks/results/{RESULTS.name})")
    options = parser.parse_args()
    device, quick = announce(options.quick)
    found: dict[str, Any] = {}
    if options.only != "fleet":
        found["fit"] = fit(options, device, quick)
    if options.only != "fit":
        found["fleet"] = fleet(device, quick, options.repeats or (1 if quick else 3))
    if quick or device == "cpu":
        print("\nThe small form: nothing is saved, and the times mean nothing.")
        return
    save(options.json or RESULTS, found)


if __name__ == "__main__":
    main()
