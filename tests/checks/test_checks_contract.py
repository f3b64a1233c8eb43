"""What holds for every registered check, whoever adds one."""

from __future__ import annotations

import functools
import json
import math
import re
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import pytest
from audited import SUBJECTS, evidence, subject, trained, without_outcome

from shattering.checks.registry import Evidence, checks
from shattering.core.finding import Answer, Level
from shattering.core.record import Record, Status
from shattering.core.spec import RunSpec
from shattering.corruptions.registry import corruptions
from shattering.execution.selection import require_examples
from shattering.measures.registry import measures

NAMES = checks.names()
TRAINING = [name for name in NAMES if checks.get(name).useful]
KINDS = list(SUBJECTS)
NAMES_IN_LOWER_CASE = ("cleanlab",)
DOCUMENT = Path(__file__).parents[2] / "docs" / "checks.md"


def efforts(name: str) -> list[int]:
    check = checks.get(name)
    return sorted({0, 1, check.least, check.least + 1, min(check.useful, check.least + 5)})


@functools.cache
def runs_of(name: str, kind: str) -> tuple[Record, ...]:
    """The runs of a check's least effort."""
    who = subject(kind)
    return tuple(trained(checks.get(name).design(who, checks.get(name).least), who.splits))


def examine(answer: Answer, name: str) -> None:
    """What every answer must be, whatever it rests on."""
    check = checks.get(name)
    assert (answer.check, answer.question) == (name, check.question)
    assert answer.findings
    names = [finding.name for finding in answer.findings]
    assert len(set(names)) == len(names)
    for finding in answer.findings:
        assert finding.check == name
        assert finding.name.replace("_", "").replace(".", "").isalnum(), finding.name
        for sentence in (finding.statement, finding.method, *finding.caveats):
            assert sentence == sentence.strip()
            assert "  " not in sentence
            assert "nan" not in sentence.lower().split()
        assert finding.statement.endswith(".")
        assert not finding.statement[0].islower() or finding.statement.startswith(NAMES_IN_LOWER_CASE)
        assert finding.method
        assert finding.level in get_args(Level)
        assert finding.n >= 0
        assert finding.cost.runs >= 0
        for number in (finding.value, finding.low, finding.high, finding.p_value):
            assert number is None or (type(number) in (float, int) and math.isfinite(number)), finding.name
        assert (finding.low is None) == (finding.high is None) or finding.value is None
        if finding.low is not None and finding.high is not None and finding.value is not None:
            assert finding.low - 1e-9 <= finding.value <= finding.high + 1e-9, finding.name
        assert finding.p_value is None or 0 < finding.p_value <= 1
    assert len({exhibit.name for exhibit in answer.exhibits}) == len(answer.exhibits)
    json.dumps(asdict(answer), allow_nan=False)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", KINDS)
def test_designs_are_nested_valid_and_distinct(name: str, kind: str) -> None:
    check, who = checks.get(name), subject(kind)
    smaller: set[str] = set()
    for effort in efforts(name):
        specs = check.design(who, effort)
        digests = [spec.digest for spec in specs]
        assert len(set(digests)) == len(digests)
        assert smaller <= set(digests)
        smaller = set(digests)
        for spec in specs:
            assert RunSpec.from_json(spec.to_json()) == spec
            assert spec.measures.names
            assert spec.corruption.name in corruptions.names()
            assert set(spec.measures.names) <= set(measures.names())
            assert spec.training.max_steps >= 1
            assert spec.model.name == who.base.model.name
            assert spec.data.name == who.base.data.name
            require_examples(who.splits, spec)
    assert bool(smaller) == bool(check.useful) or check.why_not(who) is not None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", KINDS)
def test_design_and_forecast_work_before_the_pilot(name: str, kind: str) -> None:
    check = checks.get(name)
    who = type(subject(kind))(subject(kind).base, subject(kind).splits)

    for effort in efforts(name):
        check.design(who, effort)
        assert check.tells(who, effort).endswith(".")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", KINDS)
def test_without_runs_a_check_says_that_it_cannot_tell(name: str, kind: str) -> None:
    check, who = checks.get(name), subject(kind)
    if check.why_not(who) is not None:
        return
    for given in (Evidence(effort=0), Evidence(effort=check.least)):
        answer = check.answer(who, given)
        examine(answer, name)
        if check.useful:
            assert {finding.level for finding in answer.findings} == {"unknown"}


@pytest.mark.parametrize("name", TRAINING)
@pytest.mark.parametrize("status", [Status.FAILED, Status.DIVERGED])
def test_runs_without_numbers_tell_nothing_and_break_nothing(name: str, status: Status) -> None:
    check, who = checks.get(name), subject("table")
    records = [without_outcome(Record(spec, Status.DONE), status) for spec in check.design(who, check.least)]

    answer = check.answer(who, evidence(records, check.least))

    examine(answer, name)
    assert {finding.level for finding in answer.findings} == {"unknown"}


@pytest.mark.parametrize("name", TRAINING)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "table"])
def test_runs_that_did_not_fit_are_answered_from(name: str, kind: str) -> None:
    check, who = checks.get(name), subject(kind)
    if check.why_not(who) is not None:
        return

    answer = check.answer(who, evidence(runs_of(name, kind), check.least))

    examine(answer, name)
    assert any(finding.n > 0 for finding in answer.findings)


@pytest.mark.parametrize("name", TRAINING)
@pytest.mark.parametrize("kept", [2, 3, 7])
def test_some_of_the_runs_are_answered_from(name: str, kept: int) -> None:
    check, who = checks.get(name), subject("digits")
    mixed = []
    for place, record in enumerate(runs_of(name, "digits")):
        if place % kept == 0:
            mixed.append(record)
        elif place % kept == 1:
            mixed.append(without_outcome(record, Status.FAILED if place % 2 else Status.DIVERGED))

    examine(check.answer(who, evidence(mixed, check.least)), name)


@pytest.mark.parametrize("name", TRAINING)
def test_answers_name_what_they_cost(name: str) -> None:
    check, who = checks.get(name), subject("digits")

    answer = check.answer(who, evidence(runs_of(name, "digits"), check.least))

    assert any(finding.cost.runs > 0 and finding.cost.seconds > 0 for finding in answer.findings)


@pytest.mark.parametrize("name", NAMES)
def test_ranks_differ(name: str) -> None:
    assert sum(checks.get(other).rank == checks.get(name).rank for other in NAMES) == 1


def test_the_document_has_a_section_for_every_check_and_for_no_other() -> None:
    sections = dict(re.findall(r"^## `([\w-]+)`\n(.*?)(?=^## |\Z)", DOCUMENT.read_text("utf-8"), re.M | re.S))

    assert sorted(sections) == NAMES
    for name, text in sections.items():
        told = " ".join(text.split())
        assert f"*{checks.get(name).question}*" in told
        assert "*It cannot tell*" in told
