"""A convolutional network on a folder of images: 1,797 handwritten digits, a PNG file each.

    python examples/image_folder.py                            # writes the images, then audits
    shattering audit examples/image_folder.py:build --data audit-images/digits \\
        --set training.learning_rate=1e-2 --budget 1m --out audit-images/audit

The folder has one sub-folder per class, ``digits/7/0011.png``; a fifth of each class is held out for testing. With
sub-folders ``train`` and ``test``, each with the classes below it, these would be taken. Pixels reach the network as
they are, divided by 255.
"""

import sys
from pathlib import Path

from torch import nn

import shattering

RATE = 1e-2
"""Adam's learning rate, at which the network fits its data in about a second."""


def build(input_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """A new network for images of any size: (channels, height, width) comes from the data."""
    return nn.Sequential(
        nn.Conv2d(input_shape[0], 16, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * 32, num_classes),
    )


def write(folder: Path) -> Path:
    """Writes ``digits/CLASS/NUMBER.png``."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    for number, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = folder / "digits" / str(label) / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * (255 / 16)).round().astype("uint8")).save(path)
    return folder / "digits"


def main(folder: str = "audit-images", budget: str = "1m") -> None:
    """Writes the data, audits the network on them and prints what was found."""
    data, out = write(Path(folder)), Path(folder) / "audit"
    print(shattering.audit(build, data, budget=budget, overrides={"training.learning_rate": RATE}, out=out))


if __name__ == "__main__":
    main(*sys.argv[1:])
