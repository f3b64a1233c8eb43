"""A store with a plan of six runs, half of them ended, and a client of its page."""

from __future__ import annotations

from pathlib import Path

import pytest
from serving_demo import Client, commit, demo_plan, demo_specs

from shattering.serving import kept
from shattering.store.store import Store
from tiny_runs import register_study


@pytest.fixture(autouse=True)
def no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every question is answered anew."""
    monkeypatch.setattr(kept, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(kept, "REST", 0.0)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    register_study(monkeypatch, lambda request: demo_specs())
    store = Store.open(tmp_path / "store", write=True)
    store.save_plan(demo_plan(demo_specs()))
    for spec in demo_specs()[:3]:
        commit(store, spec)
    return store


@pytest.fixture
def client(store: Store) -> Client:
    return Client(store.root)


@pytest.fixture
def plan(client: Client) -> str:
    """Identifier of the plan."""
    key: str = client.ask("/overview").tree["plans"][0]["id"]
    return key
