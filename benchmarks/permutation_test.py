"""Does the permutation test of an audit reject as often as it says, and does it find a signal that is there?

Whole audits of tiny data, each a pilot, a training on the labels as they are and nineteen refits on permuted labels,
trained by the program itself. In three hundred of them labels have nothing to do with inputs: at the level of 5% the
test must reject in 5%, within three standard errors. In further ones one feature's mean differs between the two classes
by a known number of standard deviations.

    python benchmarks/permutation_test.py [--null N] [--power N] [--refits M] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("SHATTERING_STEPPER", "compiled")

import numpy as np

from shattering.checks.registry import Evidence, Subject, checks
from shattering.core.finding import Finding
from shattering.core.spec import DataSpec, MeasureSpec, ModelSpec, RunSpec, TrainingSpec
from shattering.core.statistics import proportion_interval
from shattering.core.streams import NORMAL_ONE, Stream
from shattering.data.arrays import from_arrays
from shattering.data.dataset import Splits
from shattering.execution.provenance import provenance
from shattering.execution.run import execute

RESULTS = Path(__file__).parent / "results" / "permutation_test.json"

TRAIN, TEST, FEATURES = 48, 200, 6
EFFECTS = (1.0, 2.0)
"""Distance between the classes' means, in standard deviations of the one feature that tells them apart."""

BASE = RunSpec(
    data=DataSpec(name="tiny", whiten=False),
    model=ModelSpec(name="mlp", fields={"width": 8}),
    training=TrainingSpec(optimizer="adam", learning_rate=0.02, batch_size=TRAIN, max_steps=60, fit_accuracy=0.9),
    measures=MeasureSpec(names=("accuracy",), points_per_decade=0, every_epochs=0),
)


def data(number: int, effect: float) -> Splits:
    """Two classes of normal features in random order; in the first feature their means differ by ``effect``."""
    count = TRAIN + TEST
    values = Stream(number, "audited-data").normals(np.arange(count), FEATURES) / NORMAL_ONE
    labels = Stream(number, "audited-labels").permutation(count) % 2
    values[:, 0] += effect * (labels - 0.5)
    inputs = values.astype(np.float32)
    return from_arrays(inputs[:TRAIN], labels[:TRAIN], inputs[TRAIN:], labels[TRAIN:], name="tiny", num_classes=2)


def audit(number: int, effect: float, refits: int) -> Finding:
    """What an audit of the data ``number`` says of their labels."""
    check = checks.get("signal")
    splits = data(number, effect)
    base = BASE.model_copy(update={"seed": number})
    subject = Subject(base, splits, pilot=execute(base, splits)[0])
    records = [execute(spec, splits)[0] for spec in check.design(subject, refits)]
    return check.answer(subject, Evidence({record.digest: record for record in records}, refits)).findings[0]


def repeated(audits: int, effect: float, refits: int, first: int = 0) -> dict[str, Any]:
    """How often audits of independent data reject, and their p-values."""
    found = [audit(first + number, effect, refits).p_value for number in range(audits)]
    p_values = [p for p in found if p is not None]
    rejected = sum(p <= 0.05 for p in p_values)
    share, low, high = proportion_interval(rejected, len(p_values))
    counts = {f"{p:.4g}": count for p, count in sorted(Counter(p_values).items())}
    return {"effect": effect, "audits": len(p_values), "rejected": rejected, "share": share, "low": low, "high": high,
            "audits_by_p": counts}  # fmt: skip


def within(row: dict[str, Any], level: float = 0.05) -> bool:
    """Whether the share of rejections lies within three standard errors of the level."""
    return abs(row["share"] - level) <= 3 * math.sqrt(level * (1 - level) / row["audits"])


def main() -> None:
    """Audits, prints how often they reject, and saves that."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--null", type=int, default=300)
    parser.add_argument("--power", type=int, default=60)
    parser.add_argument("--refits", type=int, default=19)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    began = time.monotonic()
    null = repeated(given.null, 0.0, given.refits)
    print(f"no signal: {null['rejected']} of {null['audits']} audits reject at 5%: {within(null) and 'calibrated'}")
    power = [repeated(given.power, effect, given.refits, first=10_000) for effect in EFFECTS]
    for row in power:
        print(f"effect {row['effect']:g}: {row['rejected']} of {row['audits']} reject")
    seconds = time.monotonic() - began
    trainings = (given.refits + 2) * (given.null + len(EFFECTS) * given.power)
    print(f"{trainings:,} trainings in {seconds:.0f} s")
    saved = {
        "refits": given.refits, "train": TRAIN, "test": TEST, "features": FEATURES, "null": null, "power": power,
        "trainings": trainings, "seconds": round(seconds, 1), "provenance": provenance(BASE),
    }  # fmt: skip
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(saved, indent=1, allow_nan=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
