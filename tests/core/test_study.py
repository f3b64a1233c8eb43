"""Studies: the table of verdicts, and finding a study by the beginning of its name."""

from __future__ import annotations

from typing import Any

import pytest

from shattering.core import study as module
from shattering.core.errors import ShatteringError, SpecError
from shattering.core.record import Record, Status
from shattering.core.registry import Registry
from shattering.core.spec import RunSpec, override
from shattering.core.study import (
    Claim,
    Effect,
    Estimate,
    Paper,
    Study,
    find_study,
    judge,
    label_level,
    register,
    select,
)

ABSENT: Any = object()


def claim(published: float | None = 0.9, *, estimate: Estimate | None = None, holds: Any = ABSENT) -> Claim:
    """A claim of 0.9 ± 0.05 whose estimate and effect are given."""
    return Claim(
        source="Table 1",
        quantity="test accuracy",
        published=published,
        tolerance=0.05,
        unit="1",
        provenance="Q-text",
        data="digits",
        estimate=lambda records: estimate,
        effect=None if holds is ABSENT else Effect("it falls", lambda records: holds),
    )


def interval(low: float | None, high: float | None) -> Estimate:
    return Estimate(0.9, low, high, ("a", "b", "c"), 3)


VERDICTS = [
    # interval, effect holds, comparable, verdict
    (None, True, True, "not run"),
    (None, ABSENT, False, "not run"),
    (interval(0.86, 0.94), ABSENT, True, "reproduced"),
    (interval(0.85, 0.95), ABSENT, True, "reproduced"),
    (interval(0.84, 0.94), ABSENT, True, "inconclusive"),
    (interval(0.86, 0.96), ABSENT, True, "inconclusive"),
    (interval(0.5, 1.0), ABSENT, True, "inconclusive"),
    (interval(0.96, 0.99), ABSENT, True, "not reproduced"),
    (interval(0.1, 0.84), ABSENT, True, "not reproduced"),
    (interval(0.95, 0.99), ABSENT, True, "inconclusive"),
    (interval(None, None), ABSENT, True, "inconclusive"),
    (interval(0.86, None), ABSENT, True, "inconclusive"),
    (interval(0.86, 0.94), False, True, "reproduced"),
    (interval(0.86, 0.94), True, False, "effect reproduced"),
    (interval(0.1, 0.2), True, False, "effect reproduced"),
    (interval(0.86, 0.94), False, False, "effect not reproduced"),
    (interval(0.86, 0.94), None, False, "effect inconclusive"),
    (interval(0.86, 0.94), ABSENT, False, "effect inconclusive"),
]


@pytest.mark.parametrize(("estimate", "holds", "comparable", "verdict"), VERDICTS)
def test_verdicts(estimate: Estimate | None, holds: Any, comparable: bool, verdict: str) -> None:
    judgement = judge(claim(estimate=estimate, holds=holds), (), comparable=comparable)

    assert judgement.verdict == verdict
    assert judgement.estimate is estimate


@pytest.mark.parametrize(("holds", "verdict"), [(True, "effect reproduced"), (False, "effect not reproduced")])
def test_a_claim_without_a_number_is_judged_by_its_effect_even_at_paper_scale(holds: bool, verdict: str) -> None:
    assert judge(claim(None, estimate=interval(0.1, 0.2), holds=holds), (), comparable=True).verdict == verdict


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry[Study]:
    """An empty registry of studies in place of the real one."""
    empty: Registry[Study] = Registry("study", "shattering.studies", _discovered=True)
    monkeypatch.setattr(module, "studies", empty)
    return empty


def named(name: str, *claims: Claim) -> Study:
    return Study(
        name=name,
        paper=Paper("Author et al.", 2017, "Title", "Venue", "https://example.org"),
        question="Why?",
        datasets=("digits",),
        specs=lambda request: [],
        claims=claims,
        figures=(),
        answer=lambda records: "",
        differences=lambda request: (),
        choices=(),
    )


def test_a_unique_beginning_finds_a_study(registry: Registry[Study]) -> None:
    for name in ("author2017_a", "author2017_ab", "other2020"):
        register(named(name))

    assert find_study("o").name == "other2020"
    assert find_study("author2017_a").name == "author2017_a"
    with pytest.raises(SpecError, match="author2017_a or author2017_ab") as caught:
        find_study("author")
    assert caught.value.identifier == "study-ambiguous"
    with pytest.raises(SpecError, match="did you mean 'other2020'") as caught:
        find_study("othr2020")
    assert caught.value.identifier == "unknown-study"


def test_a_claim_without_source_is_refused(registry: Registry[Study]) -> None:
    sourceless = Claim("", "accuracy", 1.0, 0.1, "1", "Q-text", "digits", lambda records: None)

    with pytest.raises(ShatteringError) as caught:
        register(named("author2017", sourceless))

    assert caught.value.identifier == "claim-without-source"
    assert registry.names() == []


def record(**fields: Any) -> Record:
    return Record(
        spec=override(RunSpec(), {name.replace("__", "."): value for name, value in fields.items()}), status=Status.DONE
    )


def test_select_by_short_and_by_dotted_names() -> None:
    true = record(training__weight_decay=0.5)
    random = record(corruption__name="random_labels", model__fields__width=3)
    partly = record(corruption__name="partially_corrupted_labels", corruption__fields__p=0.25)
    records = [true, random, partly]

    assert select(records, level=0.0) == [true]
    assert select(records, level=1.0) == [random]
    assert select(records, level=0.25) == [partly]
    assert select(records, training__weight_decay=0.0) == [random, partly]
    assert select(records, model__fields__width=3) == [random]
    assert select(records, model="mlp_1x512", corruption="random_labels") == [random]
    assert select(records, model="no_such") == []


def test_other_corruptions_have_no_level() -> None:
    assert label_level(record(corruption__name="gaussian").spec) is None
