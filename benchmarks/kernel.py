"""Exact kernel interpolation of MNIST: ours beside scikit-learn, SciPy and PyTorch in float64, in ratios of time.

Everybody gets n images as pixels in [0, 1] and their labels, and gives back the scores of all test images: the kernel
matrix exp(-0.02 ‖x - x′‖²), the solve with one-hot targets and no ridge, and the kernel of the test images count. Ours
also computes its residual and an estimate of the condition number in that time, which the others do not.

Each repeat runs every way once, turn about; a ratio is the time of a way over that of ours in the same repeat. The
residual ‖K A - Y‖ / ‖Y‖ of every answer is computed in float64 by the same few lines of NumPy, and the difference of
the answers is ‖A - A′‖ / ‖A′‖, A′ that of PyTorch after a step of refinement.

``--paper`` solves with all 60,000 images instead, in this process alone, and gives seconds and peak resident memory.

Only ratios within one run mean anything: absolute times move by a fifth from run to run. MNIST is looked for where
`shattering` looks for it (SHATTERING_DATA).

    python benchmarks/kernel.py [--quick] [--repeats N] [--sizes N …] [--threads N] [--paper] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from shattering.core.streams import Stream
from shattering.core.version import VERSION
from shattering.data.load import load_data
from shattering.data.preprocessing import scale
from shattering.execution.provenance import processor
from shattering.learners.desk import Desk
from shattering.learners.kernel_machine import kernel_machine
from shattering.learners.registry import Fitted, Material

RESULTS = Path(__file__).parent / "results" / "kernel.json"
GAMMA, CLASSES = 0.02, 10
SIZES, REPEATS = (5000, 10_000), 7

Array = NDArray[np.float64]
Answer = tuple[Array, Array]
"""Coefficients and scores of the test images."""


def gram(left: Array, right: Array) -> Array:
    """The Gaussian kernel in float64, as one would write it."""
    exponents = left @ right.T
    exponents *= 2 * GAMMA
    exponents -= GAMMA * np.einsum("nk,nk->n", left, left)[:, None]
    exponents -= GAMMA * np.einsum("nk,nk->n", right, right)
    return np.exp(exponents, out=exponents)


def by_scipy(train: Array, targets: Array, test: Array) -> Answer:
    """LAPACK's Cholesky through SciPy, in place."""
    from scipy.linalg import cho_factor, cho_solve

    factor = cho_factor(gram(train, train), lower=True, overwrite_a=True, check_finite=False)
    dual = cho_solve(factor, targets, check_finite=False)
    return dual, gram(test, train) @ dual


def by_scikit_learn(train: Array, targets: Array, test: Array) -> Answer:
    """`KernelRidge` without its ridge."""
    from sklearn.kernel_ridge import KernelRidge

    machine = KernelRidge(kernel="rbf", gamma=GAMMA, alpha=0.0).fit(train, targets)
    return machine.dual_coef_, machine.predict(test)


def by_torch(train: Array, targets: Array, test: Array) -> Answer:
    """PyTorch in float64."""

    def kernel(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        exponents = (left @ right.T).mul_(2 * GAMMA)
        exponents.sub_(GAMMA * left.square().sum(dim=1)[:, None]).sub_(GAMMA * right.square().sum(dim=1))
        return exponents.exp_()

    ours, theirs = torch.from_numpy(train), torch.from_numpy(test)
    dual = torch.cholesky_solve(torch.from_numpy(targets), torch.linalg.cholesky(kernel(ours, ours)))
    return dual.numpy(), (kernel(theirs, ours) @ dual).numpy()


def fitted(train: NDArray[np.float32], labels: NDArray[np.int64], desk: Desk | None = None) -> Fitted:
    """Ours, as a run uses it."""
    material = Material(train, labels, CLASSES, lambda purpose: Stream(0, purpose), desk=desk or Desk())
    return kernel_machine(material, gamma=GAMMA)


def mnist(n: int | None) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.uint8], NDArray[np.int64]]:
    """The first n training images, all test images, and their labels."""
    splits = load_data("mnist")
    images, labels = splits.train.inputs[:n], np.array(splits.train.labels[:n])
    return images, labels, splits.test.inputs, np.array(splits.test.labels)


def times(n: int, repeats: int) -> list[dict[str, Any]]:
    """Times every way, turn about, and compares what they find."""
    images, labels, test_images, test_labels = mnist(n)
    train, test = scale(images, 255), scale(test_images, 255)
    exact, exact_test = (x.reshape(len(x), -1) / 255.0 for x in (images, test_images))
    targets = np.eye(CLASSES)[labels]

    def ours() -> Answer:
        machine = fitted(train, labels)
        return np.asarray(machine.weights["coefficients"]), machine.scores(test)

    ways: dict[str, Callable[[], Answer]] = {
        "ours": ours,
        "torch, float64": lambda: by_torch(exact, targets, exact_test),
        "scipy, cho_solve": lambda: by_scipy(exact, targets, exact_test),
        "scikit-learn, KernelRidge": lambda: by_scikit_learn(exact, targets, exact_test),
    }
    names = list(ways)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    answers: dict[str, Answer] = {}
    for repeat in range(repeats):
        for i in range(len(names)):
            name = names[(i + repeat) % len(names)]
            start = time.perf_counter()
            answers[name] = ways[name]()
            seconds[name].append(time.perf_counter() - start)
    kernel = gram(exact, exact)
    dual = torch.from_numpy(answers["torch, float64"][0])
    factor = torch.linalg.cholesky(torch.from_numpy(kernel))
    reference = (dual + torch.cholesky_solve(torch.from_numpy(targets - kernel @ dual.numpy()), factor)).numpy()
    rows = []
    for name in names:
        ratios = [theirs / own for theirs, own in zip(seconds[name], seconds["ours"], strict=True)]
        found, scores = answers[name]
        rows.append(
            {
                "n": n,
                "method": name,
                "repeats": repeats,
                "seconds": statistics.median(seconds[name]),
                "ratio_min": min(ratios),
                "ratio_median": statistics.median(ratios),
                "ratio_max": max(ratios),
                "test_error": float((scores.argmax(axis=1) != test_labels).mean()),
                "residual": float(np.linalg.norm(kernel @ found - targets) / np.linalg.norm(targets)),
                "difference": float(np.linalg.norm(found - reference) / np.linalg.norm(reference)),
            }
        )
    return rows


def peak_bytes() -> int | None:
    """The most that was resident in this process, as Linux tells it (not what it inherits from its parent)."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    (line,) = (line for line in lines if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def whole(n: int | None) -> dict[str, Any]:
    """Ours on all images, with its progress on standard error."""
    images, labels, test_images, test_labels = mnist(n)
    train, test = scale(images, 255), scale(test_images, 255)
    start = time.perf_counter()
    last = [start]

    def tell(done: int, total: int) -> None:
        now = time.perf_counter()
        if now - last[0] > 10:
            last[0] = now
            print(f"{done / total:7.1%} after {now - start:,.0f} s", file=sys.stderr, flush=True)

    machine = fitted(train, labels, Desk(tell=tell))
    solved = time.perf_counter()
    error = float((machine.scores(test).argmax(axis=1) != test_labels).mean())
    return {
        "n": len(labels),
        "seconds_fit": solved - start,
        "seconds_test": time.perf_counter() - solved,
        "peak_bytes": peak_bytes(),
        "test_error": error,
        **machine.facts,
    }


def machine(threads: int) -> dict[str, Any]:
    """What ratios depend on."""
    from importlib.metadata import version

    return {
        "shattering": VERSION,
        "python": platform.python_version(),
        **{library: version(library) for library in ("torch", "numpy", "scipy", "scikit-learn")},
        "platform": f"{platform.system()} {platform.machine()}",
        "device": processor(),
        "threads": threads,
    }


def main() -> None:
    """Runs the comparison, prints the table and saves it; a quick run is saved only where ``--json`` says so."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="n = 1,000, once; shows that it works")
    parser.add_argument("--repeats", type=int, help=f"repeats ({REPEATS}; 1 when quick)")
    parser.add_argument("--sizes", type=int, nargs="+", help=f"training images ({' '.join(map(str, SIZES))})")
    parser.add_argument("--threads", type=int, default=2, help="threads of every way (2)")
    parser.add_argument("--paper", action="store_true", help="all 60,000 images, ours alone: seconds and peak memory")
    parser.add_argument("--json", type=Path, help=f"file to write (benchmarks/results/{RESULTS.name})")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    out = options.json or (None if options.quick else RESULTS)
    before = json.loads(out.read_text(encoding="utf-8")) if out is not None and out.exists() else {}
    with threadpool_limits(options.threads):
        if options.paper:
            found = whole(options.sizes[0] if options.sizes else None)
            print("\n".join(f"{name:<14}{value:,.6g}" for name, value in found.items()))
            facts = before | {"paper": {"machine": machine(options.threads), **found}}
        else:
            rows = []
            for n in options.sizes or ((1000,) if options.quick else SIZES):
                measured = times(n, options.repeats or (1 if options.quick else REPEATS))
                print(f"\nn = {n:,}; ours: {measured[0]['seconds']:.2f} s, others in multiples of it")
                print(f"{'':<28}{'min':>7}{'median':>8}{'max':>7}{'error':>9}{'residual':>10}{'Δ answer':>10}")
                for row in measured:
                    print(
                        f"{row['method']:<28}{row['ratio_min']:>7.2f}{row['ratio_median']:>8.2f}{row['ratio_max']:>7.2f}"
                        f"{row['test_error']:>9.2%}{row['residual']:>10.0e}{row['difference']:>10.0e}",
                        flush=True,
                    )
                rows += measured
            facts = before | {"machine": machine(options.threads), "rows": rows}
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
