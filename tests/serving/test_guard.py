"""Who is let in: the attacks on a server that listens on this machine alone."""

from __future__ import annotations

import asyncio
import hmac
import itertools

import pytest
from serving_demo import HOST, PORT, Client

from shattering.serving.guard import HEADERS, OWN_POLICY, Access, Guard

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "")
HOSTS = (
    [],
    ["127.0.0.1"],
    ["127.0.0.1:80"],
    [f"127.0.0.1:0{PORT}"],
    [f"evil.example:{PORT}"],
    [f"127.0.0.1.evil.example:{PORT}"],
    [f"{HOST}.evil.example"],
    [f"{HOST}, evil.example"],
    [f"evil.example@{HOST}"],
    [f"localhost.:{PORT}"],
    [f"0.0.0.0:{PORT}"],
    [f"[::1]:{PORT}"],
    [f"{HOST} "],
    [HOST, HOST],
    [HOST, f"evil.example:{PORT}"],
)
FOREIGN = (
    ("origin", "null"),
    ("origin", ""),
    ("origin", "http://evil.example"),
    ("origin", f"https://{HOST}"),
    ("origin", "http://127.0.0.1"),
    ("origin", f"http://127.0.0.1:{PORT + 1}"),
    ("origin", f"http://{HOST}.evil.example"),
    ("origin", f"http://localhost:{PORT}"),
    ("sec-fetch-site", "cross-site"),
    ("sec-fetch-site", "same-site"),
    ("sec-fetch-site", ""),
)


@pytest.mark.parametrize("hosts", HOSTS)
def test_other_hosts_are_refused_whatever_the_method(client: Client, hosts: list[str]) -> None:
    for method in METHODS:
        answer = client.ask("/overview", method, headers=[("host", host) for host in hosts])
        assert answer.status == 403, method
        assert b"plans" not in answer.body


@pytest.mark.parametrize("header", FOREIGN)
def test_other_pages_are_refused_whatever_the_method(client: Client, header: tuple[str, str]) -> None:
    for method, address in itertools.product(METHODS, ("/overview", "/", f"/?token={client.access.token}")):
        answer = client.ask(address, method, headers=[("host", HOST), header])
        assert answer.status == 403, (method, address)
        assert "set-cookie" not in answer.headers


def test_nothing_but_reading(client: Client) -> None:
    addresses = ("/overview", f"/?token={client.access.token}", "/nowhere")
    for method, known, address in itertools.product(METHODS[2:], (True, False), addresses):
        answer = client.ask(address, method, known=known)
        assert answer.status == 405, (method, known, address)
        assert answer.headers["allow"] == "GET, HEAD"
        assert not any(name.startswith("access-control") for name in answer.headers)


@pytest.mark.parametrize("host", [HOST, f"localhost:{PORT}", f"LocalHost:{PORT}"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_own_requests_pass(client: Client, host: str, method: str) -> None:
    for extra in ([], [("origin", f"http://{host}"), ("sec-fetch-site", "same-origin")], [("sec-fetch-site", "none")]):
        answer = client.ask("/page.css", method, headers=[("host", host), *extra])
        assert answer.status == 200


def test_a_browser_leaves_the_usual_port_out() -> None:
    access = Access(frozenset({"127.0.0.1:80"}), 80)
    assert access.names_us(["127.0.0.1"])
    assert not access.names_us(["127.0.0.1:8080"])


@pytest.mark.parametrize(
    "address", ["/", "/overview", "/page.js", "/chart.js", "/page.css", "/plan/x", "/plan/x/report", "/nowhere", "/%2e"]
)
def test_without_the_cookie_nothing_is_told_apart(client: Client, address: str) -> None:
    answers = [
        client.ask(address, known=False),
        client.ask(address, known=False, headers=[("host", HOST), ("cookie", f"{client.access.cookie}=x")]),
        client.ask(address, known=False, headers=[("host", HOST), ("cookie", f"x={client.access.session}")]),
        client.ask(address, known=False, headers=[("host", HOST), ("cookie", f"{client.access.cookie}=\xff")]),
        client.ask(
            address, known=False, headers=[("host", HOST), ("authorization", f"Bearer {client.access.session}")]
        ),
    ]
    assert {answer.status for answer in answers} == {401}
    assert len({answer.body for answer in answers}) == 1


def test_the_token_is_exchanged_for_a_cookie(client: Client) -> None:
    answer = client.ask(f"/?token={client.access.token}", known=False)
    pieces = [piece.strip().lower() for piece in answer.headers["set-cookie"].split(";")]
    assert answer.status == 303
    assert answer.headers["location"] == "/"
    assert {"httponly", "samesite=strict", "path=/"} <= set(pieces)
    assert not any(piece.startswith("domain") for piece in pieces)
    assert client.access.token not in str(answer.headers)
    cookie = answer.headers["set-cookie"].partition(";")[0]
    assert client.ask("/", known=False, headers=[("host", HOST), ("cookie", cookie)]).status == 200


@pytest.mark.parametrize(
    "query", ["token=", "token=x", "token", "{0}", "token={0}x", "Token={0}", "token={0}&token={0}", "token={0}&a=1",
              "token=%ff", "token=\xff", "a=1", "a=1&b=1&c=1&d=1&e=1", "token={1}"]
)  # fmt: skip
def test_other_tokens_are_refused_even_of_those_inside(client: Client, query: str) -> None:
    answer = client.ask(f"/?{query.format(client.access.token, client.access.session)}")
    assert answer.status == 401
    assert "set-cookie" not in answer.headers


def test_every_start_has_its_own_secrets() -> None:
    ours, other = (Access(frozenset({HOST}), PORT) for _ in range(2))
    secrets = {ours.token, ours.session, other.token, other.session}
    assert len(secrets) == 4
    assert min(map(len, secrets)) >= 43  # 32 random bytes
    assert not any(secret in repr(ours) for secret in secrets)


def test_secrets_are_compared_in_constant_time(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []
    real = hmac.compare_digest

    def compare(given: bytes, wanted: bytes) -> bool:
        compared.append(wanted)
        return real(given, wanted)

    monkeypatch.setattr("shattering.serving.guard.hmac.compare_digest", compare)
    client.ask("/?token=x")
    client.ask("/")
    assert compared == [client.access.token.encode(), client.access.session.encode()]


def test_every_answer_has_the_headers(client: Client, plan: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tag = client.ask("/overview").headers["etag"]
    answers = [
        client.ask("/"),
        client.ask("/page.js"),
        client.ask(f"/plan/{plan}"),
        client.ask("/nowhere"),
        client.ask("/", known=False),
        client.ask("/", "POST"),
        client.ask("/", headers=[("host", "evil.example")]),
        client.ask(f"/?token={client.access.token}"),
        client.ask("/overview", headers=[("host", HOST), ("if-none-match", tag)]),
    ]
    assert [answer.status for answer in answers] == [200, 200, 200, 404, 401, 405, 403, 303, 304]
    for answer in answers:
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
        assert "server" not in answer.headers


def test_the_policy_lets_nothing_in_from_elsewhere() -> None:
    directives = dict(part.strip().split(" ", 1) for part in OWN_POLICY.split(";"))
    assert directives["default-src"] == directives["frame-ancestors"] == directives["form-action"] == "'none'"
    assert set(directives.values()) == {"'none'", "'self'", "data:"}


def test_other_protocols_are_closed(client: Client) -> None:
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    guard: Guard = client.app
    asyncio.run(guard({"type": "websocket", "path": "/", "headers": []}, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]
