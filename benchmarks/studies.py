"""Every study whose small scale is kept under results/, once more from a clean store by its own command.

Of each: the seconds of the whole command, the runs and how they ended, the verdicts, and whether the results are those
that are kept, to the bit (equal bits are asked of one machine and one version only; elsewhere compare the verdicts). A
study's goal is ten minutes on two cores. What is saved is joined to what was saved before, a study at a time, so that a
part can be measured again.

    python benchmarks/studies.py [--only STUDY ...] [--again] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shattering.core.plan import Plan
from shattering.core.record import results_digest
from shattering.core.spec import AT_ONCE, RunSpec
from shattering.execution.provenance import provenance
from shattering.store.store import Store

KEPT = Path(__file__).parents[1] / "results"
RESULTS = Path(__file__).parent / "results" / "studies.json"
GOAL = 600.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], metavar="STUDY", help="these studies; all by default")
    parser.add_argument("--again", action="store_true", help="those, too, that were measured before")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"where to save; {RESULTS} by default")
    given = parser.parse_args()
    saved: dict[str, Any] = {"studies": {}}
    if given.out.is_file():
        saved = json.loads(given.out.read_text(encoding="utf-8"))
    for store, plan in _kept():
        if (given.only and plan.study not in given.only) or (plan.study in saved["studies"] and not given.again):
            continue
        found = _measured(store, plan)
        print(
            f"{plan.study:40} {found['seconds']:6.0f} s  {found['runs']} runs  {found['verdicts']}  "
            f"verdicts as kept: {found['verdicts_as_kept']}  bits as kept: {found['bits_as_kept']}",
            flush=True,
        )
        saved["studies"][plan.study] = found
        saved |= {"goal_seconds": GOAL, "host": provenance(RunSpec(training=AT_ONCE))}
        given.out.write_text(json.dumps(saved, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    late = {study: found["seconds"] for study, found in saved["studies"].items() if found["seconds"] > GOAL}
    print(f"{len(saved['studies'])} studies; over {GOAL:.0f} s: {late or 'none'}")


def _kept() -> Iterator[tuple[Store, Plan]]:
    """Stores of results/ and the small plans in them, in the order of their names."""
    for folder in sorted(KEPT.iterdir()):
        if (folder / "shattering-store.json").is_file():
            store = Store.open(folder, write=False)
            for plan in store.plans():
                if plan.request.scale == "small" and plan.sweep is None:
                    yield store, plan


def _measured(store: Store, plan: Plan) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "runs"
        command = [sys.executable, "-m", "shattering", "run", plan.study, "--data", plan.request.data.name]
        command += ["--scale", "small", "--out", str(out), "--json", "--quiet"]
        began = time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds = time.perf_counter() - began
        told = json.loads(done.stdout)
        kept = json.loads((store.report_dir(plan) / "summary.json").read_text(encoding="utf-8"))
        again = Store.open(out, write=False)
        return {
            "command": f"shattering run {plan.study} --data {plan.request.data.name} --scale small",
            "seconds": round(seconds, 1),
            "runs": sum(told["runs"].values()),
            "ended": told["runs"],
            "verdicts": dict(Counter(claim["verdict"] for claim in told["claims"])),
            "verdicts_as_kept": _verdicts(told) == _verdicts(kept),
            "bits_as_kept": results_digest(store.records(plan.digests)) == results_digest(again.records(plan.digests)),
        }


def _verdicts(summary: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(claim["source"], claim["quantity"], claim["verdict"]) for claim in summary["claims"]]


if __name__ == "__main__":
    main()
