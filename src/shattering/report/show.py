"""The runs of a store as a list, or one of them in full."""

from __future__ import annotations

from typing import Any

from shattering.core.errors import SpecError
from shattering.core.record import Record, Status
from shattering.report.settings import corruption_text, model_text, selection_text
from shattering.report.terminal import new_table, printed
from shattering.report.words import STATUSES, percent
from shattering.store.store import Store

SHORT = 8
MOST_ROWS = 40
SHOWN = ("step", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "m_coherence", "pristine_share")
"""Measured names with a column of their own, where a run has them."""


def describe_runs(store: Store) -> dict[str, Any]:
    """Every run that is planned or present: ``store`` and ``runs``.

    A run has ``digest``, ``model``, ``corruption``, ``selection``, ``seed``, ``status``, ``steps_to_fit``,
    ``train_accuracy`` and ``test_accuracy`` (last values, none where not measured).
    """
    specs = {spec.digest: spec for plan in store.plans() for spec in plan.specs}
    digests = list(dict.fromkeys([*specs, *store.all_digests()]))
    records = {record.digest: record for record in store.records(digests)}
    runs = []
    for digest in digests:
        record = records.get(digest)
        spec = record.spec if record else specs.get(digest)
        if spec is None:
            continue
        last = record.last if record else {}
        runs.append(
            {
                "digest": digest,
                "model": model_text(spec),
                "corruption": corruption_text(spec),
                "selection": selection_text(spec),
                "seed": spec.seed,
                "status": record.status.value if record else Status.CANCELLED.value,
                "steps_to_fit": record.summary.get("steps_to_fit") if record else None,
                "train_accuracy": last.get("train_accuracy"),
                "test_accuracy": last.get("test_accuracy"),
            }
        )
    return {"store": str(store.root), "runs": runs}


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
    count = len(described["runs"])
    return printed(table, Text(f"{count} run{'' if count == 1 else 's'} in {described['store']}"))


def describe_run(store: Store, prefix: str) -> dict[str, Any]:
    """Everything about one run: its spec, summary, rows, units, error and provenance.

    Args:
        store: where it is.
        prefix: its name, or any unique beginning of it.

    Raises:
        SpecError: ``unknown-run`` where none has that name, ``run-ambiguous`` where several have.
    """
    specs = {spec.digest: spec for plan in store.plans() for spec in plan.specs}
    matches = [digest for digest in dict.fromkeys([*specs, *store.all_digests()]) if digest.startswith(prefix)]
    if not matches:
        raise SpecError("unknown-run", f"No run in {store.root} is named {prefix!r}; `shattering show` lists them.")
    if len(matches) > 1:
        raise SpecError("run-ambiguous", f"{prefix!r} begins the names of {len(matches)} runs; type more of the name.")
    found = store.records(matches)
    if not found and matches[0] not in specs:
        raise SpecError("unknown-run", f"The run {matches[0]} in {store.root} cannot be read; repeat it with `run`.")
    record = found[0] if found else Record(spec=specs[matches[0]], status=Status.CANCELLED)
    return {
        "store": str(store.root),
        "digest": record.digest,
        "status": record.status.value,
        "spec": record.spec.model_dump(mode="json"),
        "selection": selection_text(record.spec),
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
    for group, fields in (described["spec"] | {"selection": described["selection"]}).items():
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
