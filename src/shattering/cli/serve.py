"""``shattering serve``: a live page over a store, for one person on one machine."""

from __future__ import annotations

import importlib.util
import ipaddress
from pathlib import Path

from shattering.cli.options import COMMON, Common
from shattering.cli.output import emit, emit_json, tell
from shattering.core.errors import SpecError, StoreError

NEEDED = ("starlette", "uvicorn")


def serve(folder: str, /, *, port: int = 0, host: str | None = None, common: Common = COMMON) -> None:
    """Show a store in the browser while its runs are computed: progress, curves, claims.

    Only this machine can open the page, and only with the token in the address that is printed. Nothing is changed.
    Stop it with Ctrl-C.

    Parameters
    ----------
    folder
        The store.
    port
        Where to listen; without it, any port that is free.
    host
        Listen on this address in place of 127.0.0.1, so that others can reach the page, unencrypted.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        told = f"The page needs {' and '.join(missing)}; install them with `pip install 'shattering[serve]'`."
        raise StoreError("serve-missing", told)
    if not 0 <= port < 65536:
        raise SpecError("option-wrong-value", f"--port {port} is no port; give one from 1 to 65535, or leave it out.")

    from shattering.serving.server import LOOPBACK, access_for, address_of, listen
    from shattering.serving.server import serve as show
    from shattering.store.store import Store

    store = Store.open(Path(folder), write=False)
    name = host or LOOPBACK
    bound = listen(name, port)
    access = access_for(bound, name)
    address = address_of(access, name)

    def started() -> None:
        if common.json:
            emit_json({"store": str(store.root), "address": address})
        else:
            emit(address)

    if not ipaddress.ip_address(bound.getsockname()[0].partition("%")[0]).is_loopback:
        tell(
            f"Warning: whoever reaches {name} and reads the traffic can read the token and the page, since nothing is "
            "encrypted; prefer a tunnel, such as ssh -L."
        )
    if not common.quiet:
        tell("Open this address; it holds a token of this start, so keep it to yourself. Ctrl-C stops.")
    show(store, bound, access, started)
