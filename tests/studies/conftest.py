"""Requests for data that need not be there, and records made up to order."""

from __future__ import annotations

import numpy as np
import pytest

from shattering.core.record import Record, Status
from shattering.core.spec import RunSpec
from shattering.core.study import DataFacts, Request, Scale
from shattering.learners.registry import is_learner, learners
from shattering.measures.registry import measures
from shattering.simulations.registry import is_simulation, simulations

FACTS = {
    "digits": DataFacts("digits", 1437, 360, (8, 8, 1), 10, "0" * 64),
    "mnist": DataFacts("mnist", 60_000, 10_000, (28, 28, 1), 10, "1" * 64),
    "cifar10": DataFacts("cifar10", 50_000, 10_000, (32, 32, 3), 10, "2" * 64),
    "six_weights": DataFacts("six_weights", 4, 1, (6,), 2, "3" * 64),
    "drawn": DataFacts("drawn", 2, 2, (1,), 2, "5" * 64),
    "addition_mod_59": DataFacts("addition_mod_59", 3481, 3481, (118,), 59, "6" * 64),
    "gaussian_features": DataFacts("gaussian_features", 1000, 200, (400,), 2, "4" * 64),
}

GRADIENTS = {
    "m_coherence": 5.0,
    "alpha": 0.05,
    "pristine_m_coherence": 4.0,
    "pristine_alpha": 0.08,
    "corrupt_m_coherence": 2.0,
    "corrupt_alpha": 0.04,
    "coherence_floor": 1e-12,
    "gradient_norm": 0.5,
    "m_coherence/hidden1": 5.0,
    "m_coherence/output": 6.0,
    "pristine_share": 0.7,
    "corrupt_share": 0.3,
    "pristine_contribution": 0.2,
    "corrupt_contribution": 0.1,
    "null_share_low": 0.4,
    "null_share_high": 0.6,
    "share_p": 0.001,
    **{f"weight_{number}": 0.2 for number in range(1, 7)},
    "frobenius_product": 50.0,
    "spectral_product": 5.0,
    "spectral_complexity": 40.0,
    "path_norm": 8.0,
    "training_margin": 2.0,
    "normalised_frobenius_product": 25.0,
    "normalised_spectral_product": 2.5,
    "normalised_spectral_complexity": 20.0,
    "normalised_path_norm": 4.0,
    "fourier_gini": 0.1,
    "key_frequencies": 20.0,
    "rule_share": 0.2,
    "restricted_loss": 1.0,
    "excluded_loss": 1.5,
    "collapsed_float32": 0.5,
    "collapsed_float64": 0.0,
    "critical_sample_ratio": 0.4,
    "critical_train_ratio": 0.3,
    "held_out_loss/0": 1.5,
    "held_out_loss/1": 2.5,
    "validation_loss": 1.0,
    "validation_accuracy": 0.5,
    "test_split_loss": 1.0,
    "test_split_accuracy": 0.5,
    "train_barrier": 0.1,
    "test_barrier": 0.1,
    "weight_distance": 5.0,
}
"""What the measures that not every run has say at every snapshot of a made-up run, where labels are noisy."""


def gradient_numbers(spec: RunSpec) -> dict[str, float]:
    """The numbers of the spec's gradient measures; with true labels there are no corrupt examples, hence no shares."""
    units = [unit.removesuffix("*") for name in spec.measures.names for unit in measures.get(name).units]
    known = {name: value for name, value in GRADIENTS.items() if any(name.startswith(unit) for unit in units)}
    if spec.corruption.name != "true_labels":
        return known
    mixed = ("corrupt_", "null_", "share_p", "pristine_share")
    return {name: value for name, value in known.items() if not name.startswith(mixed)}


def learner_numbers(spec: RunSpec) -> dict[str, float]:
    """What a learner says of its fit; the same number for every fact."""
    return dict.fromkeys(learners.get(spec.model.name).units, 2.0) if is_learner(spec.model.name) else {}


def example_columns(spec: RunSpec) -> dict[str, np.ndarray]:
    """Twenty examples, some learned at each snapshot and one never, in an order that hardly depends on the seed."""
    index = np.arange(20)
    columns = {"index": index, "label": index % 10, "original_label": index % 10, "changed": index < 0}
    if "learning_step" in spec.measures.names:
        steps = np.array([0, 1, 1, 10, 10, 50, 50, -1])[index * 8 // 20]
        columns["learning_step"] = np.roll(steps, spec.seed % 2)
    return columns


def simulated_record(spec: RunSpec, status: Status) -> Record:
    """Three rows of a simulation; its numbers grow with the place, and say nothing."""
    units = simulations.get(spec.model.name).units
    rows = tuple(
        {"step": step, "epoch": float(step), **dict.fromkeys(units, float(step))}
        for step in range(1, 2 if status is Status.DIVERGED else 4)
    )
    return Record(spec, status, rows, {"steps": len(rows)})


def make_record(spec: RunSpec, status: Status = Status.DONE, *, test_accuracy: float = 0.5) -> Record:
    """A run as it might have ended: fitted (or nearly) at step 40 of 50; without rows where it failed."""
    if status in (Status.FAILED, Status.CANCELLED):
        return Record(spec, status)
    if is_simulation(spec.model.name):
        return simulated_record(spec, status)
    fitted = status is Status.DONE
    rows = []
    for step, loss, accuracy in ((0, 2.4, 0.1), (1, 2.0, 0.3), (10, 1.0, 0.6), (50, 0.01, 1.0 if fitted else 0.7)):
        row = {
            "step": step,
            "epoch": step / 10,
            "learning_rate": 0.1,
            "train_loss": loss,
            "train_accuracy": accuracy,
            "clean_train_accuracy": accuracy,
            "unchanged_train_accuracy": accuracy,
            "test_loss": 2.0,
            "test_accuracy": test_accuracy,
            "generalization_gap": accuracy - test_accuracy,
            "weight_norm": 3.0,
            "distance_from_initialisation": 1.0,
        }
        if spec.corruption.name not in ("true_labels",):
            row["changed_train_accuracy"] = row["restored_train_accuracy"] = accuracy
        rows.append(row | gradient_numbers(spec) | learner_numbers(spec))
        if "validation_loss" in rows[-1]:
            rows[-1]["validation_loss"] = loss
    summary = {
        "steps": 50,
        "steps_to_fit": 40 if fitted else None,
        "epochs_to_fit": 4.0 if fitted else None,
        "train_size": spec.data.train_size or 1000,
        "test_size": spec.data.test_size or 1000,
        "num_classes": 10,
        "parameters": 1000,
        **learner_numbers(spec),
    }
    if spec.start is not None:
        summary["remaining_fraction"] = 0.5 ** len(spec.parents)
    if status is Status.DIVERGED:
        return Record(spec, status, tuple(rows[:2]), summary)
    return Record(spec, status, tuple(rows), summary, examples=example_columns(spec))


@pytest.fixture
def request_for():
    """A request for a known data set at a scale."""

    def build(data: str, scale: Scale, **others) -> Request:
        return Request(scale, FACTS[data], **others)

    return build


@pytest.fixture
def record_of():
    return make_record
