"""Who may ask, from where, and how: what stands between the network and the views.

A page that somebody visits can make its browser ask any address, ours included, and can give its own name our address.
So every request, of whatever method, must name us as its host, must not come from a page of another origin, must be a
mere reading, and must know the secret of this start.
"""

from __future__ import annotations

import hmac
import re
import secrets
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

OWN_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy of our own page: its script and its style, and nothing from anywhere else."""

REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Of written reports, whose scripts are inside: they run as if from nowhere, so they can read nothing else here."""

HEADERS = {
    "content-security-policy": OWN_POLICY,
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
"""Of every answer, refusals included; a view may only give another policy."""

_PLAIN = re.compile(rb"[A-Za-z0-9/._-]*")


@dataclass(frozen=True)
class Access:
    """What one start of the server lets in.

    Args:
        hosts: ``address:port`` as requests must name it, lower case; there is no other name.
        port: where it listens.
        token: in the address that the terminal shows.
        session: what a browser keeps in place of the token.
    """

    hosts: frozenset[str]
    port: int
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    session: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    @property
    def cookie(self) -> str:
        """Name of the cookie; cookies do not know ports, so two servers need two names."""
        return f"shattering-{self.port}"

    def names_us(self, hosts: list[str]) -> bool:
        """Whether the one Host header is one of ours, port included."""
        if len(hosts) != 1:
            return False
        host = hosts[0].lower()
        return host in self.hosts or (self.port == 80 and f"{host}:80" in self.hosts)

    def is_token(self, given: str) -> bool:
        """Whether this is the token; takes as long for any other."""
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.token.encode())

    def is_known(self, cookies: list[str]) -> bool:
        """Whether a cookie of this start is among the Cookie headers."""
        known = False
        for pair in ";".join(cookies).split(";"):
            name, _, value = pair.strip().partition("=")
            if name == self.cookie:
                known |= hmac.compare_digest(value.encode("utf-8", "replace"), self.session.encode())
        return known


class Guard:
    """An ASGI application that lets what is allowed through to another one.

    Args:
        app: answers what is let through.
        access: what is.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app = app
        self.access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                missing = [(name.encode(), text.encode()) for name, text in HEADERS.items()]
                message["headers"] = [*message["headers"], *(pair for pair in missing if pair[0] not in given)]
            await send(message)

        answer = self._answer(scope) or self.app
        await answer(scope, receive, send_guarded)

    def _answer(self, scope: Scope) -> Response | None:
        """The refusal, or the way in; none for a request that may pass."""
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        hosts = headers.get("host", [])
        if not self.access.names_us(hosts):
            return _refusal(403, "This server answers only to the address that its terminal shows.")
        origins, sites = headers.get("origin", []), headers.get("sec-fetch-site", [])
        foreign = any(origin.lower() != f"http://{hosts[0].lower()}" for origin in origins)
        if foreign or any(site not in ("same-origin", "none") for site in sites):
            return _refusal(403, "Another page asked; copy the address from the terminal into the address bar.")
        if scope["method"] not in ("GET", "HEAD"):
            return _refusal(405, "This server only shows; nothing can be changed here.", {"allow": "GET, HEAD"})
        query = scope.get("query_string", b"")
        if scope["path"] == "/" and query:
            return self._way_in(query)
        if not self.access.is_known(headers.get("cookie", [])):
            return _refusal(401, "Open the whole address that the terminal shows, with its token.")
        if query or not _PLAIN.fullmatch(scope.get("raw_path") or scope["path"].encode()):
            return _refusal(404, "There is nothing here.")
        return None

    def _way_in(self, query: bytes) -> Response:
        """Takes the token out of the address, so that it is neither seen nor bookmarked, and puts a cookie in place."""
        try:
            given = parse_qs(query.decode("ascii"), keep_blank_values=True, max_num_fields=4)
        except ValueError:
            given = {}
        tokens = given.get("token", [])
        if set(given) != {"token"} or len(tokens) != 1 or not self.access.is_token(tokens[0]):
            return _refusal(
                401, "The token in the address is not that of this server; it has a new one at every start."
            )
        answer = RedirectResponse("/", status_code=303)
        answer.set_cookie(self.access.cookie, self.access.session, path="/", httponly=True, samesite="strict")
        return answer


def _refusal(status: int, words: str, headers: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(f"{words}\n", status_code=status, headers=headers)
