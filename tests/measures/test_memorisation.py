"""Memorisation and influence: counted one by one, unbiased, and with intervals that cover."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import fisher_exact

from shattering.core.errors import DataError
from shattering.core.record import Status
from shattering.execution.run import execute
from shattering.measures.memorisation import SubsetOutcomes, influence, influence_p, memorisation, subset_outcomes
from shattering.measures.memorised_share import (
    mean_memorisation,
    memorised_share,
    memorised_shares,
    split_half_correlation,
)
from subset_records import subset_record, world
from tiny_runs import digits, tiny_spec

COUNT, TESTED, RUNS = 30, 12, 25


@pytest.fixture
def records():
    draw = np.random.default_rng(3)
    labels, test_labels = draw.integers(4, size=COUNT), draw.integers(4, size=TESTED)
    original = np.where(draw.random(COUNT) < 0.3, (labels + 1) % 4, labels)

    def build(**options):
        made = []
        for seed in range(RUNS):
            chance = np.random.default_rng(seed)
            subset = np.sort(chance.permutation(COUNT)[:20])
            said, test_said = chance.integers(4, size=COUNT), chance.integers(4, size=TESTED)
            said[subset] = np.where(chance.random(20) < 0.9, labels[subset], said[subset])
            made.append(
                subset_record(
                    tiny_spec(seed=seed), subset, labels, said, test_labels, test_said, original=original, **options
                )
            )
        return made

    return build


def counted(records, example: int, is_right) -> tuple[Fraction, Fraction]:
    """Of the trainings with an example and of those without it, the share that are right about something."""
    shares = []
    for inside in (True, False):
        chosen = [record for record in records if (example in record.examples["index"]) == inside]
        shares.append(Fraction(sum(is_right(record) for record in chosen), len(chosen)))
    return shares[0], shares[1]


def right_about(record, example: int, label: int) -> bool:
    index = record.examples["index"].tolist()
    if example in index:
        return bool(record.examples["prediction"][index.index(example)] == label)
    place = next(
        place
        for place, (found, out) in enumerate(zip(record.tested["index"], record.tested["left_out"], strict=True))
        if out and found == example
    )
    return bool(record.tested["prediction"][place] == label)


def test_memorisation_is_what_one_counts_with_the_labels_trained_on(records) -> None:
    made = records()
    found = memorisation(subset_outcomes(made))
    labels = {
        int(index): int(label)
        for record in made
        for index, label in zip(record.examples["index"], record.examples["label"], strict=True)
    }

    for example in range(COUNT):
        with_it, without = counted(made, example, lambda record, e=example: right_about(record, e, labels[e]))
        assert found.value[example] == pytest.approx(float(with_it - without), abs=1e-15)
        assert found.right_trained[example] == with_it * int(found.trained[example])
        assert found.trained[example] + found.left_out[example] == RUNS


def test_influence_is_what_one_counts_in_any_order_of_rows(records) -> None:
    made = records()
    rows = np.array([7, 2, 29])
    value, error = influence(subset_outcomes(made), rows)

    assert value.shape == error.shape == (3, TESTED)
    for place, example in enumerate(rows):
        for tested in range(TESTED):

            def right(record, tested=tested) -> bool:
                own = ~record.tested["left_out"]
                return bool(record.tested["prediction"][own][tested] == record.tested["label"][own][tested])

            with_it, without = counted(made, int(example), right)
            assert value[place, tested] == pytest.approx(float(with_it - without), abs=1e-12)
    assert (error > 0).all()


def test_scores_say_the_same_as_predictions(records) -> None:
    one, other = subset_outcomes(records()), subset_outcomes(records(outputs=4))

    assert np.array_equal(one.right, other.right)
    assert np.array_equal(one.tested_right, other.tested_right)


def test_p_values_of_influence_are_fishers(records) -> None:
    outcomes = subset_outcomes(records())
    p = influence_p(outcomes, np.arange(COUNT))
    value, error = influence(outcomes)

    looked_at = np.argwhere(value > 2 * error)
    assert len(looked_at) >= 3
    for example, tested in looked_at:
        inside, right = outcomes.inside[:, example], outcomes.tested_right[:, tested]
        table = [[(inside & right).sum(), (inside & ~right).sum()], [(~inside & right).sum(), (~inside & ~right).sum()]]
        assert p[example, tested] == pytest.approx(fisher_exact(table, alternative="greater").pvalue, rel=1e-9)
    assert (p[value <= 2 * error] == 1).all()


def test_what_is_always_or_never_inside_is_not_a_number(records) -> None:
    outcomes = subset_outcomes(records())
    inside, outside = outcomes.inside.copy(), outcomes.outside.copy()
    inside[:, 0], outside[:, 0], inside[:, 1], outside[:, 1] = True, False, False, True

    found = memorisation(replace(outcomes, inside=inside, outside=outside))

    assert np.isnan(found.value[:2]).all()
    assert np.isnan(found.standard_error[:2]).all()
    assert np.isfinite(found.value[2:]).all()


def test_what_does_not_belong_together_is_refused(records) -> None:
    made = records()
    other = made[1].examples | {"label": (made[1].examples["label"] + 1) % 4}
    fewer = {name: column[:-1] for name, column in made[1].tested.items()}

    with pytest.raises(DataError, match="different labels") as labels:
        subset_outcomes([made[0], replace(made[1], examples=other)])
    with pytest.raises(DataError, match="different test examples") as tests:
        subset_outcomes([made[0], replace(made[1], tested=fewer)])
    with pytest.raises(DataError, match="tested_on=both") as none:
        subset_outcomes([replace(made[0], status=Status.DIVERGED), replace(made[1], tested={})])

    found = [caught.value.identifier for caught in (labels, tests, none)]
    assert found == ["memorisation-labels-differ", "memorisation-tests-differ", "memorisation-no-runs"]


def test_real_trainings_account_for_every_example_and_keep_flipped_labels() -> None:
    spec = tiny_spec(
        data__tested_on="both",
        corruption__name="partially_corrupted_labels",
        corruption__fields={"p": 0.5},
        measures__names=("tested_predictions",),
    )
    shared = spec.model_copy(update={"stream_seeds": {"labels": 5}})
    made = [execute(shared.model_copy(update={"seed": seed}), digits())[0] for seed in range(3)]

    outcomes = subset_outcomes(made)

    assert outcomes.inside.sum(axis=1).tolist() == [64] * 3
    assert (outcomes.inside ^ outcomes.outside).all()
    assert outcomes.tested_right.shape == (3, 32)
    trained = outcomes.inside.any(axis=0)
    assert (outcomes.label[trained] != digits().train.labels[trained]).mean() > 0.3
    assert outcomes.fitted == pytest.approx(
        np.mean([(record.examples["prediction"] == record.examples["label"]).mean() for record in made])
    )


@pytest.mark.parametrize(("trained", "without", "runs"), [(1.0, 0.5, 60), (1.0, 0.02, 200), (0.9, 0.6, 100)])
def test_single_estimates_are_unbiased_and_their_intervals_cover(trained, without, runs) -> None:
    draw = np.random.default_rng(runs)
    repetitions = 4000
    inside = draw.random((runs, repetitions)) < 0.7
    right = draw.random((runs, repetitions)) < np.where(inside, trained, without)
    index = np.arange(repetitions)
    found = memorisation(SubsetOutcomes(index, index, inside, ~inside, right))

    truth = trained - without
    assert abs(found.value.mean() - truth) < 4 * found.value.std() / np.sqrt(repetitions)
    assert ((found.low <= truth) & (truth <= found.high)).mean() >= 0.935
    assert found.standard_error.mean() == pytest.approx(found.value.std(), rel=0.35)  # wider near 1, never 0


def test_the_mean_has_an_interval_that_covers_though_examples_of_a_training_go_together() -> None:
    rates = np.random.default_rng(0).beta(6, 2, 400)
    covered, repetitions = 0, 200
    for seed in range(repetitions):
        draw = np.random.default_rng(seed)
        drawn = draw.choice(rates, 120)  # examples are drawn as well as trainings
        value, low, high = mean_memorisation(world(draw, 30, drawn, common=0.2))
        assert low is not None
        assert high is not None
        assert low <= value <= high
        covered += low <= 1 - rates.mean() <= high
    assert covered / repetitions >= 0.935 - 2 * np.sqrt(0.05 * 0.95 / repetitions)


def test_the_share_covers_and_knows_when_trainings_are_too_few() -> None:
    rates = np.concatenate([np.full(50, 0.05), np.full(450, 0.97)])
    covered = 0
    for seed in range(40):
        draw = np.random.default_rng(seed)
        drawn = draw.choice(rates, 300)
        share = memorised_share(world(draw, 130, drawn))
        covered += share.low <= 0.1 <= share.high
        assert share.resolved
    assert covered >= 36
    few = memorised_share(world(np.random.default_rng(0), 60, rates))
    assert not few.resolved
    assert few.noise == pytest.approx(0.118, abs=0.01)


def test_shares_fall_with_the_threshold_and_the_halves_agree_where_there_is_something() -> None:
    draw = np.random.default_rng(1)
    rates = np.linspace(0, 1, 100)
    outcomes = world(draw, 100, rates)

    shares = memorised_shares(outcomes, (0.1, 0.5, 0.9))
    assert [share.value for share in shares] == sorted((share.value for share in shares), reverse=True)
    assert shares[1].value == pytest.approx(0.5, abs=0.06)
    agreed = split_half_correlation(outcomes)
    assert agreed is not None
    assert agreed > 0.8
    assert split_half_correlation(outcomes.of(np.arange(6))) is None
    noise = split_half_correlation(world(draw, 100, np.full(200, 0.5)))
    assert noise is not None
    assert abs(noise) < 0.3
