"""What runs of Xiao et al. (2020) there are by phase, and their pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shattering.core.curves import Runs, curve, last, swept
from shattering.core.formula_settings import runs_of
from shattering.core.record import Record
from shattering.core.study import Point, Records
from shattering.simulations.registry import is_simulation

ORDERED, CRITICAL, CHAOTIC = "ordered", "critical", "chaotic"
KERNELS: dict[str, dict[str, Any]] = {
    ORDERED: {"weight_variance": 0.9322},
    CRITICAL: {},
    CHAOTIC: {"weight_variance": 3.1018},
}
"""χ = 0.764, 1 and 1.345 at σ_b² = 0.1."""

NETWORKS = {ORDERED: 0.5, CRITICAL: 1.5521, CHAOTIC: 5.0}
"""σ_w² of the networks trained: χ = 0.48, 1 and 1.65."""

SMALLEST_SHOWN = 1e-7
"""Of the predictions in the picture: in the chaotic phase they soon are nothing."""

kernel_of = runs_of(KERNELS)

TEST, TRAIN = last("test_accuracy"), last("train_accuracy")
"""Accuracies at the last snapshot."""


def kernels(phase: str) -> Runs:
    """The kernel runs of a phase."""

    def runs(records: Records) -> Sequence[Record]:
        return kernel_of(phase)([record for record in records if is_simulation(record.spec.model.name)])

    return runs


def networks(phase: str, depth: int | None = None) -> Runs:
    """The trainings of a phase, of one depth or of all."""

    def runs(records: Records) -> Sequence[Record]:
        trained = [record for record in records if record.spec.model.name == "deep_erf"]
        found = [r for r in trained if r.spec.model.fields.get("weight_variance", 1.5521) == NETWORKS[phase]]
        return [r for r in found if depth in (None, r.spec.model.fields.get("depth", 4))]

    return runs


def depth_of(record: Record) -> float:
    """Hidden layers of a network trained."""
    return float(record.spec.model.fields.get("depth", 4))


def kernel_points(records: Records) -> list[Point]:
    """Condition number and mean prediction against depth, a line for each phase."""
    panels = {"simulated_condition": "condition number", "prediction": "mean prediction, root mean square"}
    found = [
        point
        for name, panel in panels.items()
        for phase in KERNELS
        for point in curve(
            kernels(phase)(records), "depth", name, series=phase, kind="kernel", panel=panel, positive=True
        )
    ]
    limit = curve(kernels(CRITICAL)(records), "depth", "formula_condition", series=CRITICAL, kind="limit",
                  panel=panels["simulated_condition"])  # fmt: skip
    return [point for point in found + limit if point.y > SMALLEST_SHOWN]


def network_points(records: Records) -> list[Point]:
    """Training and test accuracy of the networks against depth."""
    return [
        point
        for phase in NETWORKS
        for number, kind in ((TRAIN, "train"), (TEST, "test"))
        for point in swept(networks(phase)(records), depth_of, number, series=phase, kind=kind)
    ]
