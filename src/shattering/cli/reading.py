"""The commands that read a store: ``report``, ``compare`` and ``show``."""

from __future__ import annotations

from shattering.cli.options import COMMON, Common


def report(store: str, /, *, common: Common = COMMON) -> int:
    """Write the report of a store's results again, and print its summary."""
    return 0


def compare(*stores: str, common: Common = COMMON) -> int:
    """Set the results of studies beside one another."""
    return 0


def show(store: str, run: str | None = None, /, *, common: Common = COMMON) -> int:
    """List the runs of a store, or tell everything about one."""
    return 0
