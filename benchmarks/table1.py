"""All nineteen rows of Table 1 of Zhang et al. (2017) at the paper's scale on one GPU, timed, each with its record.

The runs are those that `shattering run zhang2017-random-labels --data cifar10 --scale paper --device cuda` plans for
the table (100 epochs of 50,000 images each, snapshots as the study wants them), with arithmetic in bfloat16 unless
``--dtype`` says otherwise. They go through the planner, workers and the store; what is timed is all of that, from the
first lease to the last commit. The same command goes on where an earlier one was stopped, and the time is then only
that of what was left, which is said.

``--data random`` takes random images of the same shape where CIFAR-10 is not at hand: as long to train on, so that the
times hold and the accuracies mean nothing. On a machine without a GPU only ``--quick`` runs: two updates of every row
on the CPU.

    python benchmarks/table1.py [--quick] [--data cifar10|random] [--data-dir DIR] [--dtype TYPE] [--jobs N]
                                [--out FOLDER] [--json FILE]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gpu_machine import announce, data_folder, paper_plan, recorded, save, stepping
from shattering.core.record import Record
from shattering.core.spec import RunSpec
from shattering.execution.plan import Planned
from shattering.studies.zhang2017 import Row
from shattering.studies.zhang2017_random_labels import ROWS

RESULTS = Path(__file__).parent / "results" / "table1.json"
GOAL_SECONDS = 900

QUICK = {
    "data.train_size": 48,
    "data.test_size": 16,
    "training.batch_size": 24,
    "training.max_steps": 2,
    "measures.points_per_decade": 0,
    "measures.every_epochs": 0,
}


def spec_of(row: Row, planned: Planned) -> RunSpec:
    """The run that a row's numbers come from."""
    found = [
        spec
        for spec in planned.plan.specs
        if spec.model.name == row.model
        and spec.model.fields.get("batch_norm", True) == row.batch_norm
        and spec.corruption.name == ("random_labels" if row.random_labels else "true_labels")
        and spec.training.augmentation == row.augmentation
        and spec.training.weight_decay == row.decay_coefficient
    ]
    if len(found) != 1:
        raise SystemExit(f"{row.source}: the study plans {len(found)} runs for this row, one was expected.")
    return found[0]


def line(row: Row, record: Record | None) -> dict[str, Any]:
    """What became of a row."""
    told: dict[str, Any] = {"row": row.source, "published_train": row.train, "published_test": row.test}
    if record is None:
        return told | {"status": "failed"}
    ways = {key: value for key, value in record.provenance.items() if key in ("stepper", "captured", "not captured")}
    return (
        told
        | ways
        | {
            "status": record.status.value,
            "digest": record.digest,
            "seconds": record.provenance["seconds"],
            "steps": record.summary["steps"],
            "epochs_to_fit": record.summary["epochs_to_fit"],
            "train": record.last.get("train_accuracy"),
            "test": record.last.get("test_accuracy"),
        }
    )


def main() -> None:
    """Runs the rows, prints the table, and saves it where it was the full form on a GPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two updates of every row; shows that it works")
    parser.add_argument("--data", choices=["cifar10", "random"], default="cifar10", help="the images")
    parser.add_argument("--data-dir", type=Path, help="where to look for CIFAR-10")
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16", help="arithmetic on the GPU")
    parser.add_argument("--jobs", type=int, default=1, help="processes that share the GPU")
    parser.add_argument("--out", type=Path, default=Path("runs") / "table1", help="the store")
    parser.add_argument("--json", type=Path, help=f"file to write (benchmarks/results/{RESULTS.name})")
    options = parser.parse_args()
    device, quick = announce(options.quick)
    overrides = dict(QUICK) if quick else {}
    if device == "cuda":
        overrides["compute.dtype"] = options.dtype

    with data_folder(options.data, quick) as data, stepping("captured"):
        planned = paper_plan(data, options.data_dir, overrides, device)
        specs = {row.source: spec_of(row, planned) for row in ROWS}
        records, seconds = recorded(planned, list(specs.values()), options.out, options.jobs)

    rows = [line(row, records.get(specs[row.source].digest)) for row in ROWS]
    print(f"\n{'row':<52}{'way':>10}{'status':>12}{'seconds':>9}{'train':>8}{'(paper)':>9}{'test':>8}{'(paper)':>9}")
    for row in rows:
        if row["status"] == "failed":
            print(f"{row['row']:<52}{'':>10}{'failed':>12}")
            continue
        numbers = [f"{row[key]:.2%}" if row[key] is not None else "-" for key in ("train", "published_train", "test")]
        published = f"{row['published_test']:.2%}" if row["published_test"] is not None else "-"
        print(
            f"{row['row']:<52}{row['stepper']:>10}{row['status']:>12}{row['seconds']:>9.1f}{numbers[0]:>8}"
            f"{numbers[1]:>9}{numbers[2]:>8}{published:>9}"
        )
    trained = sum(row.get("seconds", 0.0) for row in rows)
    print(f"\n{len(rows)} rows; {seconds:.1f} s for this call, {trained:.1f} s of runs in all.")
    if quick or device == "cpu":
        print("The small form: nothing is saved, and neither times nor accuracies mean anything.")
        return
    resumed = seconds < trained / max(1, options.jobs)
    print(f"Goal: {GOAL_SECONDS} s." + (" Some runs had ended before: add up the calls." if resumed else ""))
    found = {"data": options.data, "dtype": options.dtype, "jobs": options.jobs, "goal_seconds": GOAL_SECONDS}
    times = {"seconds": seconds, "seconds_of_runs": trained, "some_had_ended_before": resumed}
    save(options.json or RESULTS, {**found, **times, "rows": rows})


if __name__ == "__main__":
    main()
