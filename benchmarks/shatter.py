"""Are the predictions of the pre-flight check right? Each against longer runs, larger than any that it saw.

For an MLP, the small Alexnet and a user's own network in a file: the check is run on CIFAR-10 as `shattering shatter`
runs it, then networks are trained on a subset several times larger than its largest, with seeds of their own, and their
times to fit are set beside the prediction and its interval. The three checks together should take less than 10 minutes
on two cores; how long they took, and how far ahead each prediction reached, is saved with the result.

    python benchmarks/shatter.py [--quick] [--data NAME] [--minutes-to-check M] [--models NAME …] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from shattering.core.capacity import BEND_OF_RATIO, Curve, checked_curve, ratio_points
from shattering.core.record import Record
from shattering.execution.capacity import Preflight, Prepared, prepare_check, run_check
from shattering.execution.capacity_design import chosen_rate
from shattering.execution.capacity_records import (
    RANDOM,
    REAL,
    of_sizes,
    paired,
    seen,
    size_of,
    step_seconds,
    time_curve,
)
from shattering.execution.provenance import provenance
from shattering.execution.signals import stop_on_signals
from shattering.execution.study import run_missing
from shattering.report.capacity import findings

RESULTS = Path(__file__).parent / "results" / "shatter.json"

OWN_FILE = '''\
"""A convolutional network of a user's own: two strided convolutions and two linear layers."""

from torch import nn


def build(input_shape, num_classes):
    channels, height, width = input_shape
    area = -(-height // 4) * -(-width // 4)
    return nn.Sequential(
        nn.Conv2d(channels, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(64 * area, 128), nn.ReLU(), nn.Linear(128, num_classes),
    )
'''

MINUTES = {"mlp_1x512": 1.5, "alexnet": 4.5, "own_network:build": 2.2}
"""Of training for each check; together with what surrounds it, less than ten."""

AHEAD = (8, 6, 4, 3, 2, 1.5)
"""How far beyond the largest subset the longer runs may lie: the first that the time allows."""

CHECK_SEED, CHECK_SEEDS = 20_000, 2


def main() -> None:
    """Runs the checks and the longer runs, prints them side by side, and saves them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a minute for each check, half of one for its longer runs")
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--minutes-to-check", type=float, default=1.5, help="for the longer runs of each network")
    parser.add_argument("--models", nargs="+", default=list(MINUTES), choices=list(MINUTES))
    parser.add_argument("--store", type=Path, help="keep the runs here; none: nowhere")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        # Workers import the user's file from the directory they are started in.
        (Path(folder) / "own_network.py").write_text(OWN_FILE)
        out, store = given.out.resolve(), given.store.resolve() if given.store else Path(folder) / "store"
        os.chdir(folder)
        rows = []
        for model in given.models:
            minutes = 1.0 if given.quick else MINUTES[model]
            checking = 0.5 if given.quick else given.minutes_to_check
            row = compare(model, given.data, minutes, checking, store)
            rows.append(row)
            print(told(row), flush=True)
    together = sum(row["check_seconds"] for row in rows)
    print(f"The {len(rows)} checks took {together / 60:.1f} min together.")
    out.parent.mkdir(parents=True, exist_ok=True)
    saved = {
        "data": given.data,
        "check_seconds": together,
        "networks": rows,
        "provenance": rows[0]["provenance"] if rows else {},
    }
    out.write_text(json.dumps(saved, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    print(f"saved: {out}")


def compare(model: str, data: str, minutes: float, checking: float, store: Path) -> dict[str, Any]:
    """One network: the check, then the longer runs, and what was predicted of them."""
    began = time.monotonic()
    prepared = prepare_check(model, data=data, minutes=minutes)
    check = run_check(prepared, out=store, quiet=True)
    found = findings(check)
    seconds = time.monotonic() - began
    kept = ("answer", "real", "random", "ratio", "capacity", "sizes", "settings", "runs", "ended", "notes", "n")
    row: dict[str, Any] = {
        "model": model,
        "check_seconds": seconds,
        **{name: found[name] for name in kept},
        "provenance": provenance(prepared.question.base),
        "longer": None,
    }
    curves = {
        REAL: time_curve(check.records, REAL)[0],
        RANDOM: time_curve(check.records, RANDOM)[0],
        "ratio": checked_curve(ratio_points(*paired(check.records)), bend=BEND_OF_RATIO)[0],
    }
    if all(curves.values()):
        row["longer"] = longer(prepared, check, {name: curve for name, curve in curves.items() if curve}, checking)
    return row


def longer(prepared: Prepared, check: Preflight, curves: dict[str, Curve], checking: float) -> dict[str, Any] | None:
    """Trains on a larger subset than the check saw, and compares."""
    question, records = prepared.question, check.records
    rate = chosen_rate(question, records)
    assert rate is not None
    largest = max(size_of(record) for record in of_sizes(records))
    each = step_seconds(of_sizes(records))
    for ahead in AHEAD:
        size = min(question.target, round(largest * ahead))
        steps = sum(curves[labels].predict(size).value for labels in (REAL, RANDOM))
        if steps * CHECK_SEEDS * each / question.jobs <= 60 * checking:
            break
    if size <= largest:
        return None
    # A run that takes longer than this is a miss on the high side, whatever it would have taken.
    budgets = {labels: min(2 * curves[labels].predict(size).high, 2.5 * steps) for labels in (REAL, RANDOM)}
    specs = tuple(
        question.run(size, labels, rate, budgets[labels], CHECK_SEED + seed)
        for seed in range(CHECK_SEEDS)
        for labels in (RANDOM, REAL)
    )
    began = time.monotonic()
    planned = replace(prepared.planned, plan=replace(prepared.planned.plan, specs=specs))
    with stop_on_signals() as stop:
        run_missing(planned, check.store, stop, jobs=question.jobs, quiet=True)
    ended = check.store.records(spec.digest for spec in specs)
    return {
        "examples": size,
        "ahead": size / largest,
        "seconds": time.monotonic() - began,
        "real": beside(curves[REAL], [r for r in ended if r.spec.corruption.name == REAL]),
        "random": beside(curves[RANDOM], [r for r in ended if r.spec.corruption.name == RANDOM]),
        "ratio": beside_ratio(curves["ratio"], ended, size),
    }


def beside(curve: Curve, ended: list[Record]) -> dict[str, Any]:
    """A prediction and what was seen."""
    predicted = curve.predict(size_of(ended[0]))
    times = [time for time in map(seen, ended) if time is not None]
    return {
        "predicted": predicted.value,
        "low": predicted.low,
        "high": predicted.high,
        "observed": [time.value for time in times],
        "bounds": sum(time.bound != "exact" for time in times),
        "inside": sum(predicted.low <= time.value <= predicted.high for time in times if time.bound == "exact"),
        "runs": len(ended),
        "factor": _mean([time.value for time in times]) / predicted.value,
    }


def beside_ratio(curve: Curve, ended: list[Record], size: int) -> dict[str, Any]:
    """The same for the ratio of the times of one seed."""
    times = {(record.spec.corruption.name, record.spec.seed): seen(record) for record in ended}
    seeds = sorted({seed for _, seed in times})
    pairs = ratio_points([times[RANDOM, seed] for seed in seeds], [times[REAL, seed] for seed in seeds])
    predicted = curve.predict(size)
    values = [pair.value for pair in pairs]
    return {
        "predicted": predicted.value,
        "low": predicted.low,
        "high": predicted.high,
        "observed": values,
        "bounds": sum(pair.bound != "exact" for pair in pairs),
        "inside": sum(predicted.low <= pair.value <= predicted.high for pair in pairs if pair.bound == "exact"),
        "runs": len(seeds),
        "factor": _mean(values) / predicted.value if values else None,
    }


def told(row: dict[str, Any]) -> str:
    """One network, to read."""
    lines = [f"\n{row['model']}: check of {row['check_seconds']:.0f} s", f"  {row['answer']}"]
    if row["longer"] is None:
        return "\n".join([*lines, "  no prediction to compare"])
    at = row["longer"]
    lines.append(f"  trained on {at['examples']:,} examples, {at['ahead']:.1f} times the largest subset of the check:")
    for name in ("real", "random", "ratio"):
        part = at[name]
        observed = ", ".join(f"{value:.4g}" for value in part["observed"])
        least = "≥ " if part["bounds"] else ""
        lines.append(
            f"    {name:7} predicted {part['predicted']:9.4g} [{part['low']:.4g}, {part['high']:.4g}]   seen "
            f"{least}{observed}   {part['inside']} of {part['runs']} inside"
        )
    return "\n".join(lines)


def _mean(values: list[float]) -> float:
    return math.exp(math.fsum(map(math.log, values)) / len(values))


if __name__ == "__main__":
    sys.exit(main())
