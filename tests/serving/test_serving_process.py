"""The command as a process of its own: one real socket, on this machine alone."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from shattering.cli.main import main
from shattering.core.errors import SpecError, StoreError
from shattering.serving.server import access_for, address_of, listen
from shattering.store.store import Store

SECRET = "canary-of-the-environment"


def raw(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(request)
        said = b""
        while more := connection.recv(65536):
            said += more
    return said


def test_a_real_server_from_start_to_end(store: Store) -> None:
    words = [sys.executable, "-m", "shattering", "serve", str(store.root), "--json"]
    environment = {**os.environ, "CANARY_TOKEN": SECRET}
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            line = ""
            while not line.endswith("}\n"):
                line += process.stdout.readline()
            address = json.loads(line)["address"]
            match = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/\?token=([\w-]{43,})", address)
            assert match is not None
            port, token = int(match[1]), match[2]
            said: list[bytes] = []
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            connection.request("GET", "/overview")
            first = connection.getresponse()
            said.append(first.read())
            connection.request("GET", f"/?token={token}")
            second = connection.getresponse()
            said.append(second.read())
            cookie = str(second.getheader("set-cookie")).partition(";")[0]
            connection.request("GET", "/overview", headers={"Cookie": cookie})
            third = connection.getresponse()
            said.append(third.read())
            connection.request("DELETE", "/overview", headers={"Cookie": cookie})
            fourth = connection.getresponse()
            said.append(fourth.read())
            assert [first.status, second.status, third.status, fourth.status] == [401, 303, 200, 405]
            assert json.loads(said[2])["plans"][0]["planned"] == 6
            assert third.getheader("server") is None
            head = f"Host: 127.0.0.1:{port}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n".encode()
            for target in (b"/../page.html", b"/%2e%2e%2fsecret", b"http://evil.example/overview", b"/page.js#x"):
                said.append(raw(port, b"GET " + target + b" HTTP/1.1\r\n" + head))
                assert said[-1].startswith(b"HTTP/1.1 404")
            for request in (
                b"GET /overview HTTP/1.0\r\n\r\n",
                b"GET /overview HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
            ):
                said.append(raw(port, request))
                assert re.match(rb"HTTP/1.1 40[03]", said[-1])
            said.append(raw(port, b"\x16\x03\x01 nonsense\r\n\r\n"))
            assert said[-1].startswith(b"HTTP/1.1 400")
            # Only the one address listens, not another one of the same machine.
            with pytest.raises(OSError):
                socket.create_connection(("127.0.0.2", port), timeout=5)
            connection.close()
        finally:
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert token not in err and cookie.partition("=")[2] not in err
    assert SECRET not in line + out + err
    assert not any(SECRET.encode() in each or token.encode() in each for each in said)


def test_a_name_for_every_address_is_refused(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    for host in ("0.0.0.0", "::", "no such host"):
        with pytest.raises(SpecError) as caught:
            listen(host, 0)
        assert caught.value.identifier == "serve-host"
    assert main(["serve", str(store.root), "--host", "0.0.0.0"]) == 2
    assert "stands for every address" in capsys.readouterr().err


def test_a_port_that_is_taken(store: Store) -> None:
    with listen("127.0.0.1", 0) as bound, pytest.raises(StoreError) as caught:
        listen("127.0.0.1", bound.getsockname()[1])
    assert caught.value.identifier == "port-taken"


def test_only_the_names_of_the_socket_are_allowed() -> None:
    with listen("127.0.0.1", 0) as bound:
        port = bound.getsockname()[1]
        access = access_for(bound, "127.0.0.1")
        assert access.hosts == {f"127.0.0.1:{port}", f"localhost:{port}"}
        assert address_of(access, "127.0.0.1") == f"http://127.0.0.1:{port}/?token={access.token}"
    with listen("127.0.0.2", 0) as bound:
        port = bound.getsockname()[1]
        assert access_for(bound, "127.0.0.2").hosts == {f"127.0.0.2:{port}"}


@pytest.mark.parametrize(("words", "code", "told"), [
    (["serve", "{0}", "--port", "70000"], 2, "option-wrong-value"),
    (["serve", "{0}/absent"], 5, "store"),
    (["serve"], 2, "missing-argument"),
])  # fmt: skip
def test_what_is_wrong_is_said(
    store: Store, capsys: pytest.CaptureFixture[str], words: list[str], code: int, told: str
) -> None:
    assert main([word.format(store.root) for word in words]) == code
    assert f"error [{told}" in capsys.readouterr().err


def test_without_the_framework_one_sentence_says_how_to_get_it(
    store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "starlette" else real(name))
    assert main(["serve", str(store.root)]) == 5
    told = capsys.readouterr().err
    assert "error [serve-missing]" in told
    assert "pip install 'shattering[serve]'" in told


def test_elsewhere_than_on_this_machine_is_warned_of(
    store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Bound:
        def getsockname(self) -> tuple[str, int]:
            return "192.0.2.7", 8765

    monkeypatch.setattr("shattering.serving.server.listen", lambda host, port: Bound())
    monkeypatch.setattr("shattering.serving.server.serve", lambda store, bound, access, started: started())
    assert main(["serve", str(store.root), "--host", "192.0.2.7"]) == 0
    captured = capsys.readouterr()
    assert "Warning" in captured.err and "not" not in captured.out
    assert captured.out.startswith("http://192.0.2.7:8765/?token=")
