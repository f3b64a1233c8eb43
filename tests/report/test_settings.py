"""Settings of every run: names that can be typed, and nothing that a run has no use for."""

from __future__ import annotations

from dataclasses import replace

from report_demo import demo_plan

from shattering.core.spec import MeasureSpec
from shattering.report.settings import UNUSED, settings
from shattering.simulations.registry import simulated


def plan_of(*specs):
    return replace(demo_plan(), specs=specs)


def test_empty_values_are_none() -> None:
    spec = demo_plan().specs[0]
    common = dict(settings(plan_of(spec.model_copy(update={"measures": MeasureSpec(names=())}))).common)
    assert common["measures.names"] == "none"
    assert common["model.batch"] == "none"
    assert all(value for value in common.values())


def test_a_simulation_shows_neither_training_nor_placeholder_data() -> None:
    common = dict(settings(plan_of(simulated("margin_classifiers", 0))).common)
    assert not [name for name in common if name.startswith(("training.", "measures.", "data."))]
    assert "compute.threads" in common


def test_beside_a_training_a_simulation_uses_none_of_its_settings() -> None:
    found = settings(plan_of(demo_plan().specs[0], simulated("margin_classifiers", 0)))
    place = found.heads.index("training.optimizer")
    assert [row[place] for row in found.rows] == ["sgd", UNUSED]
