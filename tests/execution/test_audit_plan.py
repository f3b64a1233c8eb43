"""How an audit's time is shared, on checks whose runs cost a second each."""

from __future__ import annotations

from dataclasses import replace

import pytest

from audit_demo import made_up_check, seeds_of
from shattering.checks.registry import Check, Evidence, Subject, checks
from shattering.core.record import Record, Status
from shattering.core.spec import CorruptionSpec, RunSpec, override
from shattering.data.load import load_data
from shattering.execution.audit_course import in_order, in_turn
from shattering.execution.audit_plan import Allotment, allot, experience, repetitions


@pytest.fixture
def subject() -> Subject:
    return Subject(RunSpec(), load_data("digits"))


def own_runs(name: str):
    """Runs that no other check asks for."""

    def design(subject: Subject, count: int) -> list[RunSpec]:
        return [spec.model_copy(update={"stream_seeds": {name: 1}}) for spec in seeds_of(subject, count)]

    return design


def shared(subject: Subject, checks: list[Check], seconds: float, **others) -> dict[str, Allotment]:
    ended, floors = others.pop("ended", ()), others.pop("floors", {})
    given = allot(subject, checks, lambda spec: 1.0, seconds, ended, floors, **others)
    return {each.check.name: each for each in given}


def test_every_check_gets_its_least_before_any_gets_more(subject) -> None:
    checks = [
        made_up_check(name, rank=rank, least=2, useful=50, design=own_runs(name)) for rank, name in enumerate("abc")
    ]

    given = shared(subject, checks, 6.0)

    assert [given[name].effort for name in "abc"] == [2, 2, 2]


def test_what_remains_is_shared_evenly_and_never_exceeded(subject) -> None:
    checks = [
        made_up_check(name, rank=rank, least=2, useful=40, design=own_runs(name)) for rank, name in enumerate("ab")
    ]

    given = shared(subject, checks, 41.0)

    efforts = [given[name].effort for name in "ab"]
    assert sum(efforts) <= 41
    assert sum(efforts) >= 34
    assert abs(efforts[0] - efforts[1]) <= 5
    assert sum(each.seconds for each in given.values()) == sum(efforts)


def test_nobody_gets_more_than_is_useful(subject) -> None:
    given = shared(subject, [made_up_check("a", least=1, useful=3)], 1e9)

    assert given["a"].effort == 3
    assert given["a"].tells == "3 runs tell plain."


def test_a_run_that_two_checks_want_counts_once(subject) -> None:
    checks = [made_up_check("a", rank=1, least=5, useful=5), made_up_check("b", rank=2, least=5, useful=5)]

    given = shared(subject, checks, 5.0)

    assert given["a"].effort == given["b"].effort == 5
    assert (given["a"].seconds, given["b"].seconds) == (5.0, 0.0)


def test_a_check_that_does_not_fit_is_refused_with_its_price(subject) -> None:
    dear = made_up_check("dear", rank=1, least=100, useful=100, design=own_runs("dear"))
    cheap = made_up_check("cheap", rank=2, least=2, useful=2, design=own_runs("cheap"))

    given = shared(subject, [dear, cheap], 10.0)

    assert given["dear"].refused is not None
    assert given["dear"].refused == (
        "it needs 100 runs, about 100 s of training, and what is left of the budget holds 10 s"
    )
    assert given["dear"].needed == 100.0
    assert given["cheap"].effort == 2


def test_runs_that_have_ended_cost_nothing(subject) -> None:
    done = [spec.digest for spec in seeds_of(subject, 8)]

    given = shared(subject, [made_up_check("a", least=8, useful=8)], 0.5, ended=done)

    assert given["a"].effort == 8
    assert given["a"].seconds == 0.0


def test_what_was_decided_before_is_kept_whatever_the_time(subject) -> None:
    given = shared(subject, [made_up_check("a", least=2, useful=40)], 0.0, floors={"a": 17}, only_least=True)

    assert given["a"].effort == 17


def test_a_larger_budget_never_takes_a_repetition_away(subject) -> None:
    checks = [
        made_up_check(name, rank=rank, least=2, useful=30, design=own_runs(name)) for rank, name in enumerate("ab")
    ]

    efforts = [sum(each.effort for each in shared(subject, checks, float(s)).values()) for s in range(4, 70, 3)]

    assert efforts == sorted(efforts)
    assert efforts[-1] == 60


def test_runs_take_turns_so_that_no_check_is_left_with_nothing(subject) -> None:
    checks = [
        made_up_check(name, rank=rank, least=n, useful=n, design=own_runs(name))
        for rank, (name, n) in enumerate([("a", 40), ("b", 4)])
    ]

    order = in_turn(list(shared(subject, checks, 1e9).values()))

    places = [place for place, spec in enumerate(order) if "b" in spec.stream_seeds]
    assert len(order) == 44
    assert [place // 11 for place in places] == [0, 1, 2, 3]


def test_the_fewest_are_made_one_check_after_the_other(subject) -> None:
    checks = [
        made_up_check(name, rank=rank, least=3, useful=3, design=own_runs(name)) for rank, name in enumerate("ab")
    ]

    order = in_order(list(shared(subject, checks, 1e9).values()))

    assert ["b" in spec.stream_seeds for spec in order] == [False] * 3 + [True] * 3


def ended(spec: RunSpec, seconds: float, steps: int = 64) -> Record:
    return Record(spec, Status.DONE, summary={"steps": steps}, provenance={"seconds": seconds})


def refits(count: int) -> list[RunSpec]:
    shuffled = override(RunSpec(), {"training.max_steps": 64}).model_copy(
        update={"corruption": CorruptionSpec(name="permuted_labels")}
    )
    return [shuffled.model_copy(update={"seed": seed}) for seed in range(count)]


def test_what_the_first_training_loads_and_compiles_is_not_expected_of_every_other(subject) -> None:
    piloted = replace(subject, pilot=ended(RunSpec(), 4.0))
    (refit,) = refits(1)

    known = experience(piloted, Evidence(), 2, timed=0.001)

    assert known.seconds(refit) == pytest.approx(0.064)
    assert known.first_use == pytest.approx(4.0 - 0.064)
    assert experience(piloted, Evidence(), 2).seconds(refit) == pytest.approx(4.0)  # nothing else is known
    slow = replace(subject, pilot=ended(RunSpec(), 74.0))
    assert experience(slow, Evidence(), 2, timed=0.001).seconds(refit) == pytest.approx(64.0)


def test_runs_that_have_ended_tell_of_their_kind_without_the_first_of_each_process(subject) -> None:
    pilot = ended(RunSpec(), 4.0)
    seen = [pilot, *(ended(spec, seconds) for spec, seconds in zip(refits(6), (3, 0.3, 0.2, 2, 0.3, 0.4), strict=True))]
    records = {record.digest: record for record in seen}
    other = refits(1)[0].model_copy(update={"corruption": CorruptionSpec(name="random_labels")})

    known = experience(replace(subject, pilot=pilot), Evidence(records), 2)

    assert known.seconds(refits(8)[7]) == pytest.approx(0.3)
    assert known.seconds(other) == pytest.approx(0.3)  # of a kind that has not ended: as fast as the fastest


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("signal", "19 refits under permuted labels"),
        ("noise", "3 seeds of every kind of noise"),
        ("coherence", "3 pairs of trainings, on your labels and on random ones"),
    ],
)
def test_repetitions_are_counted_in_words(name: str, told: str) -> None:
    assert repetitions(checks.get(name), checks.get(name).least) == told


def test_one_repetition_is_in_the_singular() -> None:
    assert repetitions(checks.get("signal"), 1) == "1 refit under permuted labels"
