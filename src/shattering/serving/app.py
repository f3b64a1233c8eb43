"""The addresses of the page: what each answers, and nothing else is there."""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from shattering.serving.guard import REPORT_POLICY, Access, Guard
from shattering.serving.watch import Watch

ASSETS = {
    "/": ("page.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/chart.js": ("chart.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
}


def make_app(watch: Watch, access: Access) -> Guard:
    """The application of one start.

    Args:
        watch: the store.
        access: who may ask.
    """

    def overview(request: Request) -> Response:
        return _json(request, watch.overview())

    def detail(request: Request) -> Response:
        return _json(request, watch.detail(request.path_params["plan"]))

    def curves(request: Request) -> Response:
        return _json(request, watch.curves(request.path_params["plan"], request.path_params["choice"]))

    def report(request: Request) -> Response:
        page = watch.report(request.path_params["plan"])
        if page is None:
            return _nothing()
        return Response(page, media_type="text/html", headers={"content-security-policy": REPORT_POLICY})

    app = Starlette(
        routes=[
            *(Route(address, _asset(name, kind)) for address, (name, kind) in ASSETS.items()),
            Route("/overview", overview),
            Route("/plan/{plan}", detail),
            Route("/plan/{plan}/curves/{choice}", curves),
            Route("/plan/{plan}/report", report),
        ],
        exception_handlers={404: lambda request, error: _nothing()},
    )
    app.router.redirect_slashes = False
    return Guard(app, access)


def _asset(name: str, kind: str) -> Any:
    content = files("shattering.serving").joinpath(name).read_bytes()

    async def asset(request: Request) -> Response:
        return Response(content, media_type=kind)

    return asset


def _json(request: Request, tree: dict[str, Any] | None) -> Response:
    """The tree, or that it is the one that the browser has."""
    if tree is None:
        return _nothing()
    body = json.dumps(tree, allow_nan=False, separators=(",", ":")).encode()
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    if tag in [each.strip() for each in request.headers.get("if-none-match", "").split(",")]:
        return Response(status_code=304, headers={"etag": tag})
    return Response(body, media_type="application/json", headers={"etag": tag})


def _nothing() -> Response:
    return PlainTextResponse("There is nothing here.\n", status_code=404)
