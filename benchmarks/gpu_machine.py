"""What the scripts for a GPU share: which device there is, images where there are no others, runs and their records."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shattering.core.record import Record
from shattering.core.spec import RunSpec
from shattering.execution.plan import Planned, plan_study
from shattering.execution.provenance import processor
from shattering.execution.study import run_plan

NOT_ON_A_GPU = "NOT RUN ON A GPU: a small form on the CPU, which shows that the script works and says nothing of speed."


def device_name() -> str | None:
    """The GPU that PyTorch uses; none where there is none."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def announce(quick: bool) -> tuple[str, bool]:
    """Prints where this runs; returns the device and whether the form is the small one.

    Without a GPU there is only the small one, and a script asked for the other ends here.
    """
    name = device_name()
    if name is None:
        if not quick:
            raise SystemExit("There is no CUDA device here; give --quick for the small form on the CPU.")
        print(f"{NOT_ON_A_GPU} Processor: {processor()}; torch {torch.__version__}.", flush=True)
        return "cpu", True
    form = "the small form" if quick else "the full form"
    print(f"GPU: {name}; torch {torch.__version__}; {form}.", flush=True)
    return "cuda", quick


def random_images(folder: Path, train: int, test: int, shape: tuple[int, int, int] = (32, 32, 3)) -> Path:
    """An ``.npz`` of uniform bytes and labels in the form of CIFAR-10: as long to train on, and nothing to learn."""
    generator = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for split, count in (("train", train), ("test", test)):
        arrays[f"x_{split}"] = generator.integers(0, 256, (count, *shape), dtype=np.uint8)
        arrays[f"y_{split}"] = generator.integers(0, 10, count)
    path = folder / "cifar10_random_images.npz"  # the study crops what is called CIFAR to 28 pixels
    np.savez(path, **arrays)
    return path


@contextmanager
def data_folder(data: str, quick: bool) -> Any:
    """The data to name: those asked for, or random images in a folder that goes with the context."""
    with tempfile.TemporaryDirectory() as folder:
        if data == "random" or quick:
            yield str(random_images(Path(folder), *((512, 64) if quick else (50_000, 10_000))))
        else:
            yield data


@contextmanager
def stepping(way: str) -> Any:
    """Runs that begin meanwhile are asked to go this way."""
    before = os.environ.get("SHATTERING_STEPPER")
    os.environ["SHATTERING_STEPPER"] = way
    try:
        yield
    finally:
        if before is None:
            del os.environ["SHATTERING_STEPPER"]
        else:
            os.environ["SHATTERING_STEPPER"] = before


def paper_plan(data: str, data_dir: Path | None, overrides: dict[str, Any], device: str) -> Planned:
    """Table 1 and Figure 1 by the published protocol, one seed."""
    return plan_study(
        "zhang2017-random-labels",
        data=data,
        data_dir=data_dir,
        scale="paper",
        seeds=1,
        overrides=overrides,
        device="cuda" if device == "cuda" else "cpu",
    )


def recorded(planned: Planned, specs: Sequence[RunSpec], out: Path, jobs: int) -> tuple[dict[str, Record], float]:
    """Runs some specs of a plan into a store: their records by digest, and the seconds from the first to the last."""
    some = replace(planned, plan=replace(planned.plan, specs=tuple(specs)))
    outcome = run_plan(some, out=out, jobs=jobs)
    records = {record.digest: record for record in outcome.store.records([spec.digest for spec in specs])}
    return records, outcome.seconds


def machine() -> dict[str, Any]:
    """Facts of this machine for a saved result."""
    import platform

    facts = {"processor": processor(), "python": platform.python_version(), "torch": torch.__version__}
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        facts |= {"device": properties.name, "device_bytes": properties.total_memory, "cuda": torch.version.cuda}
    return facts


def save(path: Path, found: dict[str, Any]) -> None:
    """Writes a result as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine(), **found}, indent=2) + "\n", encoding="utf-8")
    print(f"saved to {path}")
