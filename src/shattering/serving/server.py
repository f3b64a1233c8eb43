"""Listening on this machine alone, unless told otherwise, until it is stopped."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable

from shattering.core.errors import SpecError, StoreError
from shattering.serving.guard import Access
from shattering.serving.watch import Watch
from shattering.store.store import Store

LOOPBACK = "127.0.0.1"
MOST_CONNECTIONS = 64


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to one address.

    Args:
        host: an address, or a name of one; not one that stands for all, since requests must name it.
        port: 0: any that is free.

    Raises:
        SpecError: ``serve-host`` for what is no single address of this machine.
        StoreError: ``port-taken`` where the port cannot be had.
    """
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        every = ipaddress.ip_address(str(place[0]).partition("%")[0]).is_unspecified
    except (OSError, UnicodeError, ValueError):
        raise SpecError("serve-host", f"--host {host!r} is no address that this machine knows; leave it out.") from None
    if every:
        told = f"--host {host} stands for every address; give the one that others type to reach this machine."
        raise SpecError("serve-host", told)
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(place)
        bound.listen(MOST_CONNECTIONS)
    except OSError as error:
        bound.close()
        told = f"{host}:{port} cannot be listened on ({error.strerror}); choose another --port, or leave it out."
        raise StoreError("port-taken", told) from None
    return bound


def access_for(bound: socket.socket, host: str) -> Access:
    """A new token for a bound socket, and the names by which it may be asked."""
    address, port = bound.getsockname()[:2]
    names = {host.lower(), str(address).lower()} | ({"localhost"} if address == LOOPBACK else set())
    return Access(frozenset(f"{_bracketed(name)}:{port}" for name in names), port)


def address_of(access: Access, host: str) -> str:
    """What to open: with the token, so for nobody else's eyes."""
    return f"http://{_bracketed(host)}:{access.port}/?token={access.token}"


def serve(store: Store, bound: socket.socket, access: Access, started: Callable[[], None]) -> None:
    """Shows a store until the process gets SIGINT or SIGTERM, which is then passed on.

    Args:
        store: open for reading.
        bound: from `listen`.
        access: from `access_for`.
        started: called when the page can be opened.
    """
    import uvicorn

    from shattering.serving.app import make_app

    config = uvicorn.Config(
        make_app(Watch(store), access),
        http="h11",
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,  # a request's address holds the token once
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=1,
    )
    with bound:
        started()
        server = uvicorn.Server(config)
        server.run(sockets=[bound])
        if server.should_exit:  # by Ctrl-C; whether that comes out of `run` depends on what the loop was at
            raise KeyboardInterrupt


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
