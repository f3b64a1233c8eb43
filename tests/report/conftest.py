"""The demo study under its name, for the length of a test."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from report_demo import demo_study

from shattering.core.study import Study, studies


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Study]:
    def register(payload: str = "") -> Study:
        studies.names()
        study = demo_study(payload)
        monkeypatch.setitem(studies._entries, study.name, study)
        return study

    return register
