"""What studies say of their records: the words follow the numbers, whichever way these go."""

from __future__ import annotations

import math
from statistics import fmean

import pytest

from shattering.core.record import Record, Status
from shattering.core.study import studies
from shattering.studies.zhang2017 import drawn, span
from shattering.studies.zhang2017_figures import separation_points


@pytest.fixture
def runs_with(request_for):
    """The runs of a study at small scale with made-up rows: a function of the spec gives them."""

    def runs(name: str, rows) -> list[Record]:
        study = studies.get(name)
        request = request_for(study.datasets[0], "small")
        return [
            Record(
                spec, Status.DONE, tuple({"step": i + 1, "epoch": i + 1.0} | row for i, row in enumerate(rows(spec)))
            )
            for spec in study.specs(request)
        ]

    return runs


def words(name: str, records: list[Record]) -> str:
    study = studies.get(name)
    return " ".join([study.answer(records), *(figure.reading(records) for figure in study.figures)])


def test_bias_that_rises_is_not_said_to_fall(runs_with) -> None:
    def rows(spec):
        parts = {"optimisation_variance": 0.1, "sampling_variance": 0.1}
        return [
            {"width": width, "bias": bias, "variance": 1 / width, "test_error": bias, **parts}
            for width, bias in ((2, 0.1), (8, 0.3))
        ]

    said = words("neal2018-bias-variance", runs_with("neal2018-bias-variance", rows))

    assert "bias² rises to 3.00 times its first value" in said
    assert "The variance begins at 1.00 and ends at 0.25 of its largest value." in said
    assert "test error goes from 10.0% to 30.0%" in said
    assert "falls" not in said and "err less" not in said


def test_the_number_of_minima_is_counted(runs_with) -> None:
    rows = [{"steps": step, "simulated": risk, "formula": risk} for step, risk in ((1, 3.0), (10, 1.0), (100, 2.0))]

    said = words("heckel2020-early-stopping", runs_with("heckel2020-early-stopping", lambda spec: rows))

    assert "with one step size the risk has 1 minimum in 10 of 10 runs" in said
    assert "falls again" not in said


def test_the_answer_names_the_farthest_of_the_worlds(runs_with) -> None:
    def rows(spec):
        apart = 1.2 if spec.model.fields.get("profile") == "constant" else 1.01
        return [
            {"ratio": ratio, "formula_error": 0.2, "simulated_error": 0.2 * apart, "threshold": 0.3, "separable": 0.0}
            for ratio in (0.05, 0.3, 2.0)
        ]

    records = runs_with("deng2019-classification", rows)

    assert "at most 20.0% away" in studies.get("deng2019-classification").answer(records)
    assert "signal constant" in studies.get("deng2019-classification").answer(records)


def test_a_threshold_is_marked_in_each_panel(runs_with) -> None:
    def rows(spec):
        place = 1.0 if spec.model.fields.get("world") == "logistic" else 0.3
        return [
            {"ratio": ratio, "formula_error": 0.2, "simulated_error": 0.3, "threshold": place, "separable": 0.0}
            for ratio in (0.05, 0.3, 1.0, 2.0)
        ]

    (figure,) = studies.get("deng2019-classification").figures
    points = figure.points(runs_with("deng2019-classification", rows))
    marked = [(point.panel, point.x, point.y) for point in points if point.series == "threshold κ*"]

    assert ("logistic labels", 1.0, 0.2) in marked and ("Gaussian mixture", 0.3, 0.3) in marked
    assert len(marked) == 6


def test_a_ratio_on_a_logarithmic_axis_has_its_interval_on_logarithms(request_for) -> None:
    study = studies.get("zhang2017-random-labels")
    chosen = [
        spec
        for spec in study.specs(request_for("digits", "small"))
        if spec.model.name == "mlp_1x512" and spec.corruption.name in ("true_labels", "random_labels")
    ]
    ratios = {0: 0.1, 1: 1.0, 2: 40.0}
    records = [
        Record(
            spec,
            Status.DONE,
            tuple(
                {"step": step, "epoch": step / 10, "train_loss": 1.0}
                | ({"train_loss": ratios[spec.seed]} if spec.corruption.name == "random_labels" else {})
                for step in (1, 10)
            ),
        )
        for spec in chosen
    ]

    points = separation_points(records)

    assert points
    for point in points:
        assert point.y == pytest.approx(math.exp(fmean(map(math.log, ratios.values()))))
        assert point.low is not None and point.high is not None and 0 < point.low < point.y < point.high


def test_equal_ends_are_one_number() -> None:
    assert span([0.031, 0.034]) == "3%"
    assert span([0.18, 0.15]) == "15%–18%"


def test_seeds_draw_their_own_only_where_fewer_than_all_are_used(request_for) -> None:
    request = request_for("digits", "small")
    assert drawn(1437, request) == "1,437 of 1,437 training examples"
    assert drawn(500, request) == "500 of 1,437 training examples (each seed draws its own)"
    told = studies.get("zhang2017-random-labels").differences(request)
    assert not [text for text in told if "1,437 of 1,437" in text and "draws its own" in text]
