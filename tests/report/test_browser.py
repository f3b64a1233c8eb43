"""The page in Chromium: charts are drawn under the policy, in silence, without a request."""

from __future__ import annotations

import pytest
from report_demo import demo_plan, demo_store

from listening import opened
from shattering.core.record import Status
from shattering.report.html import write_report

pytestmark = pytest.mark.browser
HOSTILE = "</script><script>window.gained = 1</script><img src=x onerror='window.gained = 1'>"


@pytest.mark.parametrize("payload", ["", HOSTILE])
@pytest.mark.parametrize("width", [1200, 480])
def test_charts_are_drawn_in_silence(tmp_path, registered, browser, payload, width):
    registered(payload)
    plan = demo_plan(payload)
    statuses = [Status.NOT_FITTED, *[Status.DONE] * 11]
    path = write_report(demo_store(tmp_path / "store", plan, statuses, payload), plan)
    page, said, asked = opened(browser, path, viewport={"width": width, "height": 900})
    page.wait_for_function("document.querySelectorAll('.chart svg').length === 2")
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
    assert page.evaluate("window.gained") is None
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.querySelectorAll('.chart path[aria-roledescription]').length") > 0


def test_still_pictures_without_scripts(tmp_path, registered, browser):
    registered()
    plan = demo_plan()
    path = write_report(demo_store(tmp_path / "store", plan), plan)
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(path.as_uri())
    assert page.locator("noscript svg").count() == 2
