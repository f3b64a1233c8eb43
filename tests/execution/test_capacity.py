"""Which runs a pre-flight check asks for, played against formulas instead of trainings."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from capacity_oracle import PowerLaw, drive, question, recorded
from shattering.core.capacity import bracket
from shattering.core.errors import SpecError, StoreError
from shattering.core.record import Record, Status
from shattering.core.spec import RunSpec
from shattering.execution.capacity import prepare_check
from shattering.execution.capacity_design import (
    Ended,
    Round,
    budgets_of,
    chosen_rate,
    next_round,
    random_curve,
    spent_seconds,
)
from shattering.execution.capacity_records import (
    BISECTION_SEED,
    RANDOM,
    REAL,
    bisections,
    of_sizes,
    outcomes,
    paired,
    points,
    size_of,
)


def flat(rounds: list[tuple[Record, ...]]) -> list[Record]:
    return [record for done in rounds for record in done]


def test_brackets_hold_the_capacity_of_a_known_law() -> None:
    law = PowerLaw()
    asked = question(target=50_000, minutes=10.0, budgets=(400, 900))
    records = flat(drive(asked, law)[0])
    for budget in (400, 900):
        truth = 32 * (budget / law.first) ** (1 / law.exponent)
        for seed in range(BISECTION_SEED, BISECTION_SEED + 3):
            found = bracket(seed, outcomes(records, seed, budget))
            assert found.fits is not None and found.fails is not None
            # Times are rounded up to whole epochs, which takes a little off the capacity.
            assert 0.93 * truth < found.fails and found.fits <= truth
            assert found.fails <= 1.1 * found.fits + 1


def test_budgets_follow_from_the_time_where_none_is_asked_for() -> None:
    records = flat(drive(question(target=50_000), PowerLaw())[0])
    budgets = budgets_of(question(), records)
    assert len(budgets) == 2 and all(bisections(records))
    times = [point.value for point in points(records, RANDOM)]
    assert min(times) < budgets[0] < budgets[1] < max(times)


@pytest.mark.parametrize("pace", [0.0005, 0.01, 0.05])
@pytest.mark.parametrize("exponent", [0.5, 1.0, 1.6])
def test_the_time_is_kept(pace: float, exponent: float) -> None:
    asked = question(target=50_000, rates=(0.1, 0.01))
    rounds, _, ended = drive(asked, PowerLaw(exponent=exponent), pace)
    assert ended.reason in ("time", "complete")
    assert spent_seconds(rounds, asked.jobs) <= 1.05 * 60 * asked.minutes
    assert len({size_of(record) for record in of_sizes(flat(rounds))}) >= 3


def test_more_time_reaches_further() -> None:
    largest = [
        max(
            size_of(record) for record in of_sizes(flat(drive(question(target=50_000, minutes=minutes), PowerLaw())[0]))
        )
        for minutes in (1.0, 3.0, 10.0)
    ]
    assert largest == sorted(set(largest))


def test_the_whole_data_is_trained_on_where_it_can_be() -> None:
    rounds, _, ended = drive(question(target=500), PowerLaw(), pace=0.0001)
    assert ended.reason == "complete"
    assert max(size_of(record) for record in of_sizes(flat(rounds))) == 500


def test_the_same_records_ask_for_the_same_runs() -> None:
    asked = question()
    rounds, specs, ended = drive(asked, PowerLaw())
    for place, planned in enumerate(specs):
        assert next_round(asked, rounds[:place]) == planned
    assert next_round(asked, rounds) == ended


def test_runs_of_different_sizes_are_independent_and_labels_are_paired() -> None:
    records = flat(drive(question(), PowerLaw())[0])
    sizes: dict[int, set[int]] = {}
    for record in of_sizes(records):
        sizes.setdefault(record.spec.seed, set()).add(size_of(record))
    assert all(len(found) == 1 for found in sizes.values())
    random, real = paired(records)
    assert len(random) == len(real) >= 9
    assert all(a is not None and b is not None and a.examples == b.examples for a, b in zip(random, real, strict=True))


def test_every_run_keeps_the_question_and_its_own_budget() -> None:
    asked = question()
    for planned in drive(asked, PowerLaw())[1]:
        for spec in planned.specs:
            assert spec.training.batch_size == 32 and spec.data.test_size == 10 and spec.training.learning_rate == 0.1
            assert spec.corruption.name in (REAL, RANDOM)
            assert 32 <= (spec.data.train_size or 0) <= asked.target


@pytest.mark.parametrize("unit", [1.0, 1.4])
def test_the_smallest_rate_close_to_the_fastest_is_taken(unit: float) -> None:
    """Also where the first budget, of 50 updates, ends between the two."""
    speeds = {0.1: 33.0 * unit, 0.03: 45.0 * unit, 0.01: 90.0 * unit, 0.3: math.inf}

    def oracle(spec: RunSpec) -> float:
        return speeds[spec.training.learning_rate]

    asked = question(rates=tuple(speeds))
    rounds, _, _ = drive(asked, oracle)
    assert chosen_rate(asked, flat(rounds)) == 0.03
    assert {record.spec.training.learning_rate for record in of_sizes(flat(rounds))} == {0.03}
    assert [record.status for record in rounds[0]].count(Status.DIVERGED) == 1


def test_only_the_better_half_of_the_rates_is_tried_for_longer() -> None:
    asked = question(rates=(0.1, 0.03, 0.01, 0.003))
    accuracies = {0.1: 0.2, 0.03: 0.6, 0.01: 0.9, 0.003: 0.3}
    first = next_round(asked, [])
    assert isinstance(first, Round) and len(first.specs) == 4
    done = [recorded(spec, lambda spec: 1e9) for spec in first.specs]
    told = [
        replace(record, rows=({"step": 50, "train_accuracy": accuracies[record.spec.training.learning_rate]},))
        for record in done
    ]
    second = next_round(asked, [told])
    assert isinstance(second, Round)
    assert {spec.training.learning_rate for spec in second.specs} == {0.03, 0.01}
    assert {spec.training.max_steps for spec in second.specs} == {200}


def test_divergence_at_every_rate_ends_it() -> None:
    rounds, _, ended = drive(question(rates=(0.1, 0.01)), lambda spec: math.inf)
    assert ended.reason == "diverged" and len(flat(rounds)) == 2


def test_what_never_fits_ends_within_the_time() -> None:
    asked = question(rates=(0.1, 0.01))
    rounds, _, ended = drive(asked, lambda spec: 1e12)
    assert ended.reason == "too-slow" and ended.seconds is not None and ended.seconds > 60 * asked.minutes
    assert chosen_rate(asked, flat(rounds)) is None
    assert spent_seconds(rounds, asked.jobs) <= 60 * asked.minutes


@pytest.mark.parametrize("jobs", [1, 2, 4, 16])
def test_a_small_budget_is_not_spent_on_starting_the_workers(jobs: int) -> None:
    """The first run of each worker takes 2.8 s, whatever it trains, and the budget is 12 s in all."""
    asked = question(target=300, minutes=0.2, rates=(0.1, 0.03, 0.01, 0.003), jobs=jobs)

    def oracle(spec: RunSpec) -> float:
        first = 60.0 if spec.corruption.name == RANDOM else 20.0
        return first * 0.1 / spec.training.learning_rate * (spec.data.train_size or 0) / 32

    rounds: list[tuple[Record, ...]] = []
    while isinstance(following := next_round(asked, rounds), Round):
        done = [recorded(spec, oracle, pace=0.001) for spec in following.specs]
        for record in [] if rounds else done[:jobs]:
            record.provenance["seconds"] += 2.8
        rounds.append(tuple(done))
    assert following.reason == "complete"
    assert max(size_of(record) for record in of_sizes(flat(rounds))) == 300


def test_a_slow_network_pays_for_its_first_updates() -> None:
    asked = question(rates=(0.1, 0.03, 0.01, 0.003), minutes=1.0)
    first = next_round(asked, [])
    assert isinstance(first, Round)
    done = [recorded(spec, lambda spec: 1e9, pace=0.5) for spec in first.specs]
    assert spent_seconds([done], asked.jobs) > 45
    ended = next_round(asked, [done])
    assert isinstance(ended, Ended) and ended.reason == "too-slow" and (ended.seconds or 0) > 120


def test_a_wall_is_seen_and_its_runs_are_bounds() -> None:
    """Beyond 300 examples random labels are never fitted."""
    law = PowerLaw()

    def oracle(spec: RunSpec) -> float:
        wall = (spec.data.train_size or 0) > 300 and spec.corruption.name == RANDOM
        return 1e12 if wall else law(spec)

    rounds, _, _ = drive(question(), oracle)
    records = flat(rounds)
    beyond = [point for point in points(records, RANDOM) if point.examples > 300]
    assert beyond and all(point.bound == "lower" for point in beyond)
    assert len({point.examples for point in beyond}) == 1
    assert all(point.bound == "exact" for point in points(records, REAL))


def test_bounds_move_the_curve_up() -> None:
    asked = question(minutes=10.0)
    records = flat(drive(asked, PowerLaw())[0])
    largest = max(size_of(record) for record in of_sizes(records))
    cut = [
        replace(record, status=Status.NOT_FITTED, summary=record.summary | {"steps_to_fit": None})
        if size_of(record) == largest and record.spec.seed % 3
        else record
        for record in records
    ]
    before, after = random_curve(records), random_curve(cut)
    assert before is not None and after is not None
    assert after.predict(50_000).value >= before.predict(50_000).value
    assert after.predict(50_000).high > before.predict(50_000).high


def test_a_failed_run_ends_it() -> None:
    asked = question()
    first = next_round(asked, [])
    assert isinstance(first, Round)
    assert next_round(asked, [[Record(first.specs[0], Status.FAILED)]]) == Ended("broken")


def test_a_capacity_beyond_the_data_is_the_whole_data() -> None:
    asked = question(target=200, budgets=(100_000,))
    records = flat(drive(asked, PowerLaw(), pace=0.0001)[0])
    for seed in range(BISECTION_SEED, BISECTION_SEED + 3):
        found = bracket(seed, outcomes(records, seed, 100_000))
        assert (found.fits, found.fails) == (200, None)


def test_outcomes_of_a_shorter_budget_follow_from_a_longer_run() -> None:
    spec = question().run(64, RANDOM, 0.1, 500, BISECTION_SEED)
    fitted = recorded(spec, lambda spec: 100.0)
    assert outcomes([fitted], BISECTION_SEED, 200) == [(64, True)]
    assert outcomes([fitted], BISECTION_SEED, 50) == [(64, False)]
    unfitted = recorded(spec, lambda spec: 1e9)
    assert outcomes([unfitted], BISECTION_SEED, 500) == [(64, False)]
    assert outcomes([unfitted], BISECTION_SEED, 900) == []


@pytest.mark.parametrize(
    ("changes", "identifier"),
    [
        ({"model": "decision_tree"}, "shatter-learner"),
        ({"model": "alexnett"}, "unknown-model"),
        ({"minutes": 0.0}, "shatter-minutes"),
        ({"minutes": math.nan}, "shatter-minutes"),
        ({"seeds": 0}, "seeds-out-of-range"),
        ({"seeds": 51}, "seeds-out-of-range"),
        ({"budgets": (100, 0)}, "shatter-budget"),
        ({"overrides": {"data.train_size": 100}}, "shatter-field"),
        ({"overrides": {"training.max_steps": 100}}, "shatter-field"),
        ({"overrides": {"seed": 1}}, "shatter-field"),
        ({"overrides": {"training.learning_rat": 0.1}}, "spec-unknown-key"),
    ],
)
def test_wrong_requests_are_told(changes: dict[str, object], identifier: str) -> None:
    given: dict[str, object] = {"model": "mlp_1x512"} | changes
    with pytest.raises(SpecError) as caught:
        prepare_check(**given)  # type: ignore[arg-type]
    assert caught.value.identifier == identifier


def test_rates_are_published_given_or_looked_for() -> None:
    assert len(prepare_check("mlp_1x512").question.rates) > 1
    given = prepare_check("mlp_1x512", overrides={"training.learning_rate": 0.02})
    assert given.question.rates == (0.02,)
    adam = prepare_check("mlp_1x512", overrides={"training.optimizer": "adam"})
    assert max(adam.question.rates) < 0.01


def test_the_batch_leaves_room_for_subsets_of_small_data() -> None:
    asked = prepare_check("mlp_1x512").question
    assert asked.target == 1437 and asked.smallest == asked.base.training.batch_size == 128


def test_memory_is_foreseen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shattering.execution.study.available_bytes", lambda: 10_000_000)
    with pytest.raises(StoreError) as caught:
        prepare_check("mlp_1x512")
    assert caught.value.identifier == "run-memory"
