"""What a pre-flight check says: sentences, tables, pictures and the page, from formulas instead of trainings."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from capacity_oracle import Oracle, PowerLaw, drive, question
from shattering.core.plan import Plan
from shattering.core.spec import ModelSpec, RunSpec
from shattering.core.study import DataFacts, Request
from shattering.execution.capacity import Preflight
from shattering.execution.capacity_design import Question
from shattering.execution.capacity_records import (
    PILOT_SEED,
    RANDOM,
)
from shattering.report.capacity import findings
from shattering.report.capacity_charts import check_charts
from shattering.report.capacity_html import write_check
from shattering.report.capacity_terminal import render_check
from shattering.report.capacity_words import VAGUE
from shattering.report.charts import runtime, to_png, to_svg
from shattering.store.store import Store

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"


def checked(folder: Path, oracle: Oracle, asked: Question | None = None, pace: float = 0.01) -> Preflight:
    asked = asked or question(target=50_000)
    rounds, specs, ended = drive(asked, oracle, pace)
    facts = DataFacts("digits", asked.target, 10, (8, 8, 1), 10, "0" * 64)
    runs = tuple(spec for done in specs for spec in done.specs)
    plan = Plan("shatter-net", Request("small", facts), runs, command="shattering shatter net")
    return Preflight(asked, plan, tuple(rounds), ended, Store.open(folder, write=True), 12.0, len(runs), None)


def sentences(text: str) -> int:
    return len(re.findall(r"\.(?:\s|$)", text))


def test_a_prediction_is_told_with_its_error(tmp_path: Path) -> None:
    check = checked(tmp_path, PowerLaw(), question(target=12_000))
    found = findings(check)
    truth = 20 * (12_000 / 32) ** 1.2
    random, ratio = found["random"], found["ratio"]
    assert random["source"] == "extrapolated"
    assert random["low"] < truth < random["high"] and random["value"] == pytest.approx(truth, rel=0.3)
    assert ratio["low"] < 2.0 < ratio["high"]
    assert random["epochs"] == pytest.approx(random["value"] / math.ceil(12_000 / 32), rel=1e-6)
    assert random["holdout"][0]["factor"] == pytest.approx(1.0, abs=0.2)
    assert "would fit random labels" in found["answer"] and "off by a factor of 1." in found["answer"]
    assert sentences(found["answer"]) == 2
    assert sum(found["runs"].values()) == len(check.plan.specs)
    json.dumps(found, allow_nan=False)


def test_what_was_trained_is_not_predicted(tmp_path: Path) -> None:
    found = findings(checked(tmp_path, PowerLaw(), question(target=500), pace=0.0001))
    assert found["random"]["source"] == found["real"]["source"] == "measured"
    assert "fitted random labels" in found["answer"] and "would" not in found["answer"]
    assert found["capacity"]


def wall(spec: RunSpec) -> float:
    law = PowerLaw()
    return 1e12 if (spec.data.train_size or 0) > 200 and spec.corruption.name == RANDOM else law(spec)


def test_bounds_are_counted_and_told(tmp_path: Path) -> None:
    check = checked(tmp_path, wall)
    found = findings(check)
    assert found["censored"] == 3 and found["sizes"][-1]["random"]["fitted"] == 0
    assert any("lower bounds" in note for note in found["notes"])
    assert "≥" in render_check(found)
    assert any("lower bound" in remark for chart in check_charts(check, found) for remark in chart.remarks)


def test_a_wall_is_not_carried_on(tmp_path: Path) -> None:
    found = findings(checked(tmp_path, wall))
    assert found["random"]["source"] == "at least" and found["random"]["high"] is None and found["ratio"] is None
    assert found["real"]["source"] == "extrapolated"
    assert "did not fit random labels on 256 examples" in found["answer"] and "nothing is carried on" in found["answer"]


def test_whole_data_that_is_not_fitted_is_said_so(tmp_path: Path) -> None:
    asked = question(target=256)
    found = findings(checked(tmp_path, wall, asked))
    assert found["random"]["source"] == "at least"
    assert "did not fit random labels on all 256" in found["answer"]


@pytest.mark.parametrize(
    ("oracle", "rates", "words"),
    [
        (lambda spec: math.inf, (0.1, 0.01), "diverged on 32 examples at every learning rate tried (0.1, 0.01)"),
        (lambda spec: 1e12, (0.1,), "did not fit random labels on even 32 examples"),
        (
            lambda spec: math.inf if spec.seed < PILOT_SEED else 20.0,
            (0.1,),
            "examples at a learning rate of 0.1, so nothing is carried on",
        ),
    ],
)
def test_no_answer_is_one_sentence(tmp_path: Path, oracle: Oracle, rates: tuple[float, ...], words: str) -> None:
    check = checked(tmp_path, oracle, question(rates=rates))
    found = findings(check)
    assert words in found["answer"] and sentences(found["answer"]) == 1
    assert "learning_rate" in found["answer"] and found["random"] is None
    assert found["answer"] in write_check(check, found).read_text(encoding="utf-8")
    assert render_check(found).startswith(found["answer"][:40])


def test_too_little_time_says_how_much_is_needed(tmp_path: Path) -> None:
    found = findings(checked(tmp_path, PowerLaw(), question(minutes=0.3, target=50_000), pace=0.1))
    assert found["random"] is None and found["minutes_needed"] > 0.3
    assert f"--minutes {found['minutes_needed']:g}" in found["answer"]


def test_a_wide_interval_is_told_as_a_range(tmp_path: Path) -> None:
    found = findings(checked(tmp_path, PowerLaw(), question(minutes=0.6, target=10**6)))
    assert found["random"]["high"] > 10 * found["random"]["low"]
    assert found["random"]["high"] > VAGUE * found["random"]["low"]
    assert "cannot be told from so few" in found["answer"] and "whole data set" not in found["answer"]
    assert "between" in found["answer"] and any("interval is wide" in note for note in found["notes"])


def test_the_pictures_can_be_drawn(tmp_path: Path) -> None:
    check = checked(tmp_path, PowerLaw())
    charts = check_charts(check, findings(check))
    assert [chart.name for chart in charts] == ["times", "capacity"]
    for chart in charts:
        assert to_svg(chart).startswith("<svg") and to_png(chart).startswith(b"\x89PNG")
        assert chart.reading.endswith(".")
        titles = re.findall(r'"title": "([^"]+)"', json.dumps(chart.spec))
        assert any("updates" in title or "probability" in title for title in titles)


def test_the_page_is_the_same_again_and_names_are_escaped(tmp_path: Path) -> None:
    base = question().base
    asked = question(base=base.model_copy(update={"model": ModelSpec(name=HOSTILE)}), target=1000)
    check = checked(tmp_path, PowerLaw(), asked)
    found: dict[str, Any] = findings(check)
    path = write_check(check, found)
    page = path.read_text(encoding="utf-8")
    own = page.replace(runtime(), "")
    assert len(own) < len(page) and HOSTILE not in own and "<img" not in own and "&lt;script&gt;" in own
    write_check(check, found)
    assert path.read_text(encoding="utf-8") == page
    assert json.loads((path.parent / "summary.json").read_text(encoding="utf-8")) == json.loads(json.dumps(found))
