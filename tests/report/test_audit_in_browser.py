"""The audit's page in Chromium: silent, without a request, its tables sorted and filtered by keyboard."""

from __future__ import annotations

from dataclasses import replace

import pytest

from audit_demo import audit_of_digits, carried_out_here, made_up_check, named
from listening import opened
from shattering.core.finding import Chart, Column, Table
from shattering.report.audit import audit_findings
from shattering.report.audit_html import write_audit

pytestmark = pytest.mark.browser
HOSTILE = "</script><script>window.gained = 1</script><img src=x onerror='window.gained = 1'>\"'"


@pytest.fixture(scope="module", params=["plain", HOSTILE])
def path(request, tmp_path_factory):
    out = tmp_path_factory.mktemp("audit") / "store"
    check = made_up_check(least=1, useful=1, text=request.param)
    audit = named(carried_out_here(audit_of_digits(out, check), out), request.param)
    return write_audit(audit, audit_findings(audit))


@pytest.mark.parametrize("width", [1200, 480])
def test_silent_whole_and_alone(path, browser, width) -> None:
    page, said, asked = opened(browser, path, viewport={"width": width, "height": 900})
    page.wait_for_function("document.querySelectorAll('.chart svg').length === 1")

    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
    assert page.evaluate("window.gained") is None
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert page.evaluate("document.images.length") >= 26


def test_tables_sort_and_filter_from_the_keyboard(path, browser) -> None:
    page = browser.new_page()
    page.goto(path.as_uri())
    first = "document.querySelector('table.sortable tbody tr:not([hidden]) td').dataset.key"
    head = page.locator("table.sortable th button").nth(1)

    head.focus()
    page.keyboard.press("Enter")
    assert page.evaluate(first) == "0"
    page.keyboard.press("Enter")
    assert page.evaluate(first) == "19"
    assert page.locator("table.sortable th").nth(1).get_attribute("aria-sort") == "descending"

    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    page.locator("input[data-table]").fill("2.71")
    assert page.locator("table.sortable tbody tr:not([hidden])").count() == 1
    assert "1 of 20" in (page.locator("[role=status]").text_content() or "")


def test_everything_that_reacts_can_be_reached_by_keyboard(path, browser) -> None:
    page = browser.new_page()
    page.goto(path.as_uri())
    page.wait_for_function("document.querySelectorAll('.chart svg').length === 1")
    wanted = page.evaluate("document.querySelectorAll('a[href], button, input, summary, [tabindex=\"0\"]').length")

    reached = set()
    for _ in range(3 * wanted):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("[...document.querySelectorAll('*')].indexOf(document.activeElement)"))
    assert len(reached) >= wanted


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A page with a table as wide as that of the labels, and of more rows than are printed."""
    out = tmp_path_factory.mktemp("wide") / "store"
    audit = carried_out_here(audit_of_digits(out, made_up_check(least=1, useful=1)), out)
    columns = (
        Column("example", "example"),
        Column("given"),
        Column("held-out probability of the given class", "probability"),
        *(Column(f"number of predictions {place}", "number") for place in range(8)),
    )
    rows = tuple((place, "malignant" * (1 + place % 2), place / 60, *range(8)) for place in range(60))
    chart = next(one for one in audit.answers[0].exhibits if isinstance(one, Chart))
    answer = replace(audit.answers[0], exhibits=(chart, Table("wide", "Wide", columns, rows, "Read.")))
    audit = replace(audit, answers=(answer,))
    return write_audit(audit, audit_findings(audit))


@pytest.mark.parametrize("scripts", [True, False])
@pytest.mark.parametrize("width", [900, 680])
def test_on_paper_a_wide_table_fits_and_its_first_rows_stand_for_it(wide, browser, width: int, scripts: bool) -> None:
    page = browser.new_context(viewport={"width": width, "height": 900}, java_script_enabled=scripts).new_page()
    page.goto(wide.as_uri())
    page.emulate_media(media="print")

    assert page.evaluate("document.documentElement.scrollWidth") <= width
    seen = "[...document.querySelectorAll('table.sortable tbody tr')].map(row => row.offsetHeight > 0)"
    assert page.evaluate(seen) == [True] * 50 + [False] * 10
    assert page.locator(".printed").is_visible()
    assert "at most 50 of the 60 rows" in (page.locator(".printed").text_content() or "")
    page.emulate_media(media="screen")
    assert page.evaluate(seen) == [True] * 60
    assert page.locator(".printed").is_hidden()
    page.context.close()


def test_a_short_table_is_printed_whole(path, browser) -> None:
    page = browser.new_page()
    page.goto(path.as_uri())
    page.emulate_media(media="print")

    assert page.evaluate("getComputedStyle(document.querySelector('.tall')).overflowY") == "visible"
    assert page.locator(".filter").first.is_hidden()
    assert page.evaluate("[...document.querySelectorAll('.sortable tbody tr')].every(row => row.offsetHeight > 0)")
    assert page.locator(".printed").count() == 0
