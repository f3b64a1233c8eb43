"""A store of many runs: how long it takes to list, resume, filter, query and tabulate it, and how much memory.

Makes N synthetic records (100,000; ``--quick`` 5,000) in a temporary folder, through the encoder that `Store.put` uses,
but quickly: by two processes, without locks and without syncs. What is timed afterwards is what users call, each in a
process of its own, from its start to its end, imports included; the peak is the most that was resident in that process.
The files are in the system's cache, as they are on the machine that has just written them. A run takes five inodes (a
folder and four files) and on ext4 20 KiB, since each takes a block: 2 GB and half a million inodes for 100,000 runs.
The folder is removed at the end.

Beside ours: a loop that reads every run's ``spec.json`` and ``record.json`` into a list, verifying nothing, as one
would write it without a library.

The cost of a commit is measured on the real path in a new store: lease, `missing`, `put` with all its syncs, release.

    python benchmarks/store.py [--quick] [--runs N] [--commits N] [--folder DIR] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "store.json"
RUNS, QUICK_RUNS, COMMITS = 100_000, 5_000, 300
SNAPSHOTS, EXAMPLES, WITH_EXAMPLES = 12, 200, 100
PROCESSES = 2

GROUPED = """
    SELECT corruption.fields.p AS p, model.fields.width AS width, count(*) AS n,
           avg(last.test_accuracy) AS accuracy, stddev(last.test_accuracy) AS deviation
    FROM runs GROUP BY ALL ORDER BY ALL
"""
FILTERED = """
    SELECT digest, last.test_accuracy FROM runs WHERE training.learning_rate > 0.05 AND seed < 7 ORDER BY 2 DESC
"""
CURVES = """
    SELECT step, runs.corruption.fields.p AS p, avg(rows.train_accuracy) AS accuracy
    FROM rows JOIN runs USING (digest) GROUP BY ALL ORDER BY ALL
"""


def record_of(number: int, examples: int = 0) -> Any:
    """The synthetic run with a number: a grid of label noise, widths and learning rates, again for every seed."""
    import numpy as np

    from shattering.core.record import Record, Status
    from shattering.core.spec import CorruptionSpec, ModelSpec, RunSpec, TrainingSpec

    level, width, rate, seed = number % 5, number // 5 % 5, number // 25 % 4, number // 100
    spec = RunSpec(
        corruption=CorruptionSpec(name="random_labels", fields={"p": level / 4}),
        model=ModelSpec(name="mlp", fields={"width": 8 << width}),
        training=TrainingSpec(learning_rate=(0.01, 0.03, 0.1, 0.3)[rate], max_steps=2000),
        seed=seed,
    )
    noise = np.random.default_rng(number).normal(0, 0.01, (SNAPSHOTS, 4))
    rows = tuple(
        {
            "step": (1 << k) - 1,
            "epoch": ((1 << k) - 1) / 23,
            "train_loss": float(2.3 / (k + 1) + noise[k, 0]),
            "train_accuracy": float(min(1.0, 0.1 + 0.08 * k + noise[k, 1])),
            "test_loss": float(2.3 / (k + 1) + 0.2 * level + noise[k, 2]),
            "test_accuracy": float(0.1 + (0.07 - 0.015 * level) * k + noise[k, 3]),
        }
        for k in range(SNAPSHOTS)
    )
    fitted = number % 7 != 0
    return Record(
        spec=spec,
        status=Status.DONE if fitted else Status.NOT_FITTED,
        rows=rows,
        summary={"steps": 2047, "steps_to_fit": 1500 + level if fitted else None, "train_size": 1437, "test_size": 360},
        units={name: "1" for name in rows[0]},
        weights_sha256=f"{number:064x}",
        examples={name: np.arange(examples) for name in ("index", "label", "prediction")} if examples else {},
        provenance={"python": "3.11.7", "torch": "2.13.0", "device": "synthetic", "seconds": 0.05 + level / 100},
    )


def make(task: tuple[str, int, int]) -> None:
    """Writes the runs from one number to another, without syncs; every so often one keeps a table of its examples."""
    from shattering.store.format import encode_run

    folder, begin, end = task
    for number in range(begin, end):
        record = record_of(number, EXAMPLES if number % (RUNS // WITH_EXAMPLES) == 0 else 0)
        place = Path(folder, "runs", record.digest)
        place.mkdir()
        for name, data in encode_run(record, None).items():
            (place / name).write_bytes(data)


def opened(folder: Path, write: bool = False) -> Any:
    """The store."""
    from shattering.store.store import Store

    return Store.open(folder, write=write)


def resume(folder: Path) -> Any:
    """What a sweep over all runs has left to do, and 1,000 more that are not there."""
    store = opened(folder, write=True)
    wanted = [*store.all_digests(), *(f"{number:032x}" for number in range(1000))]
    return len(store.missing(wanted))


def counted(folder: Path) -> Any:
    """The runs by status."""
    store = opened(folder)
    return store.counts(store.all_digests())


def filtered(folder: Path) -> Any:
    """The runs of one learning rate, without SQL."""
    from pyarrow import compute

    from shattering.store.table import runs_table

    table = runs_table(opened(folder))
    return len(table.filter(compute.equal(table.column("training.learning_rate"), 0.1)))


def aggregated(folder: Path) -> Any:
    """Mean, spread and number of runs for every setting of a sweep, without SQL."""
    from shattering.store.table import runs_table

    table = runs_table(opened(folder))
    keys = ["corruption.fields.p", "model.fields.width", "training.learning_rate"]
    wanted = [("last.test_accuracy", kind) for kind in ("mean", "stddev", "count")]
    return len(table.group_by(keys).aggregate(wanted))


def asked(sql: str) -> Callable[[Path], Any]:
    """A question in SQL."""

    def ask(folder: Path) -> Any:
        import shattering

        return len(shattering.results(folder).sql(sql))

    return ask


def frame(library: str) -> Callable[[Path], Any]:
    """All runs as a data frame."""

    def build(folder: Path) -> Any:
        import shattering

        return list(getattr(shattering.results(folder), f"to_{library}")().shape)

    return build


def shown(folder: Path) -> Any:
    """What ``shattering show`` prints."""
    from shattering.cli.main import main

    return main(["show", str(folder), "--limit", "20"])


def naive(folder: Path) -> Any:
    """Two files of every run, read in a loop."""
    runs = []
    for run in (folder / "runs").iterdir():
        spec = json.loads((run / "spec.json").read_text(encoding="utf-8"))
        runs.append({"spec": spec, **json.loads((run / "record.json").read_text(encoding="utf-8"))})
    return len(runs)


TASKS: dict[str, Callable[[Path], Any]] = {
    "list the names": lambda folder: len(opened(folder).all_digests()),
    "resume, index not there (made now)": resume,
    "resume": resume,
    "count by status": counted,
    "shattering show": shown,
    "filter": filtered,
    "aggregate as a sweep's report": aggregated,
    "SQL: mean by setting": asked(GROUPED),
    "SQL: filter and sort": asked(FILTERED),
    "SQL: curves from all snapshots": asked(CURVES),
    "to pandas": frame("pandas"),
    "to Polars": frame("polars"),
    "peer: read the folder in a loop": naive,
}


def peak_bytes() -> int | None:
    """The most that was resident in this process, as Linux tells it."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def timed(name: str, folder: Path) -> dict[str, Any]:
    """One task in a new process: seconds from its start to its end, peak memory, what it found."""
    began = time.perf_counter()
    command = [sys.executable, __file__, "--task", name, "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - began
    return {"task": name, "seconds": seconds, **json.loads(done.stdout.splitlines()[-1])}


def commits(folder: Path, count: int, examples: int) -> dict[str, Any]:
    """The cost of committing runs one by one, as a driver does."""
    store = opened(folder, write=True)
    records = [record_of(number, examples) for number in range(count)]
    store.missing([record.digest for record in records])
    wall, processor = [], time.process_time()
    for record in records:
        began = time.perf_counter()
        with store.lease(record.digest) as lease:
            store.missing([record.digest])
            assert store.put(record, lease)
        wall.append(1e3 * (time.perf_counter() - began))
    spent = 1e3 * (time.process_time() - processor) / count
    return {
        "examples": examples,
        "commits": count,
        "milliseconds_min": min(wall),
        "milliseconds_median": statistics.median(wall),
        "milliseconds_max": max(wall),
        "processor_milliseconds": spent,
    }


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    from importlib.metadata import version

    from shattering.core.version import VERSION
    from shattering.execution.provenance import processor

    return {
        "shattering": VERSION,
        "python": platform.python_version(),
        **{library: version(library) for library in ("pyarrow", "duckdb", "pandas", "polars", "pydantic")},
        "platform": f"{platform.system()} {platform.machine()}",
        "device": processor(),
        "cores": os.cpu_count(),
    }


def measure(runs: int, count: int, folder: Path) -> dict[str, Any]:
    """Makes the store, and takes every time."""
    began = time.perf_counter()
    opened(folder / "store", write=True)
    step = max(1, runs // 50)
    chunks = [(str(folder / "store"), begin, min(begin + step, runs)) for begin in range(0, runs, step)]
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        pool.map(make, chunks, chunksize=1)
    made = time.perf_counter() - began
    print(f"{runs:,} runs made in {made:.0f} s\n\n{'':<36}{'seconds':>9}{'peak MB':>9}  found", flush=True)
    rows = []
    for name in TASKS:
        row = timed(name, folder / "store")
        rows.append(row)
        print(f"{name:<36}{row['seconds']:>9.2f}{(row['peak_bytes'] or 0) / 1e6:>9.0f}  {row['found']}", flush=True)
    index = sum(path.stat().st_size for path in (folder / "store" / "index").iterdir())
    print(f"\nindex: {index / 1e6:.1f} MB\n")
    print(f"{'a commit, milliseconds':<36}{'min':>9}{'median':>9}{'max':>9}{'processor':>11}")
    costs = [commits(folder / f"commits-{examples}", count, examples) for examples in (0, 1437)]
    for cost in costs:
        spread = "".join(f"{cost[f'milliseconds_{which}']:>9.2f}" for which in ("min", "median", "max"))
        print(f"{cost['examples']:>6,} examples{'':<21}{spread}{cost['processor_milliseconds']:>11.2f}")
    facts = {"machine": machine(), "runs": runs, "seconds_made": made, "index_bytes": index}
    return {**facts, "rows": rows, "commits": costs}


def main() -> None:
    """Measures, prints the table and saves it; a quick run is saved only where ``--json`` says so."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_RUNS:,} runs; shows that it works")
    parser.add_argument("--runs", type=int, help=f"runs ({RUNS:,}; {QUICK_RUNS:,} when quick)")
    parser.add_argument("--commits", type=int, default=COMMITS, help=f"runs committed on the real path ({COMMITS})")
    parser.add_argument("--folder", type=Path, help="where to make the temporary folder, or the store of --task")
    parser.add_argument("--task", help="one task on the store in --folder; prints what it found, and its peak memory")
    parser.add_argument("--json", type=Path, help=f"file to write (benchmarks/results/{RESULTS.name})")
    options = parser.parse_args()
    if options.task:
        found = TASKS[options.task](options.folder)
        print(json.dumps({"found": found, "peak_bytes": peak_bytes()}))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        facts = measure(options.runs or (QUICK_RUNS if options.quick else RUNS), options.commits, Path(folder))
    out = options.json or (None if options.quick else RESULTS)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
