"""Memorisation from trainings on random subsets, beside leaving every example out by itself.

Two hundred training digits, an MLP with 64 hidden units, trained to 100% training accuracy. Brute force: for each digit
the share of trainings on all 200 that get it right, less the share of trainings on the other 199, with many seeds each.
Estimate: Feldman and Zhang's, for all digits at once from trainings on random subsets of 70%, and of 90%, of the 200.
Said of both: rank correlation and error, and how far each agrees with itself, since no estimate can agree better with
noise than noise does; trainings and seconds.

The two are not the same quantity: a subset of 70% teaches less than 199 of 200 digits do, and what is left out is then
missed more often. That is the bias in the table; at 90% it should be smaller.

    python benchmarks/memorisation.py [--quick] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from shattering.core.spec import AT_ONCE, DataSpec, MeasureSpec, ModelSpec, RunSpec, TrainingSpec
from shattering.core.streams import Stream
from shattering.data.dataset import Splits
from shattering.data.load import load_data
from shattering.execution.control import Control
from shattering.execution.provenance import provenance
from shattering.execution.run import execute
from shattering.measures.memorisation import SubsetOutcomes, memorisation, subset_outcomes
from shattering.measures.memorised_share import THRESHOLD, memorised_share
from shattering.simulations.memorised_examples import area

RESULTS = Path(__file__).parent / "results" / "memorisation.json"
DIGITS, WIDTH = 200, 64
FRACTIONS = (0.7, 0.9)
PROCESSES, CHUNK = 2, 50
cpu_seconds = [0.0]
"""Spent on trainings so far by all processes; unlike the clock's, it does not depend on who else is at work."""

SOME = 0.05
"""Below it, rank correlation is mostly about the order of digits that hardly differ."""

ALONE = 1_000_000
"""Brute force takes its seeds from here on, so that the two share no chance."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the trainings; nothing is saved")
    parser.add_argument("--out", type=Path, default=None, help=f"where to save; {RESULTS} by default")
    given = parser.parse_args()
    seeds, subsets = (6, 400) if given.quick else (60, 4000)
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        gathered(pool, [{}] * PROCESSES)  # the first call compiles
        began = time.perf_counter()
        cpu_seconds[0] = 0.0
        whole = right_of_all(pool, seeds)
        without = right_without(pool, seeds)
        brute_seconds, brute_cpu = time.perf_counter() - began, cpu_seconds[0]
        brute = brute_force(whole, without)
        found = {f"{fraction:g}": against(pool, fraction, subsets, brute) for fraction in FRACTIONS}
    trainings = seeds * (DIGITS + 1)
    print(f"brute force: {trainings:,} trainings, {brute_cpu:.0f} CPU s; {told(brute['memorisation'])}")
    print(f"  agrees with itself: {brute['reliability']:.3f} (Spearman-Brown of its halves)")
    saved: dict[str, Any] = {
        "digits": DIGITS,
        "hidden_units": WIDTH,
        "processes": PROCESSES,
        "brute_force": {
            "trainings": trainings,
            "seeds": seeds,
            "seconds": round(brute_seconds, 1),
            "cpu_seconds": round(brute_cpu, 1),
            "reliability": brute["reliability"],
            "mean": float(brute["memorisation"].mean()),
            "share_above_0.25": float((brute["memorisation"] >= THRESHOLD).mean()),
            "share_exactly_0": float((brute["memorisation"] == 0).mean()),
            "share_above_0.05": float((brute["memorisation"] >= SOME).mean()),
            "memorisation": [round(float(value), 4) for value in brute["memorisation"]],
        },
        "estimates": found,
        "host": provenance(RunSpec(training=AT_ONCE)),
    }
    target = given.out or (None if given.quick else RESULTS)
    if target is not None:
        target.write_text(json.dumps(saved, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        print(f"saved: {target}")


def brute_force(whole: NDArray[np.bool_], without: NDArray[np.bool_]) -> dict[str, Any]:
    """Memorisation of each digit, its standard error, and how far the two halves of the seeds agree."""
    half = whole.shape[0] // 2
    parts = [whole[part].mean(0) - without[part].mean(0) for part in (slice(None, half), slice(half, None))]
    rate, kept = without.mean(0), whole.mean(0)
    error = np.sqrt((rate * (1 - rate) + kept * (1 - kept)) / len(whole))
    return {"memorisation": kept - rate, "error": error, "reliability": doubled(ranks(*parts))}


def against(pool: ProcessPoolExecutor, fraction: float, subsets: int, brute: dict[str, Any]) -> dict[str, Any]:
    """The estimate from subsets of a fraction, beside brute force."""
    began, before = time.perf_counter(), cpu_seconds[0]
    outcomes = right_on_subsets(pool, fraction, subsets)
    trained_seconds, trained_cpu = time.perf_counter() - began, cpu_seconds[0] - before
    began = time.perf_counter()
    estimate = memorisation(outcomes)
    estimate_seconds = time.perf_counter() - began
    share = memorised_share(outcomes)
    rows: dict[str, Any] = {}
    high, some = brute["memorisation"] >= THRESHOLD, brute["memorisation"] >= SOME
    for count in (200, 500, 1000, 2000, 4000):
        if count <= subsets:
            few = outcomes.of(np.arange(count))
            found = memorisation(few)
            halves = [memorisation(few.of(np.arange(start, count, 2))).value for start in (0, 1)]
            reliability = doubled(ranks(*halves))
            apart = found.value - brute["memorisation"]
            noise = np.sqrt(found.standard_error**2 + brute["error"] ** 2)
            rows[str(count)] = {
                "rank_correlation": ranks(found.value, brute["memorisation"]),
                "correlation": float(np.corrcoef(found.value, brute["memorisation"])[0, 1]),
                "rank_correlation_where_memorised": ranks(found.value[some], brute["memorisation"][some]),
                "finds_memorised": area(found.value[high], found.value[~high]),
                "reliability": reliability,
                "ceiling": float(np.sqrt(max(0.0, reliability) * max(0.0, brute["reliability"]))),
                "mean_absolute_error": float(np.abs(apart).mean()),
                "bias": float(apart.mean()),
                "mean_absolute_error_without_bias": float(np.abs(apart - apart.mean()).mean()),
                "expected_of_noise": float((np.sqrt(2 / np.pi) * noise).mean()),
                "mean_standard_error": float(found.standard_error.mean()),
            }
            print(f"{fraction:.0%} of {DIGITS}, {count:,} trainings: " + numbers(rows[str(count)]))
    print(f"  {subsets:,} trainings in {trained_cpu:.0f} CPU s, all estimates in {1e3 * estimate_seconds:.0f} ms")
    return {
        "trainings": subsets,
        "seconds": round(trained_seconds, 1),
        "cpu_seconds": round(trained_cpu, 1),
        "estimate_seconds": estimate_seconds,
        "training_accuracy": outcomes.fitted,
        "mean": float(estimate.value.mean()),
        "share_above_0.25": share.value,
        "by_trainings": rows,
    }


def numbers(row: dict[str, float]) -> str:
    """A row of the table in words."""
    return (
        f"rank correlation {row['rank_correlation']:.3f} (at most {row['ceiling']:.3f}; of memorised ones "
        f"{row['rank_correlation_where_memorised']:.3f}), mean error "
        f"{row['mean_absolute_error']:.3f} (bias {row['bias']:+.3f}; noise alone {row['expected_of_noise']:.3f})"
    )


def told(values: NDArray[np.float64]) -> str:
    """What there is to be found."""
    return f"mean memorisation {values.mean():.3f}, {(values >= 0.25).sum()} of {len(values)} digits at 0.25 or more"


def ranks(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Spearman's rank correlation."""
    return float(spearmanr(one, other).statistic)


def doubled(correlation: float) -> float:
    """The reliability of the whole, from the correlation of its halves (Spearman, Brown 1910)."""
    return 2 * correlation / (1 + correlation)


# Trainings


@cache
def splits() -> Splits:
    """Two hundred training digits, as if there were no more."""
    whole = load_data("digits")
    few = whole.train.take(np.sort(Stream(0, "subset").permutation(len(whole.train))[:DIGITS]))
    return Splits(replace(few, source_indices=np.arange(DIGITS), source_size=DIGITS), whole.test)


def spec(size: int | None, seed: int, subset: int | None = None) -> RunSpec:
    """A training on so many of the digits."""
    return RunSpec(
        data=DataSpec(name="digits", train_size=size, tested_on="test" if size is None else "left_out"),
        model=ModelSpec(name="mlp_1x512", fields={"width": WIDTH}),
        training=TrainingSpec(batch_size=20, max_steps=400, fit_accuracy=1.0),
        measures=MeasureSpec(names=("tested_predictions",), points_per_decade=0, every_epochs=0),
        seed=seed,
        stream_seeds={} if subset is None else {"subset": subset},
    )


def gathered(pool: ProcessPoolExecutor, jobs: list[dict[str, Any]]) -> list[Any]:
    """What became of chunks of trainings, their time added up."""
    found = list(pool.map(trained, jobs))
    cpu_seconds[0] += sum(seconds for _, seconds in found)
    return [result for result, _ in found]


def trained(job: dict[str, Any]) -> tuple[Any, float]:
    """One chunk of trainings: what they got right of all digits, or of the digit left out, or both as outcomes."""
    began = time.process_time()
    kind = job.get("kind", "whole")
    records = [execute(one, splits(), Control(way="compiled"))[0] for one in job.get("specs", [spec(None, 0)])]
    if kind == "subsets":
        return subset_outcomes(records), time.process_time() - began
    rows = [record.examples if kind == "whole" else record.tested for record in records]
    return np.stack([row["prediction"] == row["label"] for row in rows]), time.process_time() - began


def chunks(specs: list[RunSpec], kind: str) -> list[dict[str, Any]]:
    return [{"kind": kind, "specs": specs[start : start + CHUNK]} for start in range(0, len(specs), CHUNK)]


def right_of_all(pool: ProcessPoolExecutor, seeds: int) -> NDArray[np.bool_]:
    """``[seeds, digits]``: trainings on all of them."""
    return np.concatenate(gathered(pool, chunks([spec(None, ALONE + k) for k in range(seeds)], "whole")))


def right_without(pool: ProcessPoolExecutor, seeds: int) -> NDArray[np.bool_]:
    """``[seeds, digits]``: whether a training on the 199 others gets the digit right."""
    leaving: dict[int, int] = {}
    subset = 0
    while len(leaving) < DIGITS:  # a subset of 199 is a permutation but its last; a seed is looked for that ends so
        leaving.setdefault(int(Stream(subset, "subset").permutation(DIGITS)[-1]), subset)
        subset += 1
    specs = [
        spec(DIGITS - 1, ALONE + seeds + k * DIGITS + digit, leaving[digit])
        for k in range(seeds)
        for digit in range(DIGITS)
    ]
    return np.concatenate(gathered(pool, chunks(specs, "without"))).reshape(seeds, DIGITS)


def right_on_subsets(pool: ProcessPoolExecutor, fraction: float, count: int) -> SubsetOutcomes:
    """Trainings on random subsets."""
    specs = [spec(round(fraction * DIGITS), seed) for seed in range(count)]
    parts: list[SubsetOutcomes] = gathered(pool, chunks(specs, "subsets"))
    first = parts[0]
    assert all(np.array_equal(part.label, first.label) for part in parts)
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ("inside", "outside", "right")}
    return SubsetOutcomes(first.index, first.label, **joined)


if __name__ == "__main__":
    main()
