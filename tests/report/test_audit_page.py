"""The page of an audit: the answer first, every finding with its number, and nothing that a name could smuggle in."""

from __future__ import annotations

import json
from dataclasses import replace
from html import escape, unescape
from html.parser import HTMLParser

import pytest

from audit_demo import audit_of_digits, carried_out_here, made_up_check, named
from shattering.core.config import minutes_of
from shattering.core.finding import Column, Gallery, Table
from shattering.core.record import Status
from shattering.execution.audit import Audit
from shattering.report.audit import LEVELS, audit_findings
from shattering.report.audit_html import write_audit
from shattering.report.audit_terminal import counts_text, render_audit, value_cells
from shattering.report.words import duration

HOSTILE = "</script><script>window.gained = 1</script><img src=x onerror='window.gained = 1'>\"'"


class Elements(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attributes


@pytest.fixture(scope="module")
def audits(tmp_path_factory) -> dict[str, Audit]:
    """The same audit, once with plain words and once with hostile ones wherever a name may stand."""
    found = {}
    for text in ("plain", HOSTILE):
        out = tmp_path_factory.mktemp("audit") / "store"
        check = made_up_check(least=1, useful=1, text=text)
        found[text] = named(carried_out_here(audit_of_digits(out, check), out), text)
    return found


def page_of(audit: Audit) -> str:
    return write_audit(audit, audit_findings(audit)).read_text(encoding="utf-8")


def test_the_answer_comes_before_the_evidence(audits) -> None:
    page = page_of(audits["plain"])

    body = page[page.index("<main>") :]
    assert body.index("plain: 1.") < body.index('id="made_up"') < body.index("plain chart")
    for words in (
        "[1 runs",
        "p = 0.04",
        "plain counted.",
        "plain caveat.",
        "plain gallery",
        "plain table",
        "1 runs tell",
    ):
        assert words.replace("[1 runs", "[1, 9]") in body, words
    assert body.count("data:image/png;base64,") >= 3 + 3 + 20


def test_a_hostile_name_stays_text(audits) -> None:
    plain, hostile = (Elements(page_of(audits[text])) for text in ("plain", HOSTILE))

    for tag in ("script", "img", "iframe", "style", "a", "tr", "button", "input"):
        assert hostile.tags.count(tag) == plain.tags.count(tag), tag
    assert not [name for name, _ in hostile.attributes if name.startswith("on")]
    links = [value for name, value in hostile.attributes if name in ("src", "href")]
    assert all(value.startswith(("data:image/png;base64,", "#", "figures/")) for value in links if value is not None)


def test_the_page_lets_nothing_in_from_elsewhere(audits) -> None:
    page = unescape(page_of(audits["plain"]))

    assert "default-src 'none'" in page
    assert not [value for name, value in Elements(page).attributes if name in ("src", "href") and "//" in str(value)]


def test_pictures_and_the_object_lie_beside_the_page(audits) -> None:
    audit = audits["plain"]
    path = write_audit(audit, audit_findings(audit))

    assert json.loads((path.parent / "summary.json").read_text()) == audit_findings(audit)
    assert (path.parent / "figures" / "made_up-curve.svg").stat().st_size > 1000
    assert path.read_bytes() == write_audit(audit, audit_findings(audit)).read_bytes()


def test_the_terminal_has_every_finding_and_the_way_on(audits) -> None:
    audit = audits["plain"]

    text = render_audit(audit_findings(audit))

    assert "plain: 1." in text
    assert "[1, 9]; p = 0.04" in text
    assert "2 trainings" in text
    assert str(audit.store.root) in text.replace("\n", "")
    unfinished = render_audit({**audit_findings(audit), "complete": False})
    assert "continue with: again" in unfinished


@pytest.mark.parametrize(
    ("value", "text"), [(1.0, ">99.9%"), (0.9996, ">99.9%"), (0.9994, "99.9%"), (0.0, "<0.1%"), (1e-9, "<0.1%")]
)
def test_an_estimated_probability_is_never_shown_as_sure(audits, value: float, text: str) -> None:
    audit = audits["plain"]
    table = Table("sure", "Sure", (Column("p", "probability"), Column("q", "percent")), ((value, 1.0),), "Read.")
    answers = (replace(audit.answers[0], exhibits=(table,)),)

    page = page_of(replace(audit, answers=answers))

    assert f'<td class="n" data-key="{value!r}">{escape(text)}</td>' in page
    assert '<td class="n" data-key="1.0">100.0%</td>' in page


def test_a_gallery_without_examples_is_its_sentence(audits) -> None:
    audit = audits["plain"]
    answers = (replace(audit.answers[0], exhibits=(Gallery("none", "Nobody", (), "There is none."),)),)

    page = page_of(replace(audit, answers=answers))

    assert "<p>There is none.</p>" in page
    assert 'class="shown"' not in page


def test_what_could_not_be_told_has_no_number() -> None:
    finding = {"value": None, "low": None, "high": None, "unit": "1", "p_value": None}

    assert value_cells(finding) == ("–", "")
    assert list(LEVELS) == ["warning", "note", "good", "unknown"]


@pytest.mark.parametrize(
    ("runs", "now", "told"),
    [
        ({}, 0, "No training was made, in 3.0 s."),
        ({"done": 1}, 1, "1 training (1 fitted), made now, in 3.0 s."),
        ({"done": 1}, 0, "1 training (1 fitted), made before now, in 3.0 s."),
        ({"done": 20, "failed": 2}, 0, "22 trainings (20 fitted, 2 failed), none of them now, in 3.0 s."),
        ({"done": 20}, 20, "20 trainings (20 fitted), all of them now, in 3.0 s."),
        ({"done": 20, "cancelled": 1}, 7, "21 trainings (20 fitted, 1 not run), 7 of them now, in 3.0 s."),
    ],
)
def test_trainings_are_counted_in_words(runs: dict[str, int], now: int, told: str) -> None:
    counts = {status.value: runs.get(status.value, 0) for status in Status}

    assert counts_text({"runs": counts, "computed": now, "seconds": 3.0}) == told


@pytest.mark.parametrize(
    ("given", "told"),
    [("10s", "10 s"), ("90s", "90 s"), ("1m", "1 min"), ("10m", "10 min"), ("2h", "2 h"), (90, "90 min")],
)
def test_a_budget_is_told_as_it_was_given(given: str | float, told: str) -> None:
    assert duration(minutes_of(given)) == told
