"""Trackers for `shattering.watch`: ``TensorBoard``, ``WandB``, ``MLflow``, and the protocol that your own follows."""

from __future__ import annotations

from shattering.watching.trackers import MLflow, TensorBoard, Tracker, WandB

__all__ = ["MLflow", "TensorBoard", "Tracker", "WandB"]
