"""A store of synthetic runs, and a browser made of nothing but ASGI messages, which asks exactly what it is told to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from shattering.core.plan import Plan
from shattering.core.record import Record, Status
from shattering.core.spec import RunSpec, parse_spec
from shattering.core.study import DataFacts, Request
from shattering.serving.app import make_app
from shattering.serving.guard import Access
from shattering.serving.watch import Watch
from shattering.store.store import Store

PORT = 8765
HOST = f"127.0.0.1:{PORT}"


def demo_specs(seeds: int = 3, **fields: Any) -> list[RunSpec]:
    return [
        parse_spec({"corruption": {"name": name}, "seed": seed, **fields})
        for name in ("true_labels", "random_labels")
        for seed in range(seeds)
    ]


def demo_plan(specs: Sequence[RunSpec], study: str = "tiny-study", command: str = "shattering run tiny-study") -> Plan:
    facts = DataFacts("digits", 64, 32, (64,), 10, "0" * 64)
    return Plan(study, Request("small", facts, None, (), "cpu"), tuple(specs), {}, command)


def rows_of(spec: RunSpec, steps: Sequence[int] = (0, 1, 10)) -> tuple[dict[str, float], ...]:
    test = 0.9 if spec.corruption.name == "true_labels" else 0.1
    return tuple(
        {
            "step": step,
            "epoch": step / 2,
            "train_accuracy": step / 10,
            "test_accuracy": test * step / 10 + spec.seed / 100,
        }
        for step in steps
    )


def commit(store: Store, spec: RunSpec, status: Status = Status.DONE, steps: Sequence[int] = (0, 1, 10)) -> None:
    record = Record(spec, status, rows_of(spec, steps), {"steps": steps[-1]}, provenance={"seconds": 0.5})
    lease = store.lease(spec.digest)
    assert lease is not None
    with lease:
        assert store.put(record, lease)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def tree(self) -> Any:
        return json.loads(self.body)


class Client:
    """Asks an application as a browser on this machine would that has been let in.

    Args:
        root: the store's folder.
    """

    def __init__(self, root: Path) -> None:
        self.access = Access(frozenset({HOST, f"localhost:{PORT}"}), PORT)
        self.watch = Watch(Store.open(root, write=False))
        self.app = make_app(self.watch, self.access)

    def ask(
        self, target: str, method: str = "GET", known: bool = True, headers: Sequence[tuple[str, str]] | None = None
    ) -> Answer:
        """What comes back for a target as it stands in the request line, decoded as the server does it."""
        raw, _, query = target.partition("?")
        given = [("host", HOST)] if headers is None else list(headers)
        if known:
            given.append(("cookie", f"other=1; {self.access.cookie}={self.access.session}"))
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(raw),
            "raw_path": raw.encode("latin-1"),
            "query_string": query.encode("latin-1"),
            "root_path": "",
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in given],
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", PORT),
        }
        return asyncio.run(self._exchange(scope))

    async def _exchange(self, scope: dict[str, Any]) -> Answer:
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        start = sent[0]
        headers = {name.decode().lower(): value.decode() for name, value in start["headers"]}
        return Answer(start["status"], headers, b"".join(message.get("body", b"") for message in sent[1:]))
