"""The page of an audit: the answer first, every finding with its number, and nothing that a name could smuggle in."""

from __future__ import annotations

import json
from html import unescape
from html.parser import HTMLParser

import pytest

from audit_demo import audit_of_digits, carried_out_here, made_up_check, named
from shattering.execution.audit import Audit
from shattering.report.audit import LEVELS, audit_findings
from shattering.report.audit_html import write_audit
from shattering.report.audit_terminal import render_audit, value_cells

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


def test_what_could_not_be_told_has_no_number() -> None:
    finding = {"value": None, "low": None, "high": None, "unit": "1", "p_value": None}

    assert value_cells(finding) == ("–", "")
    assert list(LEVELS) == ["warning", "note", "good", "unknown"]
