"""Callbacks for trainers of other packages, each of which is imported when its callback is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from shattering.core.errors import SpecError

if TYPE_CHECKING:
    from shattering.watching.lightning import LightningWatch as LightningWatch
    from shattering.watching.transformers import TransformersWatch as TransformersWatch

__all__ = ["LightningWatch", "TransformersWatch"]

_HOMES = {"LightningWatch": "lightning", "TransformersWatch": "transformers"}


def __getattr__(name: str) -> Any:
    """Loads a callback, and the package it is for; raises `SpecError` where that is not installed."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    package = _HOMES[name]
    try:
        return getattr(import_module(f"shattering.watching.{package}"), name)
    except ImportError as error:
        raise SpecError(
            "integration-not-installed", f"{name} needs the package {package} ({error}); pip install {package}."
        ) from error
