"""The illustrative example beside its solution by hand, and the refusal to run it on anything else."""

from __future__ import annotations

import pytest

from shattering.core.errors import SpecError
from shattering.core.study import Request, judge, studies
from shattering.data.load import load_data
from shattering.execution.run import execute

STUDY = studies.get("chatterjee2022-toy")
TABLE = """
shared feature   α                0.625
shared feature   m-coherence      2.5
shared feature   feature 1        0.2
shared feature   feature 5        0
shared feature   last feature     0.8
shared feature   loss at the start    0.5
shared feature   test loss at the end 0.02
shared feature   after 10 steps   0.0346
shared feature   after 100 steps  0.0
nothing shared   α                0.25
nothing shared   m-coherence      1.0
nothing shared   feature 1        1
nothing shared   feature 5        0
nothing shared   last feature     0
nothing shared   loss at the start    0.5
nothing shared   test loss at the end 0.5
nothing shared   after 10 steps   0.301
nothing shared   after 100 steps  0.0032
"""
"""World, words of the quantity, value."""


@pytest.fixture(scope="module")
def records():
    splits = load_data("six_weights")
    return [execute(spec, splits)[0] for spec in STUDY.specs(Request("small", splits.facts))]


def test_every_number_of_the_table_is_reproduced(records) -> None:
    rows = [
        (line[:14], " ".join(line[17:].split()[:-1]), float(line.split()[-1])) for line in TABLE.strip().splitlines()
    ]
    assert len(rows) == len(STUDY.claims)
    for world, words, published in rows:
        (claim,) = [c for c in STUDY.claims if c.source.endswith(world) and words in c.quantity]
        found = judge(claim, records, comparable=True)
        assert (claim.published, claim.tolerance) == (published, 1e-3)
        assert found.verdict == "reproduced", (world, words, found.estimate)


def test_errors_shrink_by_the_factor_that_the_definition_gives(records) -> None:
    """The common error r of the four examples obeys r ← r (1 - rate · λ), λ = 1/4 for the own feature + 1 if shared."""
    for record, rate in zip(records, (1.25, 0.25), strict=True):
        for row in record.rows:
            loss = 0.5 * (1 - 0.1 * rate) ** (2 * row["step"])
            assert row["train_loss"] == pytest.approx(loss, rel=1e-6, abs=1e-25)
            assert row["alpha"] == pytest.approx(0.625 if rate == 1.25 else 0.25, abs=1e-9)
        assert [record.last[f"weight_{number}"] for number in (2, 3, 4)] == pytest.approx([record.last["weight_1"]] * 3)


def test_every_scale_and_seed_is_the_same_experiment(request_for) -> None:
    scales = [STUDY.specs(request_for("six_weights", scale)) for scale in ("smoke", "small", "paper")]
    assert scales[0] == scales[1] == scales[2]
    assert STUDY.worked_example


def test_other_data_and_models_are_refused(request_for) -> None:
    for request in (request_for("digits", "small"), request_for("six_weights", "small", models=("mlp",))):
        with pytest.raises(SpecError, match="--data six_weights") as caught:
            STUDY.specs(request)
        assert caught.value.identifier == "study-worked-example"


def test_a_number_that_differs_between_runs_has_an_interval_that_holds_them() -> None:
    from shattering.core.record import Record, Status
    from shattering.core.spec import RunSpec
    from shattering.studies.chatterjee2022_toy import at_end, exactly

    def run(seed: int, value: float) -> Record:
        return Record(RunSpec(seed=seed), Status.DONE, ({"step": 1, "alpha": value},))

    found = exactly([run(0, 0.25), run(1, 0.5)], at_end("alpha"))
    assert found is not None
    assert (found.low, found.value, found.high) == (0.25, 0.375, 0.5)
    assert exactly([run(0, 0.25)], at_end("weight_1")) is None
