"""Many small trainings at once: ours beside an eager loop, `torch.func` vmap and JAX, in models × steps per second.

The digits network 64-64-10 in float32, batches of 64, stochastic gradient descent (momentum 0; 0.9 in a row of its
own), one thread on one core: K = 1, 8, 32 and 128 models, each with its own random labels, order and first weights.
Every way has its data as arrays in memory, makes the same updates, and what has to be made ready or compiled is not
timed. The weights that every way ends with are compared with those of the eager loop. Ours trains one model after
another. JAX makes all updates of a repeat in one call, ours as many as it takes at a call (50 ms of work); beside it
stands ours with an epoch's updates at a call, as the training loop calls it.

Each repeat runs every way once, turn about; a ratio is of the rates of ours and of a way in the same repeat. Slow ways
make fewer updates in a repeat than fast ones.

A second table says what else a fleet must be: ours against the eager loop in float64 after 50 steps and in float32
after 10, and whether a neighbour that diverges changes a bit of another model.

The larger networks, for which there is another way, are in fleets_larger.py and follow here.

Only ratios within one run mean anything. Other libraries are optional, and ways whose library is missing are said to
be; `pip install -c constraints.txt shattering[bench]` brings them along.

    python benchmarks/fleets.py [--quick] [--repeats N] [--models K …] [--small-only] [--json FILE]
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Before the libraries are loaded, which read them then.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import numpy as np
import torch

from fleets_methods import EPOCH, WAYS, Fleet, Weights, fleet, missing, ours
from shattering.core.version import VERSION
from shattering.execution.provenance import processor

RESULTS = Path(__file__).parent / "results" / "fleets.json"
MODELS, REPEATS = (1, 8, 32, 128), 5
GOALS = {"eager loop": 20.0, "JAX vmap + jit": 1.5}
SECONDS = 0.15
"""About how long one way works in one repeat."""


def relative(found: Weights, wanted: Weights) -> float:
    """The largest ‖w - w′‖ / ‖w′‖ of all models' parameters; infinite where something is not finite."""
    worst = 0.0
    for ours_, theirs in zip(found, wanted, strict=True):
        for a, b in zip(ours_, theirs, strict=True):
            distance = float(np.linalg.norm(a.astype(np.float64) - b) / np.linalg.norm(b.astype(np.float64)))
            worst = max(worst, distance) if np.isfinite(distance) else float("inf")
    return worst


def rate(train: Callable[[], Weights], work: Fleet, seconds: float) -> tuple[float, int]:
    """Models × steps per second, over as many trainings as fill the time."""
    updates, start = 0, time.perf_counter()
    while True:
        train()
        updates += len(work.labels) * work.rows.shape[1]
        passed = time.perf_counter() - start
        if passed >= seconds:
            return updates / passed, updates


def rates(models: int, momentum: float, repeats: int, seconds: float) -> list[dict[str, Any]]:
    """Times every way, turn about."""
    check = fleet(models, 20, momentum)
    reference = WAYS["eager loop"](check)()
    # Long enough that beginning anew does not count; the slow ways need no such length to be slow.
    long, short = fleet(models, max(5 * EPOCH, 80 * EPOCH // models), momentum), fleet(models, EPOCH, momentum)
    ready: dict[str, tuple[Callable[[], Weights], Fleet]] = {}
    differences: dict[str, float] = {}
    rows: list[dict[str, Any]] = []
    for name, way in WAYS.items():
        reason = missing(name)
        if reason is not None:
            rows.append({"models": models, "momentum": momentum, "method": name, "skipped": reason})
            continue
        differences[name] = relative(way(check)(), reference)
        work = long if name in ("JAX vmap + jit", "ours", "ours, an epoch at a call") else short
        train = way(work)
        train()
        ready[name] = train, work
    names = list(ready)
    found: dict[str, list[float]] = {name: [] for name in names}
    for repeat in range(repeats):
        for i in range(len(names)):
            name = names[(i + repeat) % len(names)]
            train, work = ready[name]
            found[name].append(rate(train, work, seconds)[0])
    for name in names:
        ratios = (
            [own / theirs for theirs, own in zip(found[name], found["ours"], strict=True)] if "ours" in found else []
        )
        rows.append(
            {
                "models": models,
                "momentum": momentum,
                "method": name,
                "repeats": repeats,
                "models_times_steps_per_second": statistics.median(found[name]),
                "ratio_min": min(ratios, default=None),
                "ratio_median": statistics.median(ratios) if ratios else None,
                "ratio_max": max(ratios, default=None),
                "goal": GOALS.get(name),
                "difference": differences[name],
            }
        )
    return rows


def fleet_equals_solo() -> dict[str, Any]:
    """Ours against the eager loop, and beside a neighbour that diverges."""
    facts: dict[str, Any] = {}
    for momentum in (0.0, 0.9):
        for dtype, steps in ((torch.float64, 50), (torch.float32, 10)):
            work = fleet(8, steps, momentum, dtype)
            name = f"{str(dtype).removeprefix('torch.')}, {steps} steps, momentum {momentum:g}"
            facts[name] = relative(ours(work)(), WAYS["eager loop"](work)())
    work = fleet(8, 50, 0.9)
    alone = ours(work)()
    work.weights[3] = [weight * 1e30 for weight in work.weights[3]]
    beside = ours(work)()
    finite = all(bool(np.isfinite(part).all()) for part in beside[3])
    same = all(
        a.tobytes() == b.tobytes()
        for model in range(8)
        if model != 3
        for a, b in zip(alone[model], beside[model], strict=True)
    )
    facts["the neighbour diverged"], facts["the others' bits are the same"] = not finite, same
    return facts


def machine() -> dict[str, Any]:
    """What ratios depend on."""
    from importlib.metadata import version

    libraries = [name for name in ("torch", "numpy", "numba", "jax") if importlib.util.find_spec(name) is not None]
    return {
        "shattering": VERSION,
        "python": platform.python_version(),
        **{library: version(library) for library in libraries},
        "platform": f"{platform.system()} {platform.machine()}",
        "device": processor(),
        "threads": 1,
    }


def show(rows: list[dict[str, Any]]) -> None:
    """One table: a fleet's size and every way with it."""
    print(f"\nK = {rows[0]['models']}, momentum {rows[0]['momentum']:g}; ours in multiples of each")
    print(f"{'':<28}{'models×steps/s':>15}{'min':>8}{'median':>8}{'max':>8}{'goal':>6}{'Δ weights':>11}")
    for row in rows:
        if "skipped" in row:
            print(f"{row['method']:<28}{row['skipped']}")
            continue
        print(f"{row['method']:<28}{row['models_times_steps_per_second']:>15,.0f}", end="")
        if row["ratio_min"] is not None:
            print(f"{row['ratio_min']:>8.2f}{row['ratio_median']:>8.2f}{row['ratio_max']:>8.2f}", end="")
            print(f"{row['goal'] or '':>6}{row['difference']:>11.0e}", end="")
        print(flush=True)


def small(options: argparse.Namespace) -> dict[str, Any]:
    """The digits network, on one core."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    repeats, seconds = options.repeats or (1 if options.quick else REPEATS), 0.02 if options.quick else SECONDS
    rows = []
    plan = [(models, 0.0) for models in options.models or ((1, 8) if options.quick else MODELS)]
    if not options.quick:
        plan.append((plan[-1][0], 0.9))
    for models, momentum in plan:
        measured = rates(models, momentum, repeats, seconds)
        show(measured)
        rows += measured
    facts: dict[str, Any] = {"machine": machine(), "rows": rows}
    if missing("ours") is None:
        facts["fleet_equals_solo"] = fleet_equals_solo()
        print("\nfleet = solo: the largest ‖w - w′‖ / ‖w′‖ over the parameters of 8 models, against the eager loop")
        for name, value in facts["fleet_equals_solo"].items():
            print(f"{name:<40}{value if isinstance(value, bool) else format(value, '.0e')}")
    return facts


def main() -> None:
    """Runs the comparisons, prints the tables and saves them; a quick run is saved only where ``--json`` says so."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small fleets, once; shows that it works")
    parser.add_argument("--repeats", type=int, help=f"repeats ({REPEATS}; 1 when quick)")
    parser.add_argument("--models", type=int, nargs="+", help=f"sizes of fleets ({' '.join(map(str, MODELS))})")
    parser.add_argument("--small-only", action="store_true", help="leave out the larger networks of fleets_larger.py")
    parser.add_argument("--json", type=Path, help=f"file to write (benchmarks/results/{RESULTS.name})")
    options = parser.parse_args()
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    facts = small(options)
    if cores is not None:
        os.sched_setaffinity(0, cores)
    if not options.small_only and importlib.util.find_spec("fleets_larger") is not None:
        facts["larger"] = importlib.import_module("fleets_larger").compare(quick=options.quick, repeats=options.repeats)
    out = options.json or (None if options.quick else RESULTS)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        before = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
        out.write_text(json.dumps(before | facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
