"""The runs of zhang2017-expressivity, made once on digits, and what is said of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shattering.core.errors import SpecError
from shattering.core.record import Record, Status
from shattering.core.study import Request, judge, studies
from shattering.execution.fit import fit
from shattering.studies import zhang2017_expressivity as expressivity
from shattering.studies import zhang2017_expressivity_pictures as pictures
from tiny_runs import digits

STUDY = studies.get("zhang2017-expressivity")


@pytest.fixture(scope="module")
def records() -> list[Record]:
    """Three seeds on digits, all 1,437 examples."""
    splits = digits()
    specs = STUDY.specs(Request("small", splits.facts))
    return [fit(spec, splits)[0] for spec in specs]


def test_everything_the_theorems_say_holds_in_every_run(records) -> None:
    assert {record.status for record in records} == {Status.DONE}
    verdicts = {(c.source, c.quantity): judge(c, records, comparable=True).verdict for c in STUDY.claims}

    chance = verdicts.pop(("Random labels", "test accuracy of the largest network"))

    assert set(verdicts.values()) == {"reproduced", "effect reproduced"}
    assert len(verdicts) == 4 + 3 * 4
    assert chance in ("reproduced", "inconclusive")  # 360 test digits leave a wide interval


def test_a_run_that_misses_one_label_or_has_one_weight_more_is_seen(records) -> None:
    def altered(name: str, change: float) -> list[Record]:
        first, *others = [record for record in records if record.spec.corruption.name == "random_labels"]
        row = first.rows[0] | {name: first.rows[0][name] + change}
        return [replace(first, rows=(row,)), *others]

    for name, change, source in (
        ("train_accuracy", -1e-4, "Theorem 1, random labels"),
        ("weights", 1, "Theorem 1"),
        ("smallest_eigenvalue", -1.0, "Lemma 1"),
    ):
        claim = next(claim for claim in STUDY.claims if claim.source == source)
        found = judge(claim, altered(name, change), comparable=False)
        assert found.verdict == "effect not reproduced", source


def test_sizes_grow_by_the_root_of_ten_up_to_the_whole(request_for) -> None:
    assert expressivity.sizes(request_for("cifar10", "paper")) == (500, 1581, 5000, 15811, 50000)
    assert expressivity.sizes(request_for("mnist", "small")) == (100, 316, 1000, 3162, 10000)
    assert expressivity.sizes(request_for("digits", "smoke")) == (40, 128)

    specs = STUDY.specs(request_for("cifar10", "paper"))

    assert len(specs) == 3 * (5 * 3 + 4)
    whole = [spec for spec in specs if spec.data.train_size is None]
    assert len(whole) == 3 * 3
    assert not any(spec.data.whiten or spec.training.fit_accuracy < 1 for spec in specs)


def test_float32_fails_first_and_thresholds_half_way_are_worse(records) -> None:
    points = pictures.error_points(records)
    last = {
        name: max((p for p in points if p.series == name), key=lambda p: p.x).y for name in {p.series for p in points}
    }

    assert last["float64"] < last["float64, thresholds half-way"] < 1e-2
    assert last["float32"] > 1e4 * last["float64"]
    assert last["float32, thresholds half-way"] > pictures.MISSED
    assert "float64" in pictures.error_reading(records)


def test_the_answer_comes_from_the_records(records) -> None:
    said = STUDY.answer(records)

    assert said.startswith("30 of 30 two-layer networks with 2n + d weights, n up to 1,437, fit every training label")
    assert "guessing gives 10%" in said
    n = min(r.summary["train_size"] for r in pictures.two_layers(records, "random_labels") if r.last["missed_float32"])
    assert f"from n = {n:,} on" in said
    assert STUDY.answer([]).startswith("No network")


def test_other_models_are_refused(request_for) -> None:
    with pytest.raises(SpecError) as caught:
        STUDY.specs(request_for("digits", "smoke", models=("mlp_1x512",)))

    assert caught.value.identifier == "study-own-model"
