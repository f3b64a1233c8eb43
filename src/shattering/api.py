"""The library's front door: what the command line does, as functions.

Imports nothing heavy before it is called; training needs torch, numpy, pydantic, pillow, pyarrow, rich and safetensors
only, so that a study can be run on a machine without the packages of the command line and the report.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, overload

from shattering.core.study import Scale

if TYPE_CHECKING:
    from torch import nn

    from shattering.execution.study import Outcome
    from shattering.gradients.batches import Loss
    from shattering.report.audited import AuditReport
    from shattering.store.query import Results
    from shattering.watching.trackers import Tracker
    from shattering.watching.watch import Watch


def run(
    study: str,
    *,
    data: str | None = None,
    data_dir: str | Path | None = None,
    scale: Scale = "small",
    seeds: int | None = None,
    models: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
    out: str | Path = "runs",
    device: Literal["cpu", "cuda"] = "cpu",
    jobs: int | None = None,
    keep_weights: bool = False,
    quiet: bool = False,
    engine: str = "local",
    address: str | None = None,
    slurm: Sequence[str] = (),
) -> Outcome:
    """Runs a study, or whatever of it has no outcome yet in ``out``.

    Workers are started by spawning, so a script that calls this needs the usual ``if __name__ == "__main__":``.

    Args:
        study: its name, or any unique beginning of it.
        data: a registered data set, or the path of an ``.npz`` file or a folder of images; none: digits, or the first
            that the study is meant for where digits are not among them.
        data_dir: where to look for a registered data set first.
        scale: ``smoke``, ``small`` or ``paper``.
        seeds: how many; none: as many as the study plans.
        models: registered models or ``MODULE:FACTORY``, in place of the study's own.
        overrides: dotted spec fields, such as ``{"training.learning_rate": 0.01}``.
        out: folder of the store.
        device: ``cpu`` or ``cuda``.
        jobs: processes at most; none: one per core on the CPU, one on a GPU.
        keep_weights: whether to keep the final weights of each run.
        quiet: no progress on standard error.
        engine: where runs are done: ``local``, ``ray`` or ``slurm``.
        address: of a Ray cluster; none: one of this machine's own, for the length of the call.
        slurm: settings of submitit, each ``KEY=VALUE``.

    Returns:
        The plan, the store that holds its records, and how long it took.

    Raises:
        ShatteringError: what is wrong with the request, the data, the model or the store.
    """
    from shattering.execution.engines import choose_engine
    from shattering.execution.plan import plan_study
    from shattering.execution.study import run_plan
    from shattering.execution.unguarded import refuse_while_imported

    refuse_while_imported("shattering.run")
    told = "" if data is None else f"data={data!r}, "
    planned = plan_study(
        study,
        data=data,
        data_dir=Path(data_dir) if data_dir is not None else None,
        scale=scale,
        seeds=seeds,
        models=tuple(models),
        overrides=dict(overrides or {}),
        device=device,
        command=f"shattering.run({study!r}, {told}scale={scale!r}, out={str(out)!r})",
    )
    chosen = choose_engine(engine, planned, out=Path(out), address=address, slurm=tuple(slurm), jobs=jobs)
    return run_plan(planned, out=Path(out), jobs=jobs, keep_weights=keep_weights, quiet=quiet, engine=chosen)


def report(out: str | Path = "runs") -> list[Path]:
    """Writes the report of every plan in a store; returns the pages."""
    from shattering.report.html import write_report
    from shattering.report.sweep_html import write_sweep
    from shattering.store.store import Store

    store = Store.open(Path(out), write=True)
    return [(write_report if plan.sweep is None else write_sweep)(store, plan) for plan in store.plans()]


def sweep(
    what: str | Path | Mapping[str, Any],
    *,
    data_dir: str | Path | None = None,
    out: str | Path = "runs",
    device: Literal["cpu", "cuda"] = "cpu",
    jobs: int | None = None,
    keep_weights: bool = False,
    quiet: bool = False,
    engine: str = "local",
    address: str | None = None,
    slurm: Sequence[str] = (),
    yes: bool = False,
) -> Outcome:
    """Runs every combination that a sweep asks for, or whatever of it has no outcome yet in ``out``.

    Workers are started by spawning, so a script that calls this needs the usual ``if __name__ == "__main__":``.

    Args:
        what: a YAML file, or its content as a nested mapping, such as
            ``{"grid": {"training.learning_rate": [0.01, 0.1]}, "seeds": 3}``.
        data_dir: where to look for a registered data set first.
        out: folder of the store.
        device: ``cpu`` or ``cuda``.
        jobs: processes at most; none: one per core on the CPU, one on a GPU.
        keep_weights: whether to keep the final weights of each run.
        quiet: no progress on standard error.
        engine: where runs are done: ``local``, ``ray`` or ``slurm``.
        address: of a Ray cluster; none: one of this machine's own, for the length of the call.
        slurm: settings of submitit, each ``KEY=VALUE``.
        yes: whether more than 10,000 runs are meant.

    Returns:
        The plan with its first runs, the store that holds the records, and how long it took.

    Raises:
        ShatteringError: what is wrong with the request, the data, the model or the store.
    """
    from shattering.core.sweep_file import parse_sweep, read_sweep
    from shattering.execution.engines import choose_engine
    from shattering.execution.sweep import plan_sweep, run_sweep
    from shattering.execution.unguarded import refuse_while_imported

    refuse_while_imported("shattering.sweep")
    declared = parse_sweep(what) if isinstance(what, Mapping) else read_sweep(Path(what))
    planned = plan_sweep(
        declared,
        data_dir=Path(data_dir) if data_dir is not None else None,
        device=device,
        yes=yes,
        command=f"shattering.sweep({what if isinstance(what, Mapping) else str(what)!r}, out={str(out)!r})",
    )
    chosen = choose_engine(engine, planned, out=Path(out), address=address, slurm=tuple(slurm), jobs=jobs)
    return run_sweep(planned, declared, out=Path(out), jobs=jobs, keep_weights=keep_weights, quiet=quiet, engine=chosen)


def results(out: str | Path = "runs") -> Results:
    """The runs of a store as a table, and its answers to SQL.

    ``results("runs").to_pandas()`` (or ``to_polars()``, ``to_arrow()``) has a row per run, with the fields of its spec
    under their dotted names, ``summary.NAME`` and ``last.NAME``. ``results("runs").sql("SELECT … FROM runs")`` is such
    a table, too; it may also ask the tables ``rows`` (snapshots), ``examples`` and ``plans``.

    Args:
        out: folder of the store.

    Raises:
        ShatteringError: there is no store, it cannot be read, or a package that is needed is not installed.
    """
    from shattering.execution.defaults import results_of
    from shattering.store.store import Store

    found = results_of(Store.open(Path(out), write=False))
    found.store.index.save()
    return found


def shatter(
    model: str,
    *,
    data: str | None = None,
    data_dir: str | Path | None = None,
    minutes: float = 3.0,
    budgets: Sequence[int] = (),
    seeds: int = 3,
    overrides: Mapping[str, Any] | None = None,
    out: str | Path = "runs",
    device: Literal["cpu", "cuda"] = "cpu",
    jobs: int | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Tells how easily a network fits random labels of as many examples as the data set has; writes a report.

    The same call on the same ``out`` goes on where an earlier one stopped. Workers are started by spawning, so a script
    that calls this needs the usual ``if __name__ == "__main__":``.

    Args:
        model: ``MODULE:FACTORY``, or a registered network.
        data: a registered data set, or the path of an ``.npz`` file or a folder of images; none: digits.
        data_dir: where to look for a registered data set first.
        minutes: time that the training may take; subsets are chosen to end in it.
        budgets: updates within which to find the largest subset that is fitted; empty: what the time allows.
        seeds: runs of each kind.
        overrides: dotted spec fields, such as ``{"training.learning_rate": 0.01}``.
        out: folder of the store.
        device: ``cpu`` or ``cuda``.
        jobs: processes at most; none: one per core on the CPU, one on a GPU.
        quiet: no progress on standard error.

    Returns:
        What was found, the object that ``shattering shatter --json`` prints (see `report.capacity.findings`).

    Raises:
        ShatteringError: what is wrong with the request, the data, the model or the store.
    """
    from shattering.execution.capacity import prepare_check, run_check
    from shattering.execution.unguarded import refuse_while_imported
    from shattering.report.capacity import findings
    from shattering.report.capacity_html import write_check

    refuse_while_imported("shattering.shatter")
    told = "" if data is None else f", data={data!r}"
    prepared = prepare_check(
        model,
        data=data,
        data_dir=Path(data_dir) if data_dir is not None else None,
        minutes=minutes,
        budgets=tuple(budgets),
        seeds=seeds,
        overrides=overrides,
        device=device,
        jobs=jobs,
        command=f"shattering.shatter({model!r}{told}, minutes={minutes:g}, out={str(out)!r})",
    )
    check = run_check(prepared, out=Path(out), quiet=quiet)
    found = findings(check)
    write_check(check, found)
    return found


class AuditOptions(TypedDict, total=False):
    """What `audit` takes beside the model and the data; for type checkers."""

    test: Any
    label: str | None
    loss: str | Callable[..., Any] | None
    trained: nn.Module | str | Path | None
    budget: str | float
    checks: str | Sequence[str]
    overrides: Mapping[str, Any] | None
    out: str | Path
    data_dir: str | Path | None
    device: Literal["cpu", "cuda"]
    jobs: int | None
    quiet: bool


@overload
def audit(
    model: str | Callable[..., nn.Module],
    data: Any,
    *,
    dry_run: Literal[False] = False,
    **options: Unpack[AuditOptions],
) -> AuditReport:
    """An audit that trains."""


@overload
def audit(
    model: str | Callable[..., nn.Module], data: Any, *, dry_run: Literal[True], **options: Unpack[AuditOptions]
) -> dict[str, Any]:
    """What an audit would train."""


def audit(
    model: str | Callable[..., nn.Module],
    data: Any,
    *,
    test: Any = None,
    label: str | None = None,
    loss: str | Callable[..., Any] | None = None,
    trained: nn.Module | str | Path | None = None,
    budget: str | float = "10m",
    checks: str | Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
    out: str | Path = "audit",
    data_dir: str | Path | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
    jobs: int | None = None,
    quiet: bool = False,
    dry_run: bool = False,
) -> AuditReport | dict[str, Any]:
    """Audits a network and its data: signal, noise, memorisation, wrong labels, coherence, remedies, soundness.

    The network is trained many times from scratch, on the data as they are and altered, within the budget. The same
    call on the same ``out`` goes on where an earlier one stopped. Workers are started by spawning, so a script that
    calls this needs the usual ``if __name__ == "__main__":``.

    Args:
        model: a function that returns a new network (of a module or of the script itself), ``MODULE:FACTORY``,
            ``FILE.py:FACTORY``, or a registered network.
        data: a tuple or dict of arrays with a row per example, a data set, a DataLoader, a registered name, or the path
            of an ``.npz``, Parquet or CSV file or of a folder of images.
        test: test data in the same form; none: those that belong to ``data``, or a fifth held out of them.
        label: name of the labels' column or key; none: the usual ones.
        loss: of (outputs, labels), one number per example, or their mean or sum; none: cross-entropy.
        trained: a trained network, or a file of its weights, to be looked at, too.
        budget: time that the audit may take: ``"90s"``, ``"10m"``, ``"2h"``, or minutes.
        checks: which, several also in one text with commas between them; empty: all.
        overrides: dotted spec fields of every training, such as ``{"training.learning_rate": 0.01}``.
        out: folder of the results.
        data_dir: where to look for a registered data set first.
        device: ``cpu`` or ``cuda``.
        jobs: processes at most; none: one per core on the CPU, one on a GPU.
        quiet: no progress on standard error.
        dry_run: train nothing, and return what would be trained and what it could tell.

    Returns:
        The findings, each with value, interval, method, caveats and cost, and the page. Of a dry run, the object that
        ``shattering audit --dry-run --json`` prints: ``plan`` has a row per check.

    Raises:
        ShatteringError: what is wrong with the request, the data, the model or the store.
    """
    from shattering.core.config import minutes_of
    from shattering.execution.audit import run_audit
    from shattering.execution.audit_subject import names_of, prepare_audit
    from shattering.execution.trained import weights_file
    from shattering.execution.unguarded import refuse_while_imported
    from shattering.models.named import name_of
    from shattering.report.audit import plan_told
    from shattering.report.audited import reported
    from shattering.training.user_loss import loss_name

    refuse_while_imported("shattering.audit")
    overrides = dict(overrides or {})
    if loss is not None:
        overrides["training.loss"] = loss_name(loss)
    folder = Path(out)
    prepared = prepare_audit(
        name_of(model),
        data=data,
        test=test,
        label=label,
        data_dir=Path(data_dir) if data_dir is not None else None,
        weights=None if trained is None else weights_file(trained, folder),
        minutes=minutes_of(budget),
        names=names_of(checks),
        overrides=overrides,
        out=folder,
        device=device,
        jobs=jobs,
        command=f"shattering.audit({name_of(model)!r}, …, out={str(out)!r})",
    )
    if dry_run:
        return plan_told(prepared)
    return reported(run_audit(prepared, out=folder, quiet=quiet))


def watch(
    model: nn.Module,
    loss: Loss,
    *,
    probe: Any,
    every: int = 100,
    out: str | Path = "watched",
    changed: Any = None,
    max_overhead: float | None = 0.05,
    probe_examples: int = 512,
    tracker: Tracker | Sequence[Tracker] = (),
    right: Callable[..., Any] | None = None,
    collate: Callable[[list[Any]], Any] | None = None,
    name: str | None = None,
    seed: int = 0,
    enabled: bool = True,
    quiet: bool = False,
) -> Watch:
    """Measures a network now and then while your own loop trains it, and leaves no trace in the training.

    ``with watch(model, loss, probe=data) as w:`` around the loop, ``w.step(step)`` after every update. On a fixed set
    of examples, the probe, it measures coherence as a whole and by layer, loss, accuracy, since which update each
    example has been right, and all of it apart for pristine and corrupt examples where ``changed`` tells them apart.
    In evaluation mode: dropout is off, batch normalisation takes its running statistics, and that is said beside the
    numbers. The weights that come out are those of the training without the watch, bit for bit.

    The first look is made at the start and raises what is wrong; later ones never stop the training. ``w.rows``,
    ``w.examples``, ``w.notes`` and ``w.problems`` tell what was found; `results` and ``shattering show`` read it from
    ``out``.

    Args:
        model: any network that is whole in this process; one that was compiled or distributed is unwrapped.
        loss: of (outputs, targets) where a batch is a pair, else of (model, batch); one number per example, or their
            mean or sum.
        probe: a tuple or dict of arrays with a row per example, a data set, a DataLoader, or an iterable of batches.
        every: updates between two looks, at least 1.
        out: folder of the store.
        changed: bool ``[n]`` over what the probe is drawn from: which examples are corrupt; none: not known.
        max_overhead: share of the training's own time that watching may take, above 0; a look that would exceed it is
            left out, and how many were is said at the end. The first look is made in any case. None: any.
        probe_examples: how many examples to draw at most, at least 2; coherence depends on how many.
        tracker: ``shattering.track.TensorBoard("folder")``, ``WandB()``, ``MLflow()``, your own, or several.
        right: which examples are right, to bool ``[n]``, called as the loss is; none: those with the largest output at
            the target, where outputs are ``[n, k]`` and targets ``[n]``.
        collate: makes a batch of a list of the data set's items; none: the loader's, or torch's default.
        name: of this training in the store; none: a new one.
        seed: of the stream that draws the probe.
        enabled: false measures nothing, as on all but the main process of a distributed training.
        quiet: nothing on standard error at the end.

    Raises:
        ShatteringError: at the start of the block: the model has no parameters, cannot be measured, the loss is not one
            of single examples, the probe is empty, ``changed`` does not fit it, or ``out`` cannot be written.
    """
    from shattering.watching.watch import Watch

    return Watch(
        model,
        loss,
        probe=probe,
        every=every,
        out=out,
        changed=changed,
        max_overhead=max_overhead,
        probe_examples=probe_examples,
        tracker=tracker,
        right=right,
        collate=collate,
        name=name,
        seed=seed,
        enabled=enabled,
        quiet=quiet,
    )
