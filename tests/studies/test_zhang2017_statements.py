"""Zhang et al. (2017) in words: when fitting starts, how fast it goes, what regularisers are good for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shattering.core.record import Record
from shattering.core.study import Claim, judge, studies
from shattering.studies.zhang2017_statements import start_time

STUDY = studies.get("zhang2017-random-labels")


def the_claim(source: str, quantity: str) -> Claim:
    (claim,) = [claim for claim in STUDY.claims if (claim.source, claim.quantity) == (source, quantity)]
    return claim


def verdict(claim: Claim, records: list[Record]) -> str:
    return judge(claim, records, comparable=False).verdict


@pytest.fixture
def timed(request_for, record_of):
    """Records at small scale whose training accuracy rises from 10% to all at given steps, by corruption."""

    def build(steps: dict[str, tuple[int, int]], model: str = "inception") -> list[Record]:
        records = []
        for spec in STUDY.specs(request_for("cifar10", "small")):
            if spec.model.name != model:
                continue
            start, end = steps.get(spec.corruption.name, (10, 20))
            values = [(0, 0.1), (start - 1, 0.1), (start, 0.5), (end, 1.0)]
            rows = tuple({"step": step, "train_accuracy": value, "test_accuracy": 0.1} for step, value in values)
            summary = {"steps": end, "steps_to_fit": end, "epochs_to_fit": float(end)}
            made = record_of(spec)
            records.append(replace(made, rows=rows, summary={**made.summary, **summary}))
        return records

    return build


def test_fitting_starts_at_twice_guessing(timed) -> None:
    record = timed({"random_labels": (30, 40)})[0]
    coarse = replace(record, rows=tuple(row for row in record.rows if row["train_accuracy"] != 0.1 or not row["step"]))
    flat = replace(record, rows=record.rows[:2])
    begun = replace(record, rows=record.rows[2:3])
    first = record.rows[2]["step"]

    fine = start_time(record)
    assert fine is not None and (fine.steps, fine.resolution) == (first, 1)
    wide = start_time(coarse)
    assert wide is not None and (wide.steps, wide.resolution) == (first, first)
    assert start_time(flat) is None
    assert start_time(replace(begun, rows=({**begun.rows[0], "step": 0},))) is None


@pytest.mark.parametrize(("start", "expected"), [(5, "effect reproduced"), (80, "effect not reproduced")])
def test_noise_images_start_before_random_labels(start, expected, timed) -> None:
    records = timed({"gaussian": (start, 100), "random_labels": (40, 100)})
    claim = the_claim("Section 2.1: inception", "time to start fitting gaussian / random labels")

    assert verdict(claim, records) == expected
    estimate = claim.estimate(records)
    assert estimate is not None and estimate.value == pytest.approx(start / 40)
    assert verdict(claim, [record for record in records if record.spec.seed == 0]) == "effect inconclusive"


@pytest.mark.parametrize(("start", "expected"), [(90, "effect reproduced"), (10, "effect not reproduced")])
def test_once_it_starts_fitting_goes_fast(start, expected, timed) -> None:
    records = timed({"random_labels": (start, 100)})
    claim = the_claim("Section 2.1: inception", "share of the time to fit random labels after the start")

    assert verdict(claim, records) == expected
    estimate = claim.estimate(records)
    assert estimate is not None and estimate.value == pytest.approx(1 - start / 100)


@pytest.mark.parametrize(
    ("slow", "expected"), [(30, "effect reproduced"), (400, "effect not reproduced"), (42, "effect inconclusive")]
)
def test_the_slowdown_is_small(slow, expected, timed) -> None:
    records = timed({"random_labels": (5, slow), "true_labels": (5, 10)})
    if expected == "effect inconclusive":
        for place, record in enumerate(records):
            if record.spec.corruption.name == "random_labels" and record.spec.seed == 0:
                records[place] = replace(record, summary={**record.summary, "steps_to_fit": 30, "epochs_to_fit": 30.0})
    claim = the_claim("Figure 1b, Section 2.1: inception", "slowdown at p = 1, within the axis")

    assert verdict(claim, records) == expected


@pytest.mark.parametrize(("first", "expected"), [(10, "effect reproduced"), (40, "effect not reproduced")])
def test_true_labels_come_first(first, expected, timed) -> None:
    records = timed({"true_labels": (5, first), "shuffled_pixels": (5, 20)})
    claim = the_claim("Figure 1a, Section 2.1: inception", "time to fit true labels / shuffled pixels")

    assert verdict(claim, records) == expected


def test_what_regularisers_gain_is_paired_by_seed_at_the_papers_scale(request_for, record_of) -> None:
    accuracies = {("crop", False): 0.8931, ("none", True): 0.8603, ("crop", True): 0.8905, ("none", False): 0.8575}
    records = []
    for spec in STUDY.specs(request_for("cifar10", "paper")):
        setting = (spec.training.augmentation, spec.training.weight_decay > 0)
        records.append(record_of(spec, test_accuracy=accuracies[setting] + spec.seed / 100))

    more = the_claim("Section 3: inception", "test accuracy: random crop less weight decay")
    bare = the_claim("Section 3: inception", "test accuracy: both regularisers less none")

    assert bare.effect is not None
    assert bare.effect.statement == "without regularisers test accuracy is well above guessing"
    for claim, value in ((more, 0.0328), (bare, 0.033)):
        estimate = claim.estimate(records)
        assert estimate is not None and estimate.value == pytest.approx(value)
        assert len(estimate.runs) == 6
        assert claim.published == pytest.approx(value)
        assert judge(claim, records, comparable=True).verdict == "reproduced"
        assert judge(claim, records, comparable=False).verdict == "effect reproduced"
        alone = [record for record in records if record.spec.training.weight_decay == 0]
        assert judge(claim, alone, comparable=True).verdict == "not run"
