"""Images a second in training, ours beside a plain PyTorch loop, interleaved in one process on one thread.

The plain loop is what one writes first: a map-style data set whose transform divides by 255, crops and whitens one
image at a time, a `DataLoader`, contiguous tensors, PyTorch's own layers (`nn.LocalResponseNorm` for Alexnet), eager.
Ours is the loop that runs use: the split whitened once and kept in memory, channels-last, fused SGD. Both do SGD with
momentum on batches of 128 random 32×32×3 images, cropped to 28×28, and read the loss and the number of hits each step.

Only ratios within one run mean anything: absolute speeds move by a fifth from run to run.

    python benchmarks/training.py [--quick] [--repeats N] [--models NAME …] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as MapDataset

from shattering.core.spec import RunSpec, parse_spec
from shattering.data.dataset import Dataset
from shattering.execution.provenance import provenance
from shattering.models.build import build_model
from shattering.training.examples import cropped, prepare
from shattering.training.loop import train
from shattering.training.state import Progress
from shattering.training.update import build_optimizer

BATCH, CROP, CLASSES = 128, 28, 10
RESULTS = Path(__file__).parent / "results" / "training.json"

# Steps timed in each repeat: about as long for every network.
NETWORKS: dict[str, tuple[str, dict[str, Any], float, int]] = {
    "inception": ("inception", {}, 0.1, 2),
    "inception without BN": ("inception", {"batch_norm": False}, 0.01, 2),
    "alexnet": ("alexnet", {}, 0.01, 8),
    "mlp_3x512": ("mlp_3x512", {}, 0.01, 80),
    "mlp_1x512": ("mlp_1x512", {}, 0.01, 120),
}


class PlainImages(MapDataset[tuple[Tensor, int]]):
    """Images transformed one at a time, as they are asked for."""

    def __init__(self, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = torch.from_numpy(self.images[index]).permute(2, 0, 1).float() / 255
        margin = (image.shape[1] - CROP) // 2
        image = image[:, margin : margin + CROP, margin : margin + CROP]
        deviation = torch.clamp(image.std(correction=0), min=image.numel() ** -0.5)
        return (image - image.mean()) / deviation, int(self.labels[index])


class PlainAlexnet(nn.Sequential):
    """The small Alexnet from PyTorch's own layers, each in the order the paper names them."""

    def __init__(self) -> None:
        def block(channels: int) -> list[nn.Module]:
            pool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
            return [nn.Conv2d(channels, 64, 5, padding=2), nn.ReLU(), pool, nn.LocalResponseNorm(9, 0.001, 0.75, 1.0)]

        head = [nn.Flatten(), nn.Linear(64 * 7 * 7, 384), nn.ReLU(), nn.Linear(384, 192), nn.ReLU()]
        super().__init__(*block(3), *block(64), *head, nn.Linear(192, CLASSES))


def random_images(count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images and labels drawn uniformly."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return images, generator.integers(0, CLASSES, count)


def plain_training(name: str, steps: int) -> Callable[[], float]:
    """A function that trains for ``steps`` more steps and returns the seconds they took."""
    model_name, fields, rate, _ = NETWORKS[name]
    network = PlainAlexnet() if name == "alexnet" else build_model(model_name, fields, (3, CROP, CROP), CLASSES)
    optimizer = torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9)
    loader = DataLoader(PlainImages(*random_images(BATCH * steps)), batch_size=BATCH, shuffle=True)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from loader

    stream = batches()

    def update() -> None:
        inputs, labels = next(stream)
        optimizer.zero_grad()
        outputs = network(inputs)
        loss = F.cross_entropy(outputs, labels)
        torch.autograd.backward(loss)
        optimizer.step()
        loss.item(), (outputs.argmax(dim=1) == labels).sum().item()

    update()

    def timed() -> float:
        start = time.perf_counter()
        for _ in range(steps):
            update()
        return time.perf_counter() - start

    return timed


class Enough(Exception):
    """All steps of this repeat are done."""


def our_training(name: str, steps: int) -> tuple[Callable[[], float], float]:
    """As `plain_training`, with the seconds that preparing the data took, once for the whole training."""
    spec = our_spec(name)
    images, labels = random_images(BATCH * steps)
    start = time.perf_counter()
    dataset = Dataset(images, labels, CLASSES, name="random", split="train")
    examples = prepare(cropped(dataset, spec), spec)
    preparation = time.perf_counter() - start
    model_name, fields, _, _ = NETWORKS[name]
    network = build_model(model_name, fields, examples.input_shape, CLASSES)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = build_optimizer(network, spec)

    def timed() -> float:
        ticks: list[float] = []

        def on_step() -> None:
            ticks.append(time.perf_counter())
            # One update first, so that the epoch's permutation falls among the steps that are timed.
            if len(ticks) == steps + 2:
                raise Enough

        try:
            for _ in train(network, optimizer, examples, spec, Progress(), on_step=on_step):
                pass
        except Enough:
            return ticks[-1] - ticks[1]
        raise RuntimeError(f"{name}: the training ended after {len(ticks)} steps, {steps + 2} were wanted.")

    return timed, preparation


def our_spec(name: str) -> RunSpec:
    """The run that is timed: no snapshots, a criterion out of reach, one thread."""
    model_name, fields, rate, _ = NETWORKS[name]
    return parse_spec(
        {
            "data": {"crop": CROP},
            "model": {"name": model_name, "fields": fields},
            "training": {"learning_rate": rate, "batch_size": BATCH, "max_steps": 10**9, "fit_accuracy": 1.0},
            "measures": {"points_per_decade": 0, "every_epochs": 0},
        }
    )


def compare(name: str, steps: int, repeats: int) -> dict[str, Any]:
    """Times both, turn about, and returns speeds and the ratios of each repeat."""
    torch.manual_seed(0)
    plain = plain_training(name, steps)
    ours, preparation = our_training(name, steps)
    images = BATCH * steps
    pairs = []
    for repeat in range(repeats):
        if repeat % 2:
            second, first = ours(), plain()
        else:
            first, second = plain(), ours()
        pairs.append((images / first, images / second))
    ratios = sorted(fast / slow for slow, fast in pairs)
    return {
        "network": name,
        "steps": steps,
        "repeats": repeats,
        "plain_images_per_second": statistics.median(slow for slow, _ in pairs),
        "our_images_per_second": statistics.median(fast for _, fast in pairs),
        "ratio_min": ratios[0],
        "ratio_median": statistics.median(ratios),
        "ratio_max": ratios[-1],
        "preparation_seconds_per_1000_images": 1000 * preparation / images,
    }


def main() -> None:
    """Runs the comparison, prints the table and saves it; a quick run is saved only where ``--out`` says so."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few steps, two repeats; shows that it works")
    parser.add_argument("--repeats", type=int, help="repeats of each pair (7; 2 when quick)")
    parser.add_argument("--models", nargs="+", choices=list(NETWORKS), default=list(NETWORKS), metavar="NAME")
    parser.add_argument("--out", type=Path, help=f"file to write (benchmarks/results/{RESULTS.name})")
    options = parser.parse_args()
    torch.set_num_threads(1)
    repeats = options.repeats or (2 if options.quick else 7)

    print(f"{'network':<22}{'plain images/s':>15}{'ours':>10}{'ratio min':>11}{'median':>8}{'max':>8}")
    rows = []
    for name in options.models:
        steps = NETWORKS[name][3]
        row = compare(name, max(1, steps // 8) if options.quick else steps, repeats)
        rows.append(row)
        print(
            f"{name:<22}{row['plain_images_per_second']:>15,.0f}{row['our_images_per_second']:>10,.0f}"
            f"{row['ratio_min']:>11.2f}{row['ratio_median']:>8.2f}{row['ratio_max']:>8.2f}",
            flush=True,
        )
    out = options.out or (None if options.quick else RESULTS)
    if out is not None:
        machine = provenance(our_spec("mlp_1x512"))
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps({"machine": machine, "threads": 1, "rows": rows}, indent=2) + "\n", encoding="utf-8")
        print(f"saved to {out}")


if __name__ == "__main__":
    main()
