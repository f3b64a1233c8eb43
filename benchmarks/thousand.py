"""A thousand trainings through the command line and the store; then the same once more, killed on the way.

Runs examples/thousand-digits.yaml, which trains an MLP on random labels of all training digits to 100% training
accuracy with a thousand seeds, and takes the time of the whole command, from an empty store and an empty cache of
measured ways. Then the same into a second store: killed with SIGKILL when a part has ended, and begun again. What had
ended must not be computed again, nothing may be lost or doubled, and both stores must hold equal results.

    python benchmarks/thousand.py [--quick] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from shattering.core.record import results_digest
from shattering.core.spec import AT_ONCE, RunSpec
from shattering.execution.provenance import provenance
from shattering.store.store import Store

EXAMPLE = Path(__file__).parents[1] / "examples" / "thousand-digits.yaml"
RESULTS = Path(__file__).parent / "results" / "thousand.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="40 trainings in place of 1,000; nothing is saved")
    parser.add_argument("--out", type=Path, default=None, help=f"where to save; {RESULTS} by default")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        file, count = _file(work, 40 if given.quick else 1000)
        environment = {**os.environ, "SHATTERING_CACHE": str(work / "cache")}
        seconds, told = _whole(file, work / "whole", environment)
        records = Store.open(work / "whole", write=False).records(_names(work / "whole"))
        steps = sum(int(record.summary["steps"] or 0) for record in records)
        ways = Counter(record.provenance["stepper"] for record in records)
        statuses = Counter(record.status.value for record in records)
        print(
            f"{count:,} trainings: {seconds:.1f} s for the whole command; {dict(statuses)}, {steps:,} updates, {ways}"
        )
        whole = results_digest(records)
        found = _killed(file, work / "killed", environment, count)
        again = results_digest(Store.open(work / "killed", write=False).records(_names(work / "killed")))
        print(
            f"killed after {found['finished_before']:,}: {found['seconds_after']:.1f} s more; computed again: "
            f"{found['computed_again']}; results equal: {whole == again}"
        )
        assert len(records) == count and whole == again and found["computed_again"] == 0
    target = given.out or (None if given.quick else RESULTS)
    if target is not None:
        host = provenance(RunSpec(training=AT_ONCE))
        saved: dict[str, Any] = {"trainings": count, "seconds": seconds, "updates": steps, "ways": dict(ways)}
        saved |= {"statuses": dict(statuses), "killed": found, "results_equal": whole == again, "host": host}
        saved["claims"] = told["runs"]
        target.write_text(json.dumps(saved, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        print(f"saved: {target}")


def _file(work: Path, count: int) -> tuple[Path, int]:
    text = EXAMPLE.read_text(encoding="utf-8")
    file = work / EXAMPLE.name
    file.write_text(text.replace("[0, 1000]", f"[0, {count}]"), encoding="utf-8")
    return file, count


def _command(file: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "shattering", "sweep", str(file), "--out", str(out), "--json", "--quiet"]


def _whole(file: Path, out: Path, environment: dict[str, str]) -> tuple[float, Any]:
    began = time.perf_counter()
    done = subprocess.run(_command(file, out), env=environment, check=True, capture_output=True, text=True)
    return time.perf_counter() - began, json.loads(done.stdout)


def _killed(file: Path, out: Path, environment: dict[str, str], count: int) -> dict[str, Any]:
    silent = subprocess.DEVNULL
    child = subprocess.Popen(_command(file, out), env=environment, start_new_session=True, stdout=silent, stderr=silent)
    while len(_names(out)) < 0.4 * count:
        assert child.poll() is None, "it ended before it could be killed"
        time.sleep(0.05)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    before = {name: (out / "runs" / name / "DONE").stat().st_mtime_ns for name in _names(out)}
    seconds, _ = _whole(file, out, environment)
    after = {name: (out / "runs" / name / "DONE").stat().st_mtime_ns for name in _names(out)}
    repeated = sum(after[name] != moment for name, moment in before.items())
    return {"finished_before": len(before), "seconds_after": seconds, "computed_again": repeated}


def _names(out: Path) -> list[str]:
    runs = out / "runs"
    return sorted(path.name for path in runs.iterdir()) if runs.is_dir() else []


if __name__ == "__main__":
    main()
