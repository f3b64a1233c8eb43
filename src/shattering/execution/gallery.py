"""Example images before and after each corruption of a plan, for the report to show."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shattering.core.spec import RunSpec
from shattering.core.study import label_level
from shattering.corruptions.registry import corruptions
from shattering.data.dataset import Dataset
from shattering.data.images import encode_png
from shattering.execution.plan import Planned
from shattering.execution.run import corrupted

SHOWN = 6


def make_gallery(planned: Planned) -> list[dict[str, Any]]:
    """One item per distinct corruption: the same examples, as stored and as trained on, with their labels.

    Features that are no images give an empty gallery.
    """
    if not planned.splits.train.is_image:
        return []
    items = []
    for spec in _one_per_corruption(planned.plan.specs):
        plain = spec.model_copy(
            update={
                "corruption": type(spec.corruption)(),
                "data": spec.data.unselected,
                "training": spec.training.model_copy(update={"augmentation": "none"}),
                "selection": None,
                "start": None,
            }
        )
        few = type(planned.splits)(*(split.take(np.arange(min(SHOWN, len(split)))) for split in _both(planned)))
        small = plain.model_copy(update={"training": plain.training.model_copy(update={"batch_size": 1})})
        before = corrupted(few, small).train
        after = corrupted(few, small.model_copy(update={"corruption": spec.corruption})).train
        entry = corruptions.get(spec.corruption.name)
        level = f" (p = {spec.corruption.fields['p']:g})" if "p" in spec.corruption.fields else ""
        items.append(
            {
                "corruption": spec.corruption.name.replace("_", " ") + level,
                "summary": entry.summary,
                "test_set": entry.test_set,
                "examples": [
                    {
                        "before": _png(before, row),
                        "after": _png(after, row),
                        "label_before": _name(before, int(before.labels[row])),
                        "label_after": _name(after, int(after.labels[row])),
                    }
                    for row in range(len(before))
                ],
            }
        )
    return items


def _both(planned: Planned) -> tuple[Dataset, Dataset]:
    return planned.splits.train, planned.splits.test


def _one_per_corruption(specs: Sequence[RunSpec]) -> list[RunSpec]:
    chosen: dict[str, RunSpec] = {}
    for spec in sorted(specs, key=lambda spec: label_level(spec) or 0.0):
        chosen.setdefault(f"{spec.corruption}", spec)
    return list(chosen.values())


def _png(split: Dataset, row: int) -> str:
    """An image in 8 bits; noise beyond the range of pixels is cut off for display only."""
    scaled = split.inputs[row].astype(np.float64) * (255.0 / split.divisor)
    pixels: NDArray[np.uint8] = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return base64.b64encode(encode_png(pixels)).decode()


def _name(split: Dataset, label: int) -> str:
    return split.class_names[label] if split.class_names else str(label)
