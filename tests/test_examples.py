"""Every worked example does what its first lines say: it writes its data, and an audit of its network ends in time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from listening import opened

EXAMPLES = Path(__file__).parents[1] / "examples"
NAMES = ("table", "image_folder", "text_classifier", "lightning_module", "transformers_model")
PACKAGES = {"lightning_module": "lightning", "transformers_model": "transformers"}
GRACE = 120
"""Seconds for imports, the data and the report, beside the budget, on two cores that others use too."""


def run(command: list[str], folder: Path) -> str:
    offline = {"HF_HUB_OFFLINE": "1", "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **offline}, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def look_at(path: Path, browser: Any, *, pictures: bool) -> None:
    """The report in Chromium: silent, asking for nothing, tables sorting, pictures there."""
    page, said, asked = opened(browser, path)
    page.wait_for_function("[...document.querySelectorAll('.chart')].every(box => box.querySelector('svg'))")
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
    for head in page.locator("table.sortable th button").all()[:3]:
        head.click()
        assert head.locator("..").get_attribute("aria-sort") == "ascending"
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert not pictures or page.evaluate("document.images.length") > 0


def test_every_script_is_listed() -> None:
    assert sorted(path.stem for path in EXAMPLES.glob("*.py")) == sorted(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_example_ends_within_its_budget(name: str, tmp_path: Path, browser: Any) -> None:
    pytest.importorskip(PACKAGES.get(name, "sklearn"))
    began = time.monotonic()
    told = run([sys.executable, str(EXAMPLES / f"{name}.py"), "here"], tmp_path)
    assert time.monotonic() - began < 120 + GRACE
    assert "held-out examples" in told or "test examples" in told
    (page,) = (tmp_path / "here" / "audit").rglob("index.html")
    assert page.stat().st_size > 10_000
    look_at(page, browser, pictures=name == "image_folder")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["table", "transformers_model"])
def test_an_example_is_audited_from_the_command_line(name: str, tmp_path: Path) -> None:
    pytest.importorskip(PACKAGES.get(name, "sklearn"))
    writing = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; import {0}; print({0}.write(Path()))"
    )
    data = run([sys.executable, "-c", writing.format(name), str(EXAMPLES)], tmp_path).strip()
    command = [str(Path(sys.executable).with_name("shattering")), "audit", f"{EXAMPLES / name}.py:build"]
    command += ["--data", data, "--set", "training.learning_rate=1e-2", "--budget", "1m", "--out", "audit", "--json"]
    found = json.loads(run(command, tmp_path))
    assert found["runs"]["failed"] == 0 and sum(found["runs"].values()) > 0
