"""The page: what it holds, that names in it are names and nothing else, and that it is the same each time."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest
from report_demo import demo_plan, demo_store, with_overrides

from shattering.core.record import Status
from shattering.report import charts, html
from shattering.report.html import write_report

PAYLOADS = (
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'); alert(1); ('",
    "</noscript></style><svg onload=alert(1)>",
    "{{ 7 * 7 }}<!--",
)


class Elements(HTMLParser):
    """Counts elements and collects attributes and visible text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data):
        self.text += data


def page_of(tmp_path, plan, statuses=None, payload=""):
    return write_report(demo_store(tmp_path / "store", plan, statuses, payload), plan).read_text()


def test_page_holds_what_a_reader_needs(tmp_path, registered):
    registered()
    page = page_of(tmp_path, demo_plan())
    text = " ".join(Elements(page).text.split())
    for expected in (
        "Does it fit?",
        "It does. 12 records say so.",
        "12 of 12 runs",
        "ours (digits stand-in, small scale)",
        "89.05%",
        "effect reproduced",
        "effect inconclusive",
        "1 claim not run",
        "It falls.",
        "random labels",
        "untouched",
        "training.learning_rate",
        "training.momentum",
        "training.fit_accuracy",
        "0–2",
        "Smaller",
        "128",
        "note",
        "18.0 s",
        "2.13.0",
    ):
        assert expected in text
    for digest in demo_plan().digests:
        assert digest in text
    assert "Never read." not in text


def test_files_lie_beside_the_page(tmp_path, registered):
    registered()
    plan = demo_plan()
    store = demo_store(tmp_path / "store", plan)
    page = write_report(store, plan, seconds=2.0)
    figures = page.parent / "figures"
    assert sorted(path.name for path in figures.iterdir()) == ["loss.png", "loss.svg", "times.png", "times.svg"]
    assert (figures / "loss.png").read_bytes().startswith(b"\x89PNG")
    links = set(re.findall(r'href="(figures/[^"]*)"', page.read_text()))
    assert links == {f"figures/{path.name}" for path in figures.iterdir()}
    assert json.loads((page.parent / "summary.json").read_text())["seconds"] == 2.0


def test_same_store_gives_the_same_bytes(tmp_path, registered):
    registered()
    plan = demo_plan()
    store = demo_store(tmp_path / "store", plan)
    page = write_report(store, plan, seconds=1.0)
    before = {path.name: path.read_bytes() for path in page.parent.rglob("*.*") if path.name != "summary.json"}
    write_report(store, plan, seconds=7.0)
    after = {path.name: path.read_bytes() for path in page.parent.rglob("*.*") if path.name != "summary.json"}
    assert before == after


@pytest.mark.parametrize("payload", PAYLOADS)
def test_names_gain_no_element(tmp_path, registered, payload):
    registered()
    plain = Elements(page_of(tmp_path / "plain", demo_plan()))
    registered(payload)
    page = page_of(tmp_path / "hostile", demo_plan(payload), payload=payload)
    hostile = Elements(page)
    # The parser reads <noscript> as elements, as browsers without scripts do; still pictures have no element of names.
    for tag in ("script", "img", "iframe", "noscript", "style", "a"):
        assert hostile.tags.count(tag) == plain.tags.count(tag), tag
    assert not [name for name, _ in hostile.attributes if name.startswith("on")]
    assert [name for name, _ in hostile.attributes if name in ("src", "href")] == [
        name for name, _ in plain.attributes if name in ("src", "href")
    ]
    assert f"Does it fit{payload}?" in hostile.text
    for svg in (tmp_path / "hostile").rglob("*.svg"):
        inside = Elements(svg.read_text())
        assert "script" not in inside.tags and "img" not in inside.tags
        assert not [name for name, _ in inside.attributes if name.startswith("on")]


def test_link_of_a_paper_must_be_a_web_address(tmp_path, registered, monkeypatch):
    study = registered()
    object.__setattr__(study.paper, "url", "javascript:alert(1)")
    assert "javascript:" not in page_of(tmp_path, demo_plan())


def test_policy_knows_exactly_the_scripts_of_the_page(tmp_path, registered):
    registered()
    page = page_of(tmp_path, demo_plan())
    scripts = re.findall(r"<script>(.*?)</script>", page, re.S)
    styles = re.findall(r"<style>(.*?)</style>", page, re.S)
    policy = next(value for name, value in Elements(page).attributes if name == "content")
    assert len(scripts) == 2 and len(styles) == 1
    assert all(html._hash(text) in policy for text in scripts + styles)
    assert "unsafe" not in policy and "http" not in policy


def test_unfinished_plan_tells_what_is_missing(tmp_path, registered):
    registered()
    statuses = [Status.FAILED, Status.DIVERGED, Status.NOT_FITTED, None, *[Status.DONE] * 8]
    text = " ".join(Elements(page_of(tmp_path, demo_plan(), statuses)).text.split())
    assert "8 of 12 runs; 1 did not fit, 1 diverged, 1 failed, 1 not run" in text
    assert "1 × worker-died: Out of memory." in text
    assert "not finite from step 100 on" in text
    assert "continue with shattering run demo" in text
    assert "lower bound" in text


def test_plan_without_records_has_a_page(tmp_path, registered):
    registered()
    page = page_of(tmp_path, demo_plan(), [None] * 12)
    text = " ".join(Elements(page).text.split())
    assert "No run has ended yet" in text
    assert "There is nothing to draw yet." in text
    assert Elements(page).tags.count("script") == 0


def test_only_failures_give_no_answer(tmp_path, registered):
    registered()
    assert "No run has ended yet" in page_of(tmp_path, demo_plan(), [Status.FAILED] * 12)


def test_picture_that_cannot_be_made_is_told(tmp_path, registered, monkeypatch):
    registered()

    def refuse(chart):
        raise ValueError("no fonts")

    monkeypatch.setattr(html, "to_png", refuse)
    page = page_of(tmp_path, demo_plan())
    assert "could not be made: no fonts" in page
    assert "It falls." in page
    assert 'href="figures/loss.png"' not in page


def test_own_settings_are_told(tmp_path, registered):
    registered()
    page = page_of(tmp_path, with_overrides(demo_plan()))
    assert "own settings" in page and "training.max_steps=10" in page


def test_runtime_names_no_script_of_the_network():
    assert "</script" not in charts.runtime()
    assert "<script" not in charts.runtime()
