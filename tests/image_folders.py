"""Small folders of images of mixed sizes, written for the tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def write_images(
    root: Path, *, classes: int = 4, train: int = 12, val: int = 4, sides: tuple[int, int] = (80, 100)
) -> Path:
    """``train/CLASS/image`` and ``val/CLASS/image``: noise about a colour of the class, PNG and JPEG in turn."""
    draw = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        for number in range(classes):
            folder = root / split / f"n{number:03d}"
            folder.mkdir(parents=True)
            for image in range(count):
                height, width = draw.integers(sides[0], sides[1] + 1, 2)
                pixels = draw.normal(0, 40, (height, width, 3))
                pixels[..., number % 3] += 100 + 25 * number
                kind = "JPEG" if image % 2 else "png"
                Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / f"{image}.{kind}")
    return root
