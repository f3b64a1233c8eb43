"""Experiment trackers that the numbers of a watched training may go to as well, each imported when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from shattering.core.errors import SpecError

PREFIX = "watch/"
"""Begins the name of every number in a tracker, so that it stands apart from the training's own."""


class Tracker(Protocol):
    """Takes numbers as they are measured."""

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        """Takes the numbers of one measurement, by name, after ``step`` updates."""

    def close(self) -> None:
        """Is told that no more will come."""


class TensorBoard:
    """Writes event files for TensorBoard.

    Args:
        folder: where to.

    Raises:
        SpecError: ``tracker-not-installed``.
    """

    def __init__(self, folder: str | Path) -> None:
        _need("tensorboard", "tensorboard")
        self._writer = _need("torch.utils.tensorboard", "tensorboard").SummaryWriter(str(folder))

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        """Adds a scalar for each number."""
        for name, value in numbers.items():
            self._writer.add_scalar(PREFIX + name, value, step)

    def close(self) -> None:
        """Ends the event file."""
        self._writer.close()


class WandB:
    """Logs to a run of Weights & Biases: the one given, else the present one, else a new one, which is then finished.

    Its history has one running number for all that is logged, so the step stands beside the numbers, as ``watch/step``.

    Args:
        run: what ``wandb.init`` gave.
        arguments: of ``wandb.init``, for a new one (``project="…"``, ``mode="offline"``).

    Raises:
        SpecError: ``tracker-not-installed``.
    """

    def __init__(self, run: Any = None, **arguments: Any) -> None:
        self._own = False
        if run is None:
            wandb = _need("wandb", "wandb")
            self._own = wandb.run is None
            run = wandb.init(**arguments) if self._own else wandb.run
        self._run: Any = run

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        """Logs the numbers and the step."""
        self._run.log({PREFIX + name: value for name, value in numbers.items()} | {f"{PREFIX}step": step})

    def close(self) -> None:
        """Finishes the run, if it was made here."""
        if self._own:
            self._run.finish()


class MLflow:
    """Logs to the active run of MLflow, or to a new one, which is then ended.

    Args:
        run_id: of a run to log to instead.

    Raises:
        SpecError: ``tracker-not-installed``.
    """

    def __init__(self, run_id: str | None = None) -> None:
        self._mlflow = _need("mlflow", "mlflow")
        active = self._mlflow.active_run()
        self._own = run_id is None and active is None
        self._id = run_id or (active or self._mlflow.start_run()).info.run_id

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        """Logs a metric for each number."""
        self._mlflow.log_metrics({PREFIX + name: value for name, value in numbers.items()}, step=step, run_id=self._id)

    def close(self) -> None:
        """Ends the run, if it was begun here."""
        if self._own:
            self._mlflow.end_run()


def _need(module: str, package: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise SpecError(
            "tracker-not-installed", f"The tracker needs the package {package} ({error}); pip install {package}."
        ) from error
