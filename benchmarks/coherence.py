"""What the coherence of gradients costs: Σgᵢ and Σ‖gᵢ‖² over a batch, ours beside other ways, in ratios.

The yardstick is a forward and a backward of the mean loss over the same batch: a step of training without its update.
Each repeat runs every way once, turn about, each right after a plain pass to which it is compared. What each way
computes is compared with ours: the relative differences of Σ‖gᵢ‖² and of ‖Σgᵢ‖² are printed.

Networks take 28×28×3 images, in channels-last order: batches of 128, and 64 for the small Inception without batch
normalisation. The first of our passes, which inspects the loss and verifies every rule on a few examples, is not among
the repeats; it is given in seconds.

Memory is what network, batch and pass take at their highest, each way in a process of its own, over what the process
held after a pass through a tiny network, which loads libraries. On a CPU it is resident memory, as Linux tells it: that
counts all that any library allocates, and what the allocator keeps for lack of better use. On a GPU it is what
PyTorch's allocator has given.

Other libraries are optional: ways whose library is missing are said to be. One of them would bring along another build
of torch, so install them without what they depend on:

    pip install -c constraints.txt --no-deps opacus backpack-for-pytorch einops unfoldNd opt-einsum

Only ratios within one run mean anything: absolute times move by a fifth from run to run.

    python benchmarks/coherence.py [--quick] [--repeats N] [--models NAME …] [--threads N] [--device cuda] [--json FILE]
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from coherence_methods import METHODS, Method, Pass, Sums, quietly, squared
from shattering.core.version import VERSION
from shattering.execution.provenance import processor
from shattering.models.build import build_model
from shattering.models.same_padding import HalvingConv

RESULTS = Path(__file__).parent / "results" / "coherence.json"

# The network's name and fields, the examples in a batch, and repeats (those of a quick run).
NETWORKS: dict[str, tuple[str, dict[str, Any], int, int, int]] = {
    "MLP 3x512": ("mlp_3x512", {}, 128, 15, 3),
    "small Alexnet": ("alexnet", {}, 128, 9, 2),
    "small Inception without BN": ("inception", {"batch_norm": False}, 64, 7, 1),
}


def build(name: str, device: str) -> tuple[nn.Module, Tensor, Tensor]:
    """A network with drawn weights, images and labels."""
    model_name, fields, batch, _, _ = NETWORKS[name]
    torch.manual_seed(0)
    network = build_model(model_name, fields, (3, 28, 28), 10)
    # Other libraries know a convolution by its class, and would overlook the padding inside this one.
    for parent in list(network.modules()):
        for child_name, child in list(parent.named_children()):
            if isinstance(child, HalvingConv):
                conv = nn.Conv2d(child.in_channels, child.out_channels, 3, stride=2)
                conv.load_state_dict(child.state_dict())
                setattr(parent, child_name, nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), conv))
    network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.randn(batch, 3, 28, 28).to(device).contiguous(memory_format=torch.channels_last)
    return network, images, torch.randint(0, 10, (batch,)).to(device)


def seconds(measure: Pass, device: str) -> tuple[float, Sums]:
    """How long a pass took, and what it found."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    found = measure()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start, found


def times(name: str, device: str, repeats: int) -> list[dict[str, Any]]:
    """Times every installed way, turn about, and compares what it finds with ours."""
    rows = []
    passes: dict[str, Pass] = {}
    found: dict[str, Sums] = {}
    first = {}
    for method in METHODS:
        if method.installed:
            network, images, labels = build(name, device)
            passes[method.name] = quietly(lambda m=method, n=network, x=images, y=labels: m.build(n, x, y))  # type: ignore[misc]
            first[method.name], found[method.name] = seconds(passes[method.name], device)
    yardstick, *others = [method for method in METHODS if method.installed]
    plain: list[float] = []
    taken: dict[str, list[float]] = {method.name: [] for method in others}
    ratios: dict[str, list[float]] = {method.name: [] for method in others}
    for repeat in range(repeats):
        for i in range(len(others)):
            method = others[(i + repeat) % len(others)]
            before, _ = seconds(passes[yardstick.name], device)
            spent, _ = seconds(passes[method.name], device)
            plain.append(before)
            taken[method.name].append(spent)
            ratios[method.name].append(spent / before)
    norms, totals = found["ours"]
    for method in others:
        ratio = ratios[method.name]
        rows.append(
            {
                "network": name,
                "method": method.name,
                "repeats": repeats,
                "plain_seconds": statistics.median(plain),
                "seconds": statistics.median(taken[method.name]),
                "first_seconds": first[method.name],
                "ratio_min": min(ratio),
                "ratio_median": statistics.median(ratio),
                "ratio_max": max(ratio),
                "difference_of_squared_norms": abs(found[method.name][0] / norms - 1),
                "difference_of_sum": abs(squared(found[method.name][1]) / squared(totals) - 1),
            }
        )
    return rows


def resident_bytes(field: str) -> int:
    """What Linux says of this process: ``VmRSS``, resident now, or ``VmHWM``, the most so far.

    Not ``ru_maxrss``, which a process inherits from the one that started it.
    """
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith(field))
    return int(line.split()[1]) * 1024


def added_bytes(name: str, method: Method, device: str) -> int:
    """What network, batch and a pass add to the memory of a process that has its libraries loaded."""
    if method.library is not None:
        importlib.import_module(method.library)
    warm_up = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 26 * 26, 2)).to(device)
    quietly(lambda: method.build(warm_up, *(x.to(device) for x in (torch.randn(2, 3, 28, 28), torch.tensor([0, 1])))))()
    held = torch.cuda.memory_allocated() if device == "cuda" else resident_bytes("VmRSS")
    network, images, labels = build(name, device)
    measure = method.build(network, images, labels)
    # The first pass may take more: ours inspects the loss and verifies rules. It is the steady state that counts, here
    # as in the times.
    measure()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        measure()
        return torch.cuda.max_memory_allocated() - held
    # From here on, VmHWM counts anew.
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    measure()
    return resident_bytes("VmHWM") - held


def added_bytes_apart(name: str, method: Method, device: str, threads: int) -> int:
    """`added_bytes` in a process of its own."""
    command = [
        sys.executable,
        __file__,
        "--memory-of",
        name,
        method.name,
        "--device",
        device,
        "--threads",
        str(threads),
    ]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(answer.stdout.split()[-1])


def machine(device: str, threads: int) -> dict[str, Any]:
    """What ratios depend on."""
    libraries = {m.library: None for m in METHODS if m.library is not None}
    from importlib.metadata import PackageNotFoundError, version

    for library, package in (("opacus", "opacus"), ("backpack", "backpack-for-pytorch")):
        try:
            libraries[library] = version(package)  # type: ignore[assignment]
        except PackageNotFoundError:
            continue
    return {
        "shattering": VERSION,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "libraries": libraries,
        "platform": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name() if device == "cuda" else processor(),
        "threads": threads,
    }


def main() -> None:
    """Runs the comparison, prints the table and saves it; a quick run is saved only where ``--json`` says so."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few repeats, no memory; shows that it works")
    parser.add_argument("--repeats", type=int, help="repeats (15 for the MLP, 9, 7; 3, 2, 1 when quick)")
    parser.add_argument("--models", nargs="+", choices=list(NETWORKS), default=list(NETWORKS), metavar="NAME")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch (1)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--json", type=Path, help=f"file to write (benchmarks/results/{RESULTS.name})")
    parser.add_argument("--memory-of", nargs=2, metavar=("NETWORK", "METHOD"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory_of:
        (method,) = (method for method in METHODS if method.name == options.memory_of[1])
        print(added_bytes(options.memory_of[0], method, options.device))
        return

    rows: list[dict[str, Any]] = []
    for name in options.models:
        *_, repeats, quick_repeats = NETWORKS[name]
        measured = times(name, options.device, options.repeats or (quick_repeats if options.quick else repeats))
        memory: dict[str, int] = {}
        if not options.quick and (options.device == "cuda" or Path("/proc/self/clear_refs").exists()):
            for method in METHODS:
                if method.installed:
                    memory[method.name] = added_bytes_apart(name, method, options.device, options.threads)
        plain_bytes = memory.get(METHODS[0].name)
        print(f"\n{name}, {NETWORKS[name][2]} examples; plain: {1000 * measured[0]['plain_seconds']:.1f} ms", end="")
        print(f", {plain_bytes / 2**20:.0f} MiB" if plain_bytes else "")
        print(
            f"{'':<28}{'time: min':>10}{'median':>8}{'max':>8}{'memory':>8}{'Δ Σ‖g‖²':>10}{'Δ ‖Σg‖²':>10}{'first':>9}"
        )
        for row in measured:
            row["added_bytes"] = memory.get(row["method"])
            row["memory_ratio"] = memory[row["method"]] / plain_bytes if plain_bytes else None
            share = f"{row['memory_ratio']:>8.2f}" if plain_bytes else f"{'':>8}"
            print(
                f"{row['method']:<28}{row['ratio_min']:>10.2f}{row['ratio_median']:>8.2f}{row['ratio_max']:>8.2f}{share}"
                f"{row['difference_of_squared_norms']:>10.0e}{row['difference_of_sum']:>10.0e}"
                f"{row['first_seconds']:>7.2f} s",
                flush=True,
            )
        for method in METHODS:
            if not method.installed:
                print(f"{method.name:<28}  {method.library} is not installed")
        rows += measured
    out = options.json or (None if options.quick else RESULTS)
    if out is not None:
        facts = {"machine": machine(options.device, options.threads), "rows": rows}
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"\nsaved to {out}")


if __name__ == "__main__":
    main()
