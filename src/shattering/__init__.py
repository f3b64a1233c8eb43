"""Shattering: why do networks that can fit pure noise generalise at all, and does yours?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shattering.core.version import VERSION

if TYPE_CHECKING:
    from shattering.api import coherence as coherence
    from shattering.api import report as report
    from shattering.api import run as run

__version__ = VERSION
__all__ = ["__version__", "coherence", "report", "run"]


def __getattr__(name: str) -> Any:
    """Loads the public functions on first use, so that ``import shattering`` costs nothing."""
    if name in ("coherence", "report", "run"):
        from shattering import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
