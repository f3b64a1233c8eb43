"""What ``sweep --dry-run`` tells: the axes, how many runs they make, and about what they cost."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shattering.cli.dry_run import duration, forecast, size, store_there
from shattering.cli.output import columns
from shattering.core.words import plural

if TYPE_CHECKING:
    from shattering.core.spec import RunSpec
    from shattering.core.sweep import Sweep
    from shattering.execution.plan import Planned

LOOKED_AT, SHAPES = 48, 6
"""Runs and kinds of networks that the cost is predicted from."""


def describe_sweep(
    planned: Planned, sweep: Sweep, out: Path, jobs: int | None, *, quiet: bool = True
) -> dict[str, Any]:
    """The plan and what is still to do, as one JSON object; the store is only read, and need not exist.

    The cost is that of at most 48 runs, evenly spread, of at most 6 kinds, times the number of runs.
    """
    from shattering.execution.adaptive import most_runs
    from shattering.execution.estimate import shape_of
    from shattering.execution.study import default_jobs

    plan = planned.plan
    store = store_there(out)
    missing = plan.digests if store is None else store.missing(plan.digests)
    place = {digest: number for number, digest in enumerate(plan.digests)}
    every = max(1, -(-len(missing) // LOOKED_AT))
    looked_at: list[RunSpec] = [plan.specs[place[digest]] for digest in missing[::every]]
    shapes = Counter(map(shape_of, looked_at))
    common = {shape for shape, _ in shapes.most_common(SHAPES)}
    timed = [spec for spec in looked_at if shape_of(spec) in common]
    few = replace(planned, plan=replace(plan, specs=tuple(timed or plan.spread(1))))
    processes = jobs or default_jobs(few)
    # One process, so that the sum is not rounded up to the longest run.
    cost = forecast(few, timed, 1, store, quiet=quiet)
    scale = len(missing) / len(timed) if timed else 0.0
    seconds = max(0.0, cost.seconds - 4.0) * scale / processes + 4.0 if timed else 0.0
    return {
        "study": plan.study,
        "sweep": sweep.name,
        "scale": plan.request.scale,
        "data": plan.request.data.name,
        "store": str(out),
        "axes": [{"kind": axis.kind, "fields": list(axis.paths), "values": len(axis.rows)} for axis in sweep.axes],
        "planned": len(plan.specs),
        "at_most": most_runs(sweep, len(plan.specs)),
        "finished": len(plan.specs) - len(missing),
        "shapes": len(shapes),
        "shapes_timed": len(common),
        "steps": round(cost.steps * scale),
        "steps_at_most": round(cost.budget * scale),
        "seconds": seconds,
        "memory_bytes": cost.peak_bytes * processes,
        "jobs": processes,
        "ways": [asdict(choice) for choice in cost.choices],
        "command": plan.command,
    }


def render_sweep_plan(described: dict[str, Any]) -> str:
    """`describe_sweep` for people."""
    rows: list[tuple[str, ...]] = [("", "field", "values")]
    for axis in described["axes"]:
        rows += [(axis["kind"], path, f"{axis['values']:,}") for path in axis["fields"]]
    later = described["at_most"] - described["planned"]
    decided = f"; up to {later:,} more as the outcomes ask for them" if later > 0 else ""
    processes = plural(described["jobs"], "process")
    steps = f"about {described['steps']:,} steps (at most {described['steps_at_most']:,})"
    kinds = f"timed on {plural(described['shapes_timed'], 'kind')} of network"
    return "\n".join(
        [
            f"sweep {described['sweep']} on {described['data']}",
            "",
            *([columns(rows), ""] if described["axes"] else []),
            f"{described['planned']:,} runs{decided}; {described['finished']:,} are finished in {described['store']}.",
            *_ways(described["ways"]),
            f"Still to do: {steps}, about {duration(described['seconds'])} on {processes}, "
            f"{size(described['memory_bytes'])} of memory ({kinds}).",
            "Nothing was written.",
        ]
    )


def _ways(ways: list[dict[str, Any]]) -> list[str]:
    """A line for each network, batch size and way; what else the runs differ in makes a range of speeds."""
    speeds: dict[tuple[str, int, str], list[float]] = {}
    for entry in ways:
        speed = entry["updates_per_second"][entry["way"]]
        speeds.setdefault((entry["model"], entry["batch_size"], entry["way"]), []).append(speed)
    return [
        f"Updates of {model} in batches of {batch} are made the way ‘{way}’, {_range(found)}/s a process."
        for (model, batch, way), found in speeds.items()
    ]


def _range(values: list[float]) -> str:
    low, high = f"{min(values):,.0f}", f"{max(values):,.0f}"
    return low if low == high else f"{low} to {high}"
