"""One run of a learner, the whole way: data → corruption → learner → accuracy → record."""

from __future__ import annotations

import math
import time
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from shattering.core.record import Record, Row, Status
from shattering.core.spec import RunSpec
from shattering.core.streams import Stream
from shattering.data.dataset import Dataset, Splits
from shattering.data.preprocessing import scale, whiten
from shattering.execution.arithmetic import linear_algebra
from shattering.execution.control import Control
from shattering.execution.outcome import example_facts, weights_sha256
from shattering.execution.provenance import provenance
from shattering.execution.run import corrupted
from shattering.learners.desk import Desk
from shattering.learners.registry import Fitted, LearnerEntry, Material, learner_fields, learners
from shattering.measures.accuracy import accuracy
from shattering.measures.registry import Probe, measures


def fit(
    spec: RunSpec, splits: Splits, control: Control | None = None, parent: Record | None = None
) -> tuple[Record, Fitted]:
    """Fits one learner at once and measures it.

    Args:
        spec: the resolved spec; its model names a learner.
        splits: the data as loaded.
        control: how to be stopped, and where pieces of unfinished work are kept.
        parent: the record of the run whose examples this one selects from; none where it selects none.

    Returns:
        The record and what was fitted. The record has one row; it is `DONE` where the training accuracy reached
        ``training.fit_accuracy`` by a fit that is exact where it claims to be, `NOT_FITTED` elsewhere, `DIVERGED` where
        a score is not finite.

    Raises:
        Stopped: the user asked to; the pieces that the learner kept stay for the next call.
        ShatteringError: the data or the spec do not fit the learner.
    """
    control = control or Control()
    began = time.monotonic()
    entry = learners.get(spec.model.name)
    both = corrupted(splits, spec, parent)
    with linear_algebra(spec) as nondeterministic:
        material = material_of(spec, both.train, desk_of(control))
        fitted = entry.learn(material, **learner_fields(entry, spec.model.fields))
        train_scores = fitted.scores(material.inputs) if fitted.train_scores is None else fitted.train_scores
        test_scores = fitted.scores(inputs_of(spec, both.test))
    finite = bool(np.isfinite(train_scores).all() and np.isfinite(test_scores).all())
    row: Row = {"step": 1, "epoch": 1.0}
    if finite:
        row |= _accuracy(train_scores, test_scores, both)
    row |= {name: value for name, value in fitted.facts.items() if math.isfinite(value)}
    control.saw(row)
    record = Record(
        spec=spec,
        status=_status(spec, row, fitted, finite),
        rows=(row,),
        summary=_summary(spec, both, row, fitted),
        units=_units(entry),
        weights_sha256=weights_sha256(fitted.weights) if finite else None,
        examples=_columns(both.train, train_scores) if finite else {},
        provenance={
            **provenance(spec),
            "seconds": round(time.monotonic() - began, 3),
            "nondeterministic": sorted(set(nondeterministic)),
        },
    )
    return record, fitted


def inputs_of(spec: RunSpec, dataset: Dataset) -> NDArray[np.float32]:
    """A split as learners are given it: float32, whitened or scaled."""
    return (whiten if spec.data.whiten else scale)(dataset.inputs, dataset.divisor)


def material_of(spec: RunSpec, train: Dataset, desk: Desk) -> Material:
    """What the learner of ``spec`` is given of a training split, corrupted already."""
    return Material(
        inputs=inputs_of(spec, train),
        labels=np.asarray(train.labels),
        num_classes=train.num_classes,
        stream=lambda purpose: Stream(spec.seed_of(purpose), purpose),
        device=spec.compute.device,
        dtype=spec.compute.dtype,
        desk=desk,
    )


def desk_of(control: Control) -> Desk:
    """A desk under the driver's control."""

    def tell(done: int, total: int) -> None:
        control.beat(done)
        control.saw({"step": done, "epoch": done / max(total, 1)})

    return Desk(control.should_stop, tell, control.pieces)


def _accuracy(train: NDArray[np.float64], test: NDArray[np.float64], both: Splits) -> dict[str, float]:
    """The measure `accuracy`; a loss is half the squared distance of the scores to the one-hot label."""

    def told(scores: NDArray[np.float64], labels: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        # ½‖s − e_y‖² = ½(‖s‖² − 2 s_y + 1), without an array of one-hot labels
        own = scores[np.arange(len(labels)), labels]
        losses = 0.5 * np.maximum(np.einsum("nk,nk->n", scores, scores) - 2 * own + 1, 0.0)
        return torch.from_numpy(losses), torch.from_numpy(scores.argmax(axis=1))

    probe = SimpleNamespace(
        train=told(train, both.train.labels),
        test=told(test, both.test.labels),
        labels=torch.from_numpy(np.array(both.train.labels)),
        original_labels=torch.from_numpy(np.array(both.train.original_labels)),
        changed=torch.from_numpy(np.array(both.train.changed)),
        test_labels=torch.from_numpy(np.array(both.test.labels)),
    )
    return accuracy(cast(Probe, probe))


def _status(spec: RunSpec, row: Row, fitted: Fitted, finite: bool) -> Status:
    if not finite:
        return Status.DIVERGED
    enough = row["train_accuracy"] >= spec.training.fit_accuracy
    return Status.DONE if enough and fitted.exact else Status.NOT_FITTED


def _summary(spec: RunSpec, both: Splits, row: Row, fitted: Fitted) -> dict[str, float | int | None]:
    done = row.get("train_accuracy", 0.0) >= spec.training.fit_accuracy and fitted.exact
    return {
        "steps": 1,
        "steps_to_fit": 1 if done else None,
        "epochs_to_fit": 1.0 if done else None,
        "train_size": len(both.train),
        "test_size": len(both.test),
        "num_classes": both.train.num_classes,
        "changed_fraction": float(both.train.changed.mean()),
        **{name: value if math.isfinite(value) else None for name, value in fitted.facts.items()},
    }


def _units(entry: LearnerEntry) -> dict[str, str]:
    losses = {"train_loss": "1", "test_loss": "1"}
    return {"step": "steps", "epoch": "epochs", **measures.get("accuracy").units, **losses, **entry.units}


def _columns(train: Dataset, scores: NDArray[np.float64]) -> dict[str, Any]:
    return {**example_facts(train), "prediction": scores.argmax(axis=1)}
