"""Shattering: why do networks that can fit pure noise generalise at all, and does yours?"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from shattering.core.version import VERSION

if TYPE_CHECKING:
    from shattering.api import audit as audit
    from shattering.api import report as report
    from shattering.api import results as results
    from shattering.api import run as run
    from shattering.api import shatter as shatter
    from shattering.api import sweep as sweep
    from shattering.api import watch as watch
    from shattering.gradients.coherence import coherence as coherence

__version__ = VERSION
__all__ = ["__version__", "audit", "coherence", "report", "results", "run", "shatter", "sweep", "watch"]


_HOMES = {
    "audit": "shattering.api",
    "coherence": "shattering.gradients.coherence",
    "report": "shattering.api",
    "results": "shattering.api",
    "run": "shattering.api",
    "shatter": "shattering.api",
    "sweep": "shattering.api",
    "watch": "shattering.api",
}
_MODULES = ("integrations", "track")


def __getattr__(name: str) -> Any:
    """Loads the public functions on first use, so that ``import shattering`` costs nothing."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
