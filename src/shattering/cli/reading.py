"""The commands that read a store: ``report``, ``compare`` and ``show``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from shattering.cli.options import COMMON, Common
from shattering.cli.output import emit, emit_json, tell
from shattering.core.errors import SpecError, StoreError

if TYPE_CHECKING:
    from shattering.core.plan import Plan
    from shattering.store.store import Store


MANY, FIRST = 200, 40
"""Where more than so many runs are to be listed for people, only the first few are."""


def report(folder: str, /, *, common: Common = COMMON) -> None:
    """Write the reports of a store again, and print their summaries.

    With --json: the object that run prints; where the store holds several studies, a list of them under "reports".

    Parameters
    ----------
    folder
        The store, as given to run with --out.
    """
    began = time.monotonic()
    store, plans = _opened(Path(folder), common)
    summaries = [_reported(store, plan, time.monotonic() - began, common) for plan in plans]
    if common.json:
        emit_json(summaries[0] if len(summaries) == 1 else {"store": str(store.root), "reports": summaries})
    else:
        for summary in summaries:
            _print(summary)


def compare(*folders: str, paper: str | None = None, study: str | None = None, common: Common = COMMON) -> None:
    """Set whole papers beside the results of stores: published, ours, interval, verdict, and what was not run.

    Every study of a paper is told of as soon as one of them has runs here.

    Parameters
    ----------
    folders
        Stores, or folders that hold stores, one or more.
    paper
        Only this paper: the beginning of its studies' names, such as zhang2017, or a part of its citation or title.
    study
        Only this study: its name or a unique beginning.
    """
    from shattering.report.comparison import compare_stores, open_stores
    from shattering.report.comparison_text import render_comparison

    if not folders:
        raise SpecError("missing-argument", "compare needs one store or more; type `shattering compare DIR DIR`.")
    stores = [store for folder in folders for store in open_stores(Path(folder))]
    comparison = compare_stores(stores, paper=paper, study=study)
    for problem in [problem for store in stores for problem in store.problems]:
        _remark(problem, common)
    if common.json:
        emit_json(comparison)
    else:
        emit(render_comparison(comparison))


def show(
    folder: str,
    run: str | None = None,
    /,
    *,
    where: str | None = None,
    status: Literal["done", "not_fitted", "diverged", "failed", "cancelled"] | None = None,
    limit: int | None = None,
    common: Common = COMMON,
) -> None:
    """List the runs of a store, or tell everything about one.

    Parameters
    ----------
    folder
        The store.
    run
        A run's name, or any unique beginning of it; without it, all are listed.
    where
        Only runs that meet this condition, in SQL on the columns that `shattering query DIR` lists, such as
        "training.learning_rate > 0.01 AND last.test_accuracy < 0.9".
    status
        Only runs that ended so.
    limit
        Runs at most; without it, 40 where there are more than 200, all with --json.
    """
    from shattering.core.record import Status
    from shattering.report.show import describe_run, describe_runs, render_run, render_runs
    from shattering.store.store import Store

    store = Store.open(Path(folder), write=False)
    if run is None:
        if limit is not None and limit < 1:
            raise SpecError("option-wrong-value", f"--limit {limit} is too small; give a whole number from 1 up.")
        chosen = None if status is None else Status(status)
        most = limit if limit is not None or common.json else MANY
        described = describe_runs(store, where=where, status=chosen, limit=most)
        if limit is None and described["matching"] > MANY and not common.json:
            described["runs"] = described["runs"][:FIRST]
        store.index.save()
    else:
        if where is not None or status is not None or limit is not None:
            told = f"--where, --status and --limit choose among runs, and {run!r} is one; leave them out."
            raise SpecError("conflicting-options", told)
        described = describe_run(store, run)
    if common.json:
        emit_json(described)
    else:
        emit(render_runs(described) if run is None else render_run(described))


def print_report(store: Store, plan: Plan, seconds: float, common: Common) -> dict[str, int]:
    """Writes the report of a plan, prints its summary, and gives the number of runs by status."""
    summary = _reported(store, plan, seconds, common)
    if common.json:
        emit_json(summary)
    else:
        _print(summary)
    counts: dict[str, int] = summary["runs"]
    return counts


def _opened(folder: Path, common: Common) -> tuple[Store, list[Plan]]:
    """The store, open for writing where that is allowed, and its plans, of which there is at least one."""
    from shattering.store.store import Store

    store = Store.open(folder, write=False)
    plans = store.plans()
    if not plans:
        raise StoreError(
            "store-empty", f"The store {folder} holds no plan; make one with `shattering run --out {folder}`."
        )
    try:
        store = Store.open(folder, write=True)
    except StoreError as error:
        _remark(f"The reports are left as they are: {error.message.partition(';')[0]}.", common)
    return store, plans


def _reported(store: Store, plan: Plan, seconds: float, common: Common) -> dict[str, Any]:
    """The summary of a plan; its HTML report is written where the store may be written."""
    if plan.sweep is not None:
        from shattering.report.sweep_html import summarise_sweep as summarise
        from shattering.report.sweep_html import write_sweep as write_report
    else:
        from shattering.report.html import write_report
        from shattering.report.summary import summarise

    if store.write:
        write_report(store, plan, seconds=seconds)
    summary = summarise(store, plan, seconds=seconds)
    for problem in store.problems:
        _remark(problem, common)
    return summary


def _print(summary: dict[str, Any]) -> None:
    if "sweep" in summary:
        from shattering.report.sweep_terminal import render_sweep as render
    else:
        from shattering.report.terminal import render

    emit(render(summary))


def _remark(text: str, common: Common) -> None:
    if not common.quiet:
        tell(text)
