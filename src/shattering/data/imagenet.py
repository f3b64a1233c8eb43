"""ImageNet (ILSVRC-2012), streamed from a folder."""

from __future__ import annotations

from pathlib import Path

from shattering.core.errors import DataError
from shattering.data.dataset import Splits, dataset

WHERE = (
    "ImageNet (ILSVRC-2012) has to be got from its makers; unpack it to FOLDER/imagenet/train/CLASS/image and "
    "FOLDER/imagenet/val/CLASS/image, the 1,000 classes in folders of the same names."
)


@dataset("imagenet", summary="1,281,167 + 50,000 images of 1,000 classes, read from the disk", where=WHERE)
def load(folder: Path | None) -> Splits:
    """Looks for ``imagenet/train`` in the places of registered data sets."""
    from shattering.data.files import show
    from shattering.data.folder import has_layout
    from shattering.data.load import places
    from shattering.data.streamed import stream_folder

    for place in places(folder):
        for root in (place / "imagenet", place):
            if has_layout(root):
                return stream_folder(root, "imagenet")
    searched = ", ".join(show(place) for place in places(folder))
    raise DataError(
        "data-missing",
        f"The data set imagenet was not found; searched: {searched}. {WHERE} Then name FOLDER with --data-dir or in "
        "SHATTERING_DATA, or the folder itself with --data.",
    )
