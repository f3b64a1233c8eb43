"""What the complexity studies say of made-up records, where the right answer is known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shattering.core.errors import SpecError
from shattering.core.record import Record, Status
from shattering.core.study import judge, studies
from shattering.measures.rademacher import sign_correlation
from shattering.measures.stability import unreplaced
from shattering.studies.zhang2017_complexity_records import (
    effect_ratio,
    effects,
    gap_correlation,
    gap_is_larger,
    gap_on_random_labels,
    most_followed,
    norm_ratio,
    separates,
)

STUDY = studies.get("zhang2017-complexity")
LINEAR = studies.get("zhang2017-complexity-linear")
MODEL = "mlp_1x512"


def changed(record: Record, **numbers: float) -> Record:
    """The record with other numbers at its last snapshot."""
    return replace(record, rows=(*record.rows[:-1], record.rows[-1] | numbers))


@pytest.fixture
def records(request_for, record_of) -> list[Record]:
    """Every run of scale small on digits, fitted."""
    return [record_of(spec, Status.DONE) for spec in STUDY.specs(request_for("digits", "small"))]


def test_every_replaced_run_has_the_run_it_is_compared_with(request_for) -> None:
    for data, scale in (("digits", "smoke"), ("mnist", "small"), ("cifar10", "paper")):
        specs = STUDY.specs(request_for(data, scale))
        digests = {spec.digest for spec in specs}
        replaced = [spec for spec in specs if spec.data.replaced is not None]
        assert replaced
        assert {unreplaced(spec).digest for spec in replaced} <= digests
        assert {spec.corruption.name for spec in replaced} == {"true_labels", "random_labels"}
        trainings = {spec.training.model_dump_json() for spec in specs if "held_out_losses" in spec.measures.names}
        assert len(trainings) == 1  # one and the same training, whatever the labels


def test_a_learner_gets_random_signs_and_nothing_else(request_for) -> None:
    specs = STUDY.specs(request_for("digits", "small", models=("decision_tree",)))

    assert {spec.corruption.name for spec in specs} == {"random_signs"}
    assert {spec.measures.names for spec in specs} == {("accuracy",)}


def test_largest_sample_on_which_every_draw_was_followed(records) -> None:
    def spoiled(size: int, seed: int) -> list[Record]:
        return [
            changed(record, train_accuracy=0.99)
            if sign_correlation(record) is not None and (record.spec.data.train_size, record.spec.seed) == (size, seed)
            else record
            for record in records
        ]

    assert most_followed(records, MODEL) == 1437
    assert most_followed(spoiled(1437, 2), MODEL) == 500
    assert most_followed(spoiled(500, 0), MODEL) == 1437  # a class that follows more follows less as well
    assert most_followed([], MODEL) is None
    claim = next(claim for claim in STUDY.claims if claim.source.endswith(MODEL))
    assert judge(claim, records, comparable=False).verdict == "effect reproduced"
    assert judge(claim, spoiled(1437, 2), comparable=False).verdict == "effect reproduced"
    low = [changed(record, train_accuracy=0.9) for record in records]
    assert judge(claim, low, comparable=False).verdict == "effect not reproduced"
    assert judge(claim, low, comparable=True).verdict == "not reproduced"
    assert judge(claim, records, comparable=True).verdict == "reproduced"


def test_a_norm_separates_where_the_interval_of_its_ratio_excludes_one(records) -> None:
    def with_path_norm(factors: tuple[float, float, float]) -> list[Record]:
        return [
            changed(record, path_norm=2.0 * (factors[record.spec.seed] if random else 1.0))
            for record in records
            if "weight_norms" in record.spec.measures.names
            for random in (record.spec.corruption.name == "random_labels",)
        ]

    apart, alike = with_path_norm((4.0, 4.4, 3.6)), with_path_norm((2.0, 0.5, 1.0))
    first, second = (norm_ratio(runs, MODEL, "path_norm", 1.0) for runs in (apart, alike))

    assert first is not None and second is not None
    assert first[0] == pytest.approx((4.0 * 4.4 * 3.6) ** (1 / 3))
    assert separates(first) is True
    assert second[0] == pytest.approx(1.0)
    assert separates(second) is False
    two = norm_ratio([run for run in apart if run.spec.seed < 2], MODEL, "path_norm", 1.0)
    assert two is not None and separates(two) is None
    reading = next(figure.reading for figure in STUDY.figures if figure.name == "norms")
    assert "separated by path norm 4" in reading(apart)
    others = [run for run in records if "weight_norms" not in run.spec.measures.names]
    assert f"1 of 8 norms of {MODEL} differ" in STUDY.answer(apart + others)
    assert f"0 of 8 norms of {MODEL} differ" in STUDY.answer(alike + others)
    assert norm_ratio(apart, MODEL, "path_norm", 0.3) is None


def test_rank_correlation_of_a_norm_with_the_gap(records) -> None:
    levels = {"true_labels": 0.0, "random_labels": 1.0}
    runs = []
    for record in records:
        if "weight_norms" in record.spec.measures.names:
            p = levels.get(record.spec.corruption.name, record.spec.corruption.fields.get("p", 0.0))
            rising = changed(record, generalization_gap=p, path_norm=1 + p, spectral_product=2 - p)
            runs.append(changed(rising, frobenius_product=3.0))

    assert gap_correlation(runs, MODEL, "path_norm") == pytest.approx((1.0, 1.0, 1.0))
    assert gap_correlation(runs, MODEL, "spectral_product") == pytest.approx((-1.0, -1.0, -1.0))
    assert gap_correlation(runs, MODEL, "frobenius_product") is None


def test_effects_of_replacements_are_paired_by_seed(records) -> None:
    runs = []
    for record in records:
        place = record.spec.data.replaced
        moved = 0.0 if place is None else 0.1 * (3 if record.spec.corruption.name == "random_labels" else 1)
        runs.append(changed(record, **{"held_out_loss/0": 1.5 + moved}))

    found = effects(runs, MODEL, "random_labels")

    assert set(found) == {0, 1, 2}
    assert all(effect.largest == pytest.approx(0.3) for _, effect in found.values())
    assert all((effect.replacements, effect.points) == (5, 2) for _, effect in found.values())
    ratio = effect_ratio(runs, MODEL)
    assert ratio == pytest.approx((3.0, 3.0, 3.0))
    assert effect_ratio(records, MODEL) is None  # nothing moved


def test_uniform_stability_is_no_less_than_the_gap_on_random_labels(records) -> None:
    def with_gaps(random: float, true: float) -> list[Record]:
        gaps = {"random_labels": random, "true_labels": true}
        return [
            changed(record, generalization_gap=gaps.get(record.spec.corruption.name, 0.0) + record.spec.seed / 100)
            for record in records
        ]

    found = gap_on_random_labels(with_gaps(0.9, 0.1))
    assert found is not None
    assert found.value == pytest.approx(0.91)
    assert len(found.runs) == 3
    assert gap_is_larger(with_gaps(0.9, 0.1)) is True
    assert gap_is_larger(with_gaps(0.1, 0.9)) is False
    assert gap_is_larger([]) is None


def test_linear_study_is_worked_for_its_own_data(request_for) -> None:
    for request in (request_for("digits", "small"), request_for("gaussian_features", "small", models=("mlp",))):
        with pytest.raises(SpecError, match="--data gaussian_features") as caught:
            LINEAR.specs(request)
        assert caught.value.identifier == "study-worked-example"


def test_linear_study_tells_least_squares_from_logistic_regression(request_for, record_of) -> None:
    follows = {10: 0.625, 50: 0.845, 100: 1.0, 400: 1.0}
    records = []
    for spec in LINEAR.specs(request_for("gaussian_features", "small")):
        accuracy = follows[spec.model.fields["features"]]
        if spec.training.loss == "cross_entropy" and accuracy > 0.8:
            accuracy = 1.0
        records.append(changed(record_of(spec, Status.DONE), train_accuracy=accuracy))

    assert {judge(claim, records, comparable=True).verdict for claim in LINEAR.claims} == {"reproduced"}
    assert "0.69 at d = 50" in LINEAR.answer(records)
    assert "20 of 20 draws at d = 50 (expected share 0.5)" in LINEAR.figures[0].reading(records)
    wrong = [changed(record, train_accuracy=0.7) for record in records]
    assert {judge(claim, wrong, comparable=True).verdict for claim in LINEAR.claims[1:]} == {"not reproduced"}
