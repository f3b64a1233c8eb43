"""ImageNet on many GPUs, on paper: what an epoch takes of arithmetic, of decoding and of the network between machines.

Counted and measured here: the arithmetic of one example through the project's own networks, their parameters, and how
many photographs one core decodes, crops and resizes in a second. Assumed, and printed with the result: what a GPU makes
of its arithmetic, how many cores each has, how fast gradients travel. Nothing of this has run on a GPU.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

EXAMPLES = 1_281_167
"""Training examples of ILSVRC 2012."""


@dataclass(frozen=True)
class Assumed:
    """What no machine here can tell.

    Args:
        flops: a GPU's arithmetic in bfloat16, operations a second, as far as convolutions reach it.
        cores: processor cores for each GPU.
        bytes_per_second: of gradients that leave and reach each GPU, between machines.
    """

    flops: float = 350e12
    cores: int = 12
    bytes_per_second: float = 25e9


def measured(quick: bool = False) -> dict[str, Any]:
    """Operations of a forward and backward pass, parameters, and photographs decoded a second by one core."""
    return {"networks": {name: _network(name, side) for name, side in (("inception_v3", 299), ("resnet50", 224))}} | {
        "images_per_second_a_core": {str(side): _decoded(side, 16 if quick else 128) for side in (224, 299)}
    }


def modelled(facts: dict[str, Any], assumed: Assumed = Assumed(), batch: int = 64) -> list[dict[str, Any]]:
    """Hours of 100 epochs by network and number of GPUs, and which of the three takes the time.

    Arithmetic and decoding go on side by side, so that the slower of them counts; the exchange of gradients, a ring of
    2 (n - 1) / n times the parameters in float32, is taken as hidden behind the backward pass, two thirds of the step.
    """
    rows = []
    for name, network in facts["networks"].items():
        for gpus in (1, 8, 64, 512):
            step = {
                "arithmetic": batch * network["operations"] / assumed.flops,
                "decoding": batch / (assumed.cores * facts["images_per_second_a_core"][str(network["side"])]),
                "exchange": 2 * (gpus - 1) / gpus * 4 * network["parameters"] / assumed.bytes_per_second,
            }
            seconds = max(step["arithmetic"], step["decoding"])
            seconds += max(0.0, step["exchange"] - 2 / 3 * step["arithmetic"])
            steps = 100 * EXAMPLES / (batch * gpus)
            slowest = max(step, key=lambda part: step[part])
            rows.append({"network": name, "gpus": gpus, "hours": steps * seconds / 3600, "bottleneck": slowest} | step)
    return rows


def _network(name: str, side: int) -> dict[str, Any]:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from shattering.models.build import build_model

    model = build_model(name, {}, (3, side, side), 1000)
    model.train()
    count = FlopCounterMode(display=False)
    with count:
        outputs = model(torch.zeros(2, 3, side, side))
        tensors = [tensor for tensor in _tensors(outputs) if tensor.requires_grad]
        sum(tensor.sum() for tensor in tensors).backward()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return {"side": side, "operations": count.get_total_flops() / 2, "parameters": parameters}


def _tensors(outputs: Any) -> list[Any]:
    import torch

    if isinstance(outputs, torch.Tensor):
        return [outputs]
    values = outputs.values() if isinstance(outputs, dict) else getattr(outputs, "__dict__", {}).values()
    held = outputs if isinstance(outputs, list | tuple) else list(values)
    return [tensor for value in held for tensor in _tensors(value)]


def _decoded(side: int, count: int) -> float:
    """Photographs of 500 x 375 pixels that one core decodes, crops at random and resizes, in a second."""
    from PIL import Image

    from shattering.data.image_files import ImageFiles, crop_words
    from shattering.data.load import load_data

    noise = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for split in ("train", "val"):
            for place in range(8):
                # Smooth with some grain, so that a file has about the size of a photograph's.
                coarse = noise.integers(0, 256, (24, 32, 3), dtype=np.uint8)
                picture = np.asarray(Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC)).astype(int)
                picture = np.clip(picture + noise.integers(-12, 13, picture.shape), 0, 255).astype(np.uint8)
                target = Path(folder) / split / f"class{place % 2}" / f"{place}.jpg"
                target.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture).save(target, quality=90)
        files = load_data(folder, None, streamed=True).train.files
        assert isinstance(files, ImageFiles)
        files = files.brought_to(side)
        words = crop_words(0, 0, np.arange(len(files)))
        files.cropped(0, words[0])
        began = time.perf_counter()
        for number in range(count):
            files.cropped(number % len(files), words[number % len(files)])
        return count / (time.perf_counter() - began)
