"""CIFAR-100: 60,000 photographs, 32 x 32 colour, a hundred fine classes (Krizhevsky 2009)."""

from __future__ import annotations

from pathlib import Path

from shattering.data.cifar import Cifar, read_cifar
from shattering.data.dataset import Splits, dataset

_CLASSES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale
willow_tree wolf woman worm
"""

CIFAR100 = Cifar(
    name="cifar100",
    class_names=tuple(_CLASSES.split()),
    folder=("cifar-100-python", "cifar-100-binary"),
    train=("train",),
    test="test",
    label_key="fine_labels",
    label_columns=("fine_label",),
    label_bytes=2,
)


@dataset(
    "cifar100",
    summary="photographs, 32 x 32 colour, 100 fine classes, 50,000 + 10,000",
    files=CIFAR100.files,
    where="Get the Python or binary version from https://www.cs.toronto.edu/~kriz/cifar.html and unpack it in "
    "FOLDER/cifar100, or put train.parquet and test.parquet (columns img, fine_label) there.",
)
def cifar100(folder: Path | None) -> Splits:
    """Reads Python batches, binary batches or Parquet in ``folder``; the labels are the fine ones."""
    return read_cifar(CIFAR100, folder)
