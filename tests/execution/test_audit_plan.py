"""How an audit's time is shared, on checks whose runs cost a second each."""

from __future__ import annotations

import pytest

from audit_demo import made_up_check, seeds_of
from shattering.checks.registry import Check, Subject
from shattering.core.spec import RunSpec
from shattering.data.load import load_data
from shattering.execution.audit import in_turn
from shattering.execution.audit_plan import Allotment, allot


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
    assert "100 × run" in given["dear"].refused
    assert "10 s" in given["dear"].refused
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
