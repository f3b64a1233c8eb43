"""The runs of a store as a list, or one of them in full."""

from __future__ import annotations

from collections import Counter
from typing import Any

from shattering.core.errors import SpecError
from shattering.core.plan import Plan
from shattering.core.record import Record, Status
from shattering.core.spec import WATCHED, RunSpec
from shattering.core.words import plural
from shattering.execution.defaults import results_of
from shattering.report.evidence import counts_text
from shattering.report.settings import chosen_text, corruption_text, model_text, selection_text, start_text, with_fields
from shattering.report.terminal import new_table, printed
from shattering.report.words import STATUSES, percent
from shattering.store.store import Store
from shattering.store.table import runs_table

SHORT = 8
MOST_ROWS = 40
SHOWN = (
    "step", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "probe_loss", "probe_accuracy",
    "pristine_accuracy", "corrupt_accuracy", "m_coherence", "pristine_alpha", "corrupt_alpha", "pristine_share",
)  # fmt: skip
"""Measured names with a column of their own, where a run has them."""
UNKNOWN_OF_WATCHED = ("training", "stream_seeds", "selection", "start")
"""Parts of the spec that say nothing of a training that was watched, not run."""


def describe_runs(
    store: Store, *, where: str | None = None, status: Status | None = None, limit: int | None = None
) -> dict[str, Any]:
    """The runs that are planned or present: ``store``, ``counts`` (by status), ``matching`` (how many) and ``runs``.

    A run has ``digest``, ``model``, ``corruption``, ``selection``, ``seed``, ``status``, ``steps_to_fit``,
    ``train_accuracy`` and ``test_accuracy`` (last values, none where not measured).

    Args:
        store: where they are.
        where: a condition in SQL on the columns of ``runs`` (see `store.query`); only runs that have ended can meet it.
        status: only runs that ended so.
        limit: only so many of the runs are described; none: all that match.

    Raises:
        SpecError: the condition is wrong.
    """
    table = runs_table(store)
    ended = dict(zip(table.column("digest").to_pylist(), table.column("status").to_pylist(), strict=True))
    planned: dict[str, tuple[Plan, int]] = {}
    for plan in store.plans():
        for place, digest in enumerate(plan.digests):
            planned.setdefault(digest, (plan, place))
    found = {digest: ended.get(digest, Status.CANCELLED.value) for digest in (*planned, *ended)}
    counts = Counter(found.values())
    if status is not None:
        found = {digest: kind for digest, kind in found.items() if kind == status.value}
    if where is not None:
        met = set(results_of(store, f"SELECT digest FROM runs WHERE {where}", table).where(where))
        found = {digest: kind for digest, kind in found.items() if digest in met}
    shown = list(found)[:limit]
    rows = _rows(table, [digest for digest in shown if digest in ended])
    runs = [
        _described(rows[digest]) if digest in rows else _expected(planned[digest][0].specs[planned[digest][1]])
        for digest in shown
    ]
    told = {kind.value: counts[kind.value] for kind in Status}
    return {"store": str(store.root), "counts": told, "matching": len(found), "runs": runs}


def _rows(table: Any, digests: list[str]) -> dict[str, dict[str, Any]]:
    """Rows of the table by the runs' names, without what they have no value for."""
    import pyarrow as pa
    from pyarrow import compute

    places = compute.index_in(pa.array(digests, pa.string()), value_set=table.column("digest").combine_chunks())
    rows: dict[str, dict[str, Any]] = {}
    for batch in table.take(places).to_batches(max_chunksize=4096):
        for row in batch.to_pylist():
            rows[row["digest"]] = {name: value for name, value in row.items() if value is not None}
    return rows


def _described(row: dict[str, Any]) -> dict[str, Any]:
    def fields(group: str) -> dict[str, Any]:
        begin = f"{group}."
        return {name.removeprefix(begin): value for name, value in row.items() if name.startswith(begin)}

    chosen: list[Any] = [row.get(f"selection.{name}") for name in ("part", "column", "fraction", "held_out")]
    return {
        "digest": row["digest"],
        "model": with_fields(row["model.name"], fields("model.fields")),
        "corruption": with_fields(row["corruption.name"], fields("corruption.fields")),
        "selection": "none" if chosen[0] is None else chosen_text(*chosen),
        "seed": row["seed"],
        "status": row["status"],
        "steps_to_fit": row.get("summary.steps_to_fit"),
        "train_accuracy": row.get("last.train_accuracy"),
        "test_accuracy": row.get("last.test_accuracy"),
    }


def _expected(spec: RunSpec) -> dict[str, Any]:
    return {
        "digest": spec.digest,
        "model": model_text(spec),
        "corruption": corruption_text(spec),
        "selection": selection_text(spec),
        "seed": spec.seed,
        "status": Status.CANCELLED.value,
        "steps_to_fit": None,
        "train_accuracy": None,
        "test_accuracy": None,
    }


def render_runs(described: dict[str, Any]) -> str:
    """The list as a table."""
    from rich.text import Text

    table = new_table()
    for name in ("run", "model", "corruption"):
        table.add_column(name, overflow="fold")
    table.add_column("seed", justify="right")
    table.add_column("status", no_wrap=True)
    for name in ("steps to fit", "train", "test"):
        table.add_column(name, justify="right", min_width=6)
    for run in described["runs"]:
        steps = run["steps_to_fit"]
        table.add_row(
            run["digest"][:SHORT],
            Text(run["model"]),
            # Blanks break lines where underscores do not.
            Text(run["corruption"].replace("_", " ") + ("" if run["selection"] == "none" else f"; {run['selection']}")),
            str(run["seed"]),
            STATUSES[run["status"]][0],
            "–" if steps is None else f"{steps:,}",
            _fraction(run["train_accuracy"]),
            _fraction(run["test_accuracy"]),
        )
    return printed(table, Text(_told(described)))


def _told(described: dict[str, Any]) -> str:
    """How many runs match and are shown, and how the runs of the store ended where no choice was made among them."""
    count, matching, planned = len(described["runs"]), described["matching"], sum(described["counts"].values())
    if matching < planned:
        match = f"{matching:,} of {planned:,} runs in {described['store']} match"
        return f"{match}, {count:,} shown" if count < matching else match
    shown = f"{count:,} of {matching:,} runs shown" if count < matching else plural(count, "run")
    return f"{shown} in {described['store']}; {counts_text(described['counts'])}"


def describe_run(store: Store, prefix: str) -> dict[str, Any]:
    """Everything about one run: its spec, summary, rows, units, error and provenance.

    Args:
        store: where it is.
        prefix: its name, or any unique beginning of it.

    Raises:
        SpecError: ``unknown-run`` where none has that name, ``run-ambiguous`` where several have.
    """
    planned = {
        digest: (plan, place)
        for plan in store.plans()
        for place, digest in enumerate(plan.digests)
        if digest.startswith(prefix)
    }
    present = (digest for digest in store.all_digests() if digest.startswith(prefix))
    matches = list(dict.fromkeys([*planned, *present]))
    if not matches:
        raise SpecError("unknown-run", f"No run in {store.root} is named {prefix!r}; `shattering show` lists them.")
    if len(matches) > 1:
        raise SpecError("run-ambiguous", f"{prefix!r} begins the names of {len(matches)} runs; type more of the name.")
    found = store.records(matches)
    if not found and matches[0] not in planned:
        raise SpecError("unknown-run", f"The run {matches[0]} in {store.root} cannot be read; repeat it with `run`.")
    if found:
        record = found[0]
    else:
        plan, place = planned[matches[0]]
        record = Record(spec=plan.specs[place], status=Status.CANCELLED)
    return {
        "store": str(store.root),
        "digest": record.digest,
        "status": record.status.value,
        "spec": record.spec.model_dump(mode="json"),
        "selection": selection_text(record.spec),
        "start": start_text(record.spec),
        "summary": dict(record.summary),
        "rows": [dict(row) for row in record.rows],
        "units": dict(record.units),
        "weights_sha256": record.weights_sha256,
        "error": record.error,
        "provenance": dict(record.provenance),
    }


def render_run(described: dict[str, Any]) -> str:
    """One run as text: spec, summary, the snapshots (thinned to fit), and where it came from."""
    from rich.table import Table
    from rich.text import Text

    facts = Table.grid(padding=(0, 2))
    word, meaning = STATUSES[described["status"]]
    facts.add_row("run", described["digest"])
    facts.add_row("status", f"{word}: {meaning}")
    for title, part in (("error", described["error"] or {}), ("", described["summary"])):
        for name, value in part.items():
            facts.add_row(Text(f"{title} {name}".strip()), Text(_value(value)))
    spec = described["spec"] | {"selection": described["selection"], "start": described["start"]}
    if spec["model"]["name"].startswith(WATCHED):
        spec = {group: fields for group, fields in spec.items() if group not in UNKNOWN_OF_WATCHED}
    for group, fields in spec.items():
        flat = fields.items() if isinstance(fields, dict) else [("", fields)]
        for name, value in flat:
            facts.add_row(Text(f"{group}.{name}".rstrip(".")), Text(_value(value)))
    for name, value in described["provenance"].items():
        facts.add_row(Text(name), Text(_value(value)))
    rows = described["rows"]
    wanted = [name for name in SHOWN if any(name in row for row in rows)]
    table = new_table()
    for name in wanted:
        table.add_column(name.replace("_", " "), justify="right")
    stride = max(1, -(-len(rows) // MOST_ROWS))
    for row in rows[::-1][::stride][::-1]:
        table.add_row(*(_value(row.get(name)) for name in wanted))
    return printed(facts, table) if rows else printed(facts)


def _fraction(value: float | None) -> str:
    return "–" if value is None else percent(value)


def _value(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
