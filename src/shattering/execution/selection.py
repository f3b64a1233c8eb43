"""Which examples a run is given: subsets of the data, or a part of what another run was trained on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from shattering.core.errors import DataError, SpecError
from shattering.core.record import Record, Status
from shattering.core.spec import RunSpec
from shattering.core.streams import Stream
from shattering.data.dataset import Dataset, Splits

TEST_SUBSET_SEED = 0
"""All runs of a study are tested on the same test subset."""

RANDOM_RANK, HELD_OUT = 0, 1
"""Indices of the stream ``selection``."""


def choose_examples(splits: Splits, spec: RunSpec, parent: Record | None = None) -> Splits:
    """The examples that ``spec`` asks for.

    Training examples are the first ``train_size`` of the permutation of the stream ``subset`` (each seed has its own
    subset), in their order in the data; test examples the first ``test_size`` of the permutation of
    ``Stream(0, "test-subset")``. With ``data.replaced`` the next entry of the first permutation stands in place of one
    example of the subset, and everything else, its place in every batch included, is as without. With a ``selection``
    both splits come from the parent's training examples. ``data.tested_on`` makes test examples of the training
    examples that are left out of the subset, in their order in the data and with the labels they have there; those of
    the test split come after them, or not at all.

    Args:
        splits: the data as loaded.
        spec: the run.
        parent: the record of ``spec.selection.parent``; none where there is no selection.

    Raises:
        DataError: the split is smaller than the subset, or the subset than a batch.
        SpecError: nothing is left out to be tested on; the parent's record lacks the column; or
            ``replaced-without-spare``, ``replaced-out-of-range``, ``replaced-with-selection``, where no example can be
            replaced.
    """
    chosen = _subsets(splits, spec) if spec.selection is None else _selected(splits, spec, parent)
    if len(chosen.train) < spec.training.batch_size:
        raise DataError(
            "data-fewer-than-batch",
            f"{chosen.train.name}: {len(chosen.train)} training examples do not fill one batch of "
            f"{spec.training.batch_size}; lower it with --set training.batch_size={len(chosen.train)}.",
        )
    return chosen


def require_examples(splits: Splits, spec: RunSpec) -> None:
    """Raises what `choose_examples` would raise, for a run whose parent may not have ended yet."""
    if spec.selection is None:
        choose_examples(splits, spec)
        return
    require_examples(splits, spec.selection.parent)
    train, test = spec.sizes(len(splits.train), len(splits.test))
    if train < spec.training.batch_size or test < 1:
        raise DataError(
            "data-fewer-than-batch",
            f"selection.fraction={spec.selection.fraction:g} with held_out={spec.selection.held_out:g} leaves {train} "
            f"training and {test} test examples, and a batch is {spec.training.batch_size}; raise selection.fraction.",
        )


def _subsets(splits: Splits, spec: RunSpec) -> Splits:
    train, test = splits.train, splits.test
    for split, wanted in ((train, spec.data.train_size), (test, spec.data.test_size)):
        if wanted is not None and wanted > len(split):
            raise DataError(
                "data-subset-too-large",
                f"{split.name} has {len(split)} {split.split} examples, fewer than data.{split.split}_size={wanted}; "
                f"lower it with --set data.{split.split}_size={len(split)}.",
            )
    _require_replaceable(spec, len(train))
    if spec.data.train_size is not None:
        order = Stream(spec.seed_of("subset"), "subset").permutation(len(train))
        rows = np.sort(order[: spec.data.train_size])
        if spec.data.replaced is not None:
            rows[spec.data.replaced] = order[spec.data.train_size]
        train = train.take(rows)
    if spec.data.test_size is not None:
        order = Stream(TEST_SUBSET_SEED, "test-subset").permutation(len(test))
        test = test.take(np.sort(order[: spec.data.test_size]))
    if spec.data.tested_on != "test":
        test = _left_out(splits, train, test, spec)
    return Splits(train, test)


def _left_out(splits: Splits, train: Dataset, test: Dataset, spec: RunSpec) -> Dataset:
    """The test set where examples left out of the training subset belong to it."""
    rest = np.setdiff1d(np.arange(len(splits.train)), train.source_indices)
    if not len(rest):
        raise SpecError(
            "left-out-none",
            f"data.tested_on={spec.data.tested_on} needs training examples that are left out; set data.train_size "
            f"below {len(splits.train)}.",
        )
    wanted = spec.data.left_out_size
    if wanted is not None:
        if wanted > len(rest):
            raise SpecError(
                "left-out-too-large",
                f"data.left_out_size={wanted} and only {len(rest)} training examples are left out; lower one of them.",
            )
        order = Stream(spec.seed_of("subset"), "subset").permutation(len(splits.train))
        rest = np.sort(order[np.isin(order, rest)][:wanted])
    if splits.train.files is not None:
        raise SpecError(
            "left-out-streamed",
            f"data.tested_on={spec.data.tested_on} is not possible for images that stay on the disk; leave "
            "data.image_size out.",
        )
    out = splits.train.take(rest)
    parts = [out] if spec.data.tested_on == "left_out" else [out, test]
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("inputs", "labels", "original_labels", "changed", "source_indices")
    }
    return replace(test, **joined)


def _require_replaceable(spec: RunSpec, examples: int) -> None:
    """Refuses a replacement for which there is no place in the subset, or no example outside it."""
    place, size = spec.data.replaced, spec.data.train_size
    if place is None:
        return
    if size is None or size >= examples:
        raise SpecError(
            "replaced-without-spare",
            f"data.replaced={place} needs an example that is not trained on; set data.train_size below {examples}.",
        )
    if place >= size:
        raise SpecError(
            "replaced-out-of-range",
            f"data.replaced={place} is no place among {size} training examples; give one from 0 to {size - 1}.",
        )


def _selected(splits: Splits, spec: RunSpec, parent: Record | None) -> Splits:
    selection = spec.selection
    assert selection is not None
    if spec.data.replaced is not None:
        raise SpecError(
            "replaced-with-selection",
            "data.replaced replaces an example of a random subset, and selection takes none; set one of the two.",
        )
    if parent is not None and parent.status is Status.DIVERGED:
        raise SpecError(
            "selection-parent-diverged",
            f"The run {parent.digest[:12]}, whose examples were to be ranked, diverged; lower training.learning_rate.",
        )
    if parent is None or selection.column not in parent.examples:
        raise SpecError(
            "selection-column-absent",
            f"The run {selection.parent.digest[:12]} has no column {selection.column!r} to select examples by; add the "
            f"measure that gives it to the parent's measures.names.",
        )
    values = np.asarray(parent.examples[selection.column], dtype=np.float64)
    stream = Stream(spec.seed_of("selection"), "selection")
    chance = np.empty(len(values), dtype=np.int64)
    chance[stream.permutation(len(values), RANDOM_RANK)] = np.arange(len(values))
    never_is_last = np.where(values < 0, np.inf, values)
    order = np.argsort(chance) if selection.part == "random" else np.lexsort((chance, never_is_last))
    train_size, test_size = selection.sizes(len(values))
    wanted = train_size + test_size
    part = order[-wanted:] if selection.part == "highest" else order[:wanted]
    part = part[stream.permutation(wanted, HELD_OUT)]
    sources = np.asarray(parent.examples["index"], dtype=np.int64)
    train = splits.train.take(np.sort(sources[part[test_size:]]))
    test = splits.train.take(np.sort(sources[part[:test_size]]))
    return Splits(train, replace(test, split="test"))
