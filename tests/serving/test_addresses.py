"""What is at the addresses: the page, what the store tells, written reports, and nothing beside them."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import pytest
from serving_demo import HOST, Client, commit, demo_plan, demo_specs

from shattering.core.io import read_plain
from shattering.core.record import Record, Status
from shattering.store.store import Store

SECRET = "canary-of-a-secret"


def fingerprint(root: Path) -> dict[str, tuple[str, int]]:
    """Every file's bytes and every entry's time of change."""
    return {
        str(path.relative_to(root)): (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
            path.stat().st_mtime_ns,
        )
        for path in sorted(root.rglob("*"))
    }


@pytest.fixture
def written(store: Store) -> Path:
    """The written report of the plan."""
    path = store.report_dir(demo_plan(demo_specs())) / "index.html"
    path.parent.mkdir(parents=True)
    path.write_text("<p>a report</p>")
    (store.root / "secret").write_text(SECRET)
    return path


def test_the_page_and_its_parts(client: Client) -> None:
    kinds = {"/": "text/html", "/page.js": "text/javascript", "/chart.js": "text/javascript", "/page.css": "text/css"}
    for address, kind in kinds.items():
        answer = client.ask(address)
        assert answer.status == 200
        assert answer.headers["content-type"].startswith(kind)
    page = client.ask("/").body.decode()
    assert "<script>" not in page and "style=" not in page and "onclick" not in page and "http" not in page


ODD = (
    "/..", "/../page.html", "/%2e%2e/page.html", "/%252e%252e/page.html", "/..%2fpage.html", "/..%5cpage.html",
    "/..\\page.html", "//page.js", "/page.js/", "/./page.js", "/PAGE.JS", "/page.js%00", "/page.js%20",
    "/page.js?x=1", "/page.js#x", "/page.js%3fx", "/page.js%23x", "/page.html", "/app.py", "/guard.py", "/etc/passwd",
    "//etc/passwd", "/file:///etc/passwd", "/C:%5cWindows%5cwin.ini", "/C:/Windows/win.ini", "http://127.0.0.1:8765/",
    "/overview/", "/overview?x=1", "/plan/", "/plan/x", "/plan/{0}/", "/plan/{0}/curves/", "/plan/{0}/curves/-1",
    "/plan/{0}/curves/x", "/plan/{0}/curves/01", "/plan/{0}/curves/9999999999", "/plan/{0}/curves/%31",
    "/plan/../overview", "/plan/..%2f..%2fsecret", "*", "",
)  # fmt: skip
ODD_REPORTS = (
    "/plan/{0}/report/", "/plan/{0}/report?x=1", "/plan/{0}/report#x", "/plan/{0}/report%3fx", "/plan/{0}/report%00",
    "/plan/{0}%00/report", "/plan/{0}%3fx/report", "/plan/{0}%23x/report", "/plan/{0}%20/report", "/plan/{0}/./report",
    "/plan/{0}/../{0}/report", "/plan/%2e%2e/report", "/plan/%252e%252e/report", "/plan/../report",
    "/plan/..%2f{0}/report", "/plan/..%252f{0}/report", "/plan/..%5c{0}/report", "/plan/..\\{0}/report",
    "/plan//etc/passwd/report", "/plan/%2fetc%2fpasswd/report", "/plan/C:%5csecret/report",
    "/plan/tiny-study-digits-small/report", "/plan/{0}/report/figures/x.svg", "/plan/{0}/index.html",
    "/plan/{0}/secret", "/plan/{0}/report/..%2f..%2f..%2fsecret",
)  # fmt: skip


def test_nothing_else_is_there(client: Client, plan: str, written: Path) -> None:
    for address in ODD + ODD_REPORTS:
        answer = client.ask(address.format(plan))
        assert answer.status == 404, address
        assert SECRET.encode() not in answer.body


def test_the_report_is_shown_in_a_box(client: Client, plan: str, written: Path) -> None:
    answer = client.ask(f"/plan/{plan}/report")
    assert (answer.status, answer.body) == (200, b"<p>a report</p>")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts; default-src 'none'")
    assert "allow-same-origin" not in policy and "connect-src" not in policy and "'self'" not in policy
    assert client.ask(f"/plan/{plan}").tree["report"] is True


def test_no_report_through_links_or_pipes(client: Client, plan: str, written: Path, store: Store) -> None:
    address = f"/plan/{plan}/report"
    written.unlink()
    assert client.ask(address).status == 404
    written.symlink_to(store.root / "secret")
    assert client.ask(address).status == 404
    written.unlink()
    os.mkfifo(written)
    assert client.ask(address).status == 404
    written.unlink()
    written.mkdir()
    assert client.ask(address).status == 404
    written.rmdir()
    written.parent.rename(store.root / "elsewhere")
    (store.root / "elsewhere" / "index.html").write_text(SECRET)
    written.parent.symlink_to(store.root / "elsewhere")
    assert client.ask(address).status == 404
    written.parent.unlink()
    (store.root / "elsewhere").rename(written.parent)
    assert client.ask(address).status == 200


@pytest.mark.parametrize("parts", [(), ("..",), (".",), ("",), ("a", "..", "b"), ("/etc/passwd",), ("a/b",), ("a\0",)])
def test_names_that_are_paths_are_no_names(tmp_path: Path, parts: tuple[str, ...]) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_text("x")
    assert read_plain(tmp_path, *parts) is None
    assert read_plain(tmp_path, "a", "b") == b"x"


def test_what_has_not_changed_is_not_sent_again(client: Client, plan: str, store: Store) -> None:
    for address in ("/overview", f"/plan/{plan}", f"/plan/{plan}/curves/0"):
        tag = client.ask(address).headers["etag"]
        again = client.ask(address, headers=[("host", HOST), ("if-none-match", f'"x", {tag}')])
        assert (again.status, again.body) == (304, b"")
    commit(store, demo_specs()[3])
    fresh = client.ask(address, headers=[("host", HOST), ("if-none-match", tag)])
    assert fresh.status == 200


def test_looking_changes_nothing(client: Client, plan: str, store: Store, written: Path) -> None:
    store.put_failure(Record(demo_specs()[4], Status.FAILED, error={"identifier": "x", "message": "y"}))
    (store.root / "runs" / demo_specs()[0].digest / "metrics.jsonl").write_bytes(b"damaged")
    before = fingerprint(store.root)
    told = ""
    for _ in range(2):
        for address in ("/", "/overview", f"/plan/{plan}", f"/plan/{plan}/curves/0", f"/plan/{plan}/report"):
            answer = client.ask(address)
            assert answer.status == 200
            told += answer.body.decode()
    assert fingerprint(store.root) == before
    assert "damaged" in told


def test_no_code_of_the_user_is_imported(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "canary_network.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    specs = demo_specs(model={"name": "canary_network:build", "source": "0" * 64})
    store.save_plan(demo_plan(specs, command="shattering run canary"))
    commit(store, specs[0])
    client = Client(store.root)
    for each in client.ask("/overview").tree["plans"]:
        for address in (f"/plan/{each['id']}", f"/plan/{each['id']}/curves/0"):
            assert client.ask(address).tree["reading"] is False
    assert "canary_network" not in sys.modules


def test_an_error_of_a_view_tells_nothing_of_the_machine(
    client: Client, plan: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr("shattering.serving.watch.findings", fail)
    tree = client.ask(f"/plan/{plan}").tree
    assert tree["problems"] == ["This cannot be shown (RuntimeError: out of order)."]
    assert tree["planned"] == 6
