"""The page in Chromium: 200 runs are watched while they run, in silence, and no name becomes markup."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from serving_demo import commit, demo_plan, demo_specs

from listening import listened
from shattering import api
from shattering.core.record import Record, Status
from shattering.core.spec import parse_spec
from shattering.store.store import Store

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]
HOSTILE = "</script><script>window.gained = 1</script><img src=x onerror='window.gained = 1'>"
SWEEP = """
name: watched
base: {data.train_size: 64, data.test_size: 64, model: {name: mlp_1x512, fields: {width: 16}},
       training.batch_size: 32, training.max_steps: 60}
grid: {corruption.name: [true_labels, random_labels], training.learning_rate: [0.01, 0.03, 0.1, 0.3]}
seeds: 25
"""


@contextmanager
def served(root: Path) -> Iterator[str]:
    """The address of a server over a store."""
    words = [sys.executable, "-m", "shattering", "serve", str(root), "--json", "--quiet"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = ""
            while not said.endswith("}\n"):
                said += process.stdout.readline()
            yield json.loads(said)["address"]
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def until(page: Any, condition: str) -> None:
    """Waits for a condition; the page's policy forbids the way in which Playwright itself would look for it."""
    patience = time.monotonic() + 30
    while not page.evaluate(condition):
        assert time.monotonic() < patience, condition
        time.sleep(0.1)


def ended(page: Any) -> int:
    text = page.inner_text("#progress")
    return int(text.split(" ")[0]) if text else 0


def test_two_hundred_runs_are_watched_while_they_run(tmp_path: Path, browser: Any) -> None:
    (tmp_path / "watched.yaml").write_text(SWEEP)
    store = tmp_path / "store"
    words = [sys.executable, "-m", "shattering", "sweep", str(tmp_path / "watched.yaml"), "--out", str(store)]
    with subprocess.Popen([*words, "--jobs", "1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as sweep:
        try:
            while not (store / "plans").is_dir():
                assert sweep.poll() is None
                time.sleep(0.05)
            with served(store) as address:
                page = browser.new_page(viewport={"width": 1200, "height": 900})
                said, asked = listened(page)
                page.goto(address)
                page.evaluate("window.notReloaded = true")
                seen = []
                while not seen or seen[-1] < 200:
                    seen.append(ended(page))
                    if sweep.poll() is not None:
                        until(page, "document.title.startsWith('200/200')")
                    time.sleep(0.2)
                assert sweep.wait(60) == 0
                assert seen == sorted(seen)
                assert len({many for many in seen if 0 < many < 200}) >= 3
                assert page.evaluate("window.notReloaded") is True
                until(page, "document.querySelectorAll('.legend li').length === 8")
                until(page, "document.querySelectorAll('#charts path.curve').length === 16")
                page.select_option("#choice", label="corruption")
                until(page, "document.querySelectorAll('#charts path.curve').length === 4")
                page.check("#log")
                until(page, "document.querySelector('#charts svg').textContent.includes('logarithmic')")
                assert "(100 of 100 runs)" in page.inner_text("#legend")
                assert "Test accuracy is highest" in page.inner_text("#answer")
                page.wait_for_selector("#report a", timeout=30_000)
                assert said == []
                own = urlsplit(address).netloc
                assert {urlsplit(url).netloc for url in asked if not url.startswith("data:")} == {own}
                assert "token" not in page.url
                page.click("#report a")
                until(page, "document.querySelectorAll('.chart svg').length > 0")
                assert said == []
        finally:
            if sweep.poll() is None:
                sweep.kill()


@pytest.mark.parametrize("width", [1200, 420])
def test_hostile_names_stay_text(tmp_path: Path, browser: Any, width: int) -> None:
    store = Store.open(tmp_path / HOSTILE.replace("/", "-"), write=True)
    specs = demo_specs(model={"name": HOSTILE}, data={"name": HOSTILE})
    store.save_plan(demo_plan(specs, study=f"study{HOSTILE}", command=f"shattering run {HOSTILE}"))
    for spec in specs[:4]:
        commit(store, spec)
    with served(store.root) as address, store.lease(specs[5].digest) as lease:
        assert lease.valid()
        page = browser.new_page(viewport={"width": width, "height": 900})
        said, _ = listened(page)
        page.goto(address)
        page.wait_for_selector("#underway tr", timeout=30_000)
        page.wait_for_selector("#charts svg")
        assert said == []
        assert page.evaluate("window.gained") is None
        assert page.evaluate("document.querySelectorAll('img, script:not([src])').length") == 0
        assert HOSTILE in page.inner_text("#command")
        assert HOSTILE in page.inner_text("#underway")
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_everything_is_reached_by_the_keyboard(tmp_path: Path, browser: Any) -> None:
    store = Store.open(tmp_path / "store", write=True)
    store.save_plan(demo_plan(demo_specs()))
    store.save_plan(demo_plan(demo_specs(), study="other"))
    commit(store, demo_specs()[0])
    with served(store.root) as address:
        page = browser.new_page()
        page.goto(address)
        page.wait_for_selector("#charts svg")
        reached = set()
        for _ in range(14):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
        assert {"A", "choice", "log", "SUMMARY", "command"} <= reached
        assert page.evaluate("[...document.querySelectorAll('#charts svg')].every(s => s.getAttribute('aria-label'))")


def test_a_study_without_accuracies_says_so_in_place_of_empty_axes(tmp_path: Path, browser: Any) -> None:
    store = Store.open(tmp_path / "store", write=True)
    specs = [parse_spec({"model": {"name": "formula", "fields": {"strength": value}}}) for value in (1, 2)]
    store.save_plan(demo_plan(specs))
    with served(store.root) as address:
        page = browser.new_page()
        page.goto(address)
        until(page, "document.querySelector('#reading-curves').textContent.startsWith('No curve yet')")
        lease = store.lease(specs[0].digest)
        assert lease is not None
        with lease:
            store.put(Record(specs[0], Status.DONE, ({"step": 0, "error": 0.5},)), lease)
        until(page, "document.querySelector('#reading-curves').textContent.includes('none recorded training or test')")
        for part in ("#controls", "#legend", "#charts", "#last-box"):
            assert not page.is_visible(part), part


def test_a_long_choice_does_not_overrun_a_narrow_screen(tmp_path: Path, browser: Any) -> None:
    specs = [
        parse_spec({"corruption": {"name": name}, "training": {"learning_rate": rate, "batch_size": batch}})
        for name, rate, batch in (("true_labels", 0.1, 32), ("random_labels", 0.2, 64), ("gaussian", 0.3, 256))
    ]
    store = Store.open(tmp_path / "store", write=True)
    store.save_plan(demo_plan(specs))
    for spec in specs:
        commit(store, spec)
    with served(store.root) as address:
        page = browser.new_page(viewport={"width": 360, "height": 900})
        page.goto(address)
        page.wait_for_selector("#charts svg", timeout=30_000)
        assert len(page.evaluate("document.querySelector('#choice').options[0].text")) > 40
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_claims_are_stacked_on_a_narrow_screen_and_folded_where_no_run_bears_on_them(
    tmp_path: Path, browser: Any
) -> None:
    # Written reports are not kept beside the records, so that a fresh clone has none: one is written here.
    kept = shutil.copytree(
        ROOT / "results" / "mnist-small", tmp_path / "kept", ignore=shutil.ignore_patterns("reports")
    )
    assert api.report(kept)
    with served(kept) as address:
        page = browser.new_page(viewport={"width": 400, "height": 900})
        page.goto(address)
        page.wait_for_selector(".claims tbody td", timeout=60_000)
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        tops = page.evaluate(
            "[...document.querySelector('.claims tbody tr').children].map(cell => cell.getBoundingClientRect().top)"
        )
        assert tops[0] < tops[1] == tops[2] < tops[3]
        assert not page.is_visible("#absent table")
        assert "claims not run: no run here bears on them" in page.inner_text("#absent summary")
        page.click("#absent summary")
        assert page.is_visible("#absent table")
        assert "not run" not in page.inner_text(".claims")
        assert page.inner_text("#report code") == "shattering report"
        assert "`" not in page.inner_text("#report")
