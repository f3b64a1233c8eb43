"""What ``run --dry-run`` tells: the plan and its cost."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shattering.cli.output import columns, waiting
from shattering.core.words import plural

if TYPE_CHECKING:
    from shattering.core.spec import RunSpec
    from shattering.execution.estimate import Estimate
    from shattering.execution.plan import Planned
    from shattering.store.store import Store


KIND = ("model", "corruption", "regularisers")
"""What tells the rows of the table apart."""


def _kind(spec: RunSpec) -> tuple[str, str, str]:
    """Model, corruption with its level, and explicit regularisers of a run, to read."""
    model = spec.model.name + ("" if spec.model.fields.get("batch_norm", True) else " without batch norm")
    level = f" {spec.corruption.fields['p']:g}" if "p" in spec.corruption.fields else ""
    training = spec.training
    regularisers: list[str] = [training.augmentation] if training.augmentation != "none" else []
    if spec.model.fields.get("dropout"):
        regularisers.append(f"dropout {spec.model.fields['dropout']:g}")
    if training.weight_decay:
        regularisers.append(f"weight decay {training.weight_decay:g}")
    return model, spec.corruption.name + level, ", ".join(regularisers) or "none"


def describe(planned: Planned, out: Path, jobs: int | None, *, quiet: bool = True) -> dict[str, Any]:
    """The plan and what is still to do, as one JSON object; the store is only read, and need not exist.

    Args:
        planned: the plan.
        out: the store's folder.
        jobs: processes at most; none: as many as `run` would take.
        quiet: do not say that updates are being timed, which takes a minute or two where networks are large.
    """
    plan = planned.plan
    planned_counts = Counter(_kind(spec) for spec in plan.specs)
    store = store_there(out)
    missing = set(plan.digests if store is None else store.missing(plan.digests))
    remaining = [spec for spec in plan.specs if spec.digest in missing]
    remaining_counts = Counter(_kind(spec) for spec in remaining)
    cost = forecast(planned, remaining, jobs, store, quiet=quiet)
    return {
        "study": plan.study,
        "scale": plan.request.scale,
        "data": plan.request.data.name,
        "store": str(out),
        "planned": len(plan.specs),
        "finished": len(plan.specs) - len(remaining),
        "runs": [
            {**dict(zip(KIND, kind, strict=True)), "planned": count, "finished": count - remaining_counts[kind]}
            for kind, count in planned_counts.items()
        ],
        "differences": list(planned.study.differences(plan.request)),
        "choices": [{"open": what, "chosen": choice} for what, choice in planned.study.choices],
        "steps": cost.steps,
        "steps_at_most": cost.budget,
        "seconds": cost.seconds,
        "memory_bytes": cost.peak_bytes,
        "jobs": cost.jobs,
        "ways": [asdict(choice) for choice in cost.choices],
        "command": plan.command,
    }


def forecast(planned: Planned, specs: list[RunSpec], jobs: int | None, store: Store | None, *, quiet: bool) -> Estimate:
    """`estimate_cost`, which says what it does while it does it."""
    from shattering.execution.study import estimate_cost

    with waiting("Timing some updates of each kind of run, for the forecast …", quiet=quiet or not specs):
        return estimate_cost(planned, specs, jobs, store)


def describe_text(described: dict[str, Any]) -> str:
    """`describe` for people."""
    rows: list[tuple[str, ...]] = [(*KIND, "runs", "finished")]
    for row in described["runs"]:
        rows.append((*(row[name] for name in KIND), str(row["planned"]), str(row["finished"])))
    differences = [f"{number}. {text}" for number, text in enumerate(described["differences"], start=1)]
    choices = [f"- {entry['open']}: {entry['chosen']}" for entry in described["choices"]]
    time, memory = duration(described["seconds"]), size(described["memory_bytes"])
    processes = plural(described["jobs"], "process")
    ways = [_way(entry) for entry in described["ways"]]
    steps = f"about {described['steps']:,} steps (at most {described['steps_at_most']:,})"
    return "\n".join(
        [
            f"{described['study']} on {described['data']}, scale {described['scale']}",
            "",
            columns(rows),
            "",
            *(["How this differs from the paper:", *differences, ""] if differences else []),
            "What the paper leaves open, and what was chosen:",
            *choices,
            "",
            *(["How the updates are made, the fastest way measured on this machine:", *ways, ""] if ways else []),
            f"{described['finished']} of {described['planned']} runs are finished in {described['store']}.",
            f"Still to do: {steps}, about {time} on {processes}, {memory} of memory.",
            "Nothing was written.",
        ]
    )


def _way(entry: dict[str, Any]) -> str:
    speeds = entry["updates_per_second"]
    others = ", ".join(f"{way} {speed:,.0f}" for way, speed in sorted(speeds.items()) if way != entry["way"])
    runs = "1 run" if entry["runs"] == 1 else f"{entry['runs']:,} runs"
    told = f"- {entry['model']}, batches of {entry['batch_size']}, {runs}: {entry['way']}"
    told = f"{told}, {speeds[entry['way']]:,.0f} updates/s in a process{f' ({others})' if others else ''}"
    return told.replace("by_hand", "by hand")


def duration(seconds: float) -> str:
    """A time to read: ``40 s``, ``12 min``, ``3.5 h``, ``2.1 d``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 172800:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} d"


def size(count: float) -> str:
    """An amount of memory to read, in powers of 1024."""
    for name in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {name}"
        count /= 1024
    return f"{count:.1f} GiB"


def store_there(out: Path) -> Store | None:
    """The store in the folder of ``--out``, to be read; none where the folder is empty or absent."""
    from shattering.store.marker import is_store
    from shattering.store.store import Store

    return Store.open(out, write=False) if is_store(out, write=True) else None
