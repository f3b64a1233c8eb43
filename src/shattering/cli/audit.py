"""``shattering audit``: what a user's network learns and memorises of her data, and which labels look wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from shattering.cli.options import COMMON, Common, Flag, Words, command_line, resolve_fields
from shattering.cli.output import Interrupted, emit, emit_json, tell
from shattering.core.errors import EXIT_RUNS_FAILED
from shattering.core.words import plural

if TYPE_CHECKING:
    from shattering.execution.audit_subject import Prepared


def audit(
    model: str,
    /,
    *,
    data: Annotated[str, Parameter(metavar="NAME|PATH")],
    test: Annotated[str | None, Parameter(metavar="PATH")] = None,
    label: Annotated[str | None, Parameter(metavar="COLUMN")] = None,
    data_dir: Annotated[str | None, Parameter(metavar="DIR")] = None,
    weights: Annotated[str | None, Parameter(metavar="FILE")] = None,
    budget: Annotated[str, Parameter(metavar="TIME")] = "10m",
    checks: Annotated[Words, Parameter(metavar="CHECK")] = None,
    assignments: Annotated[Words, Parameter(name="--set", metavar="FIELD=VALUE")] = None,
    out: Annotated[str, Parameter(metavar="DIR")] = "audit",
    device: Literal["cpu", "cuda"] = "cpu",
    jobs: Annotated[int | None, Parameter(metavar="N")] = None,
    dry_run: Flag = False,
    common: Common = COMMON,
) -> int:
    """Audit your own network and data: signal, noise, memorisation, wrong labels, coherence, remedies, soundness.

    Trains the network many times from scratch within the budget, on the data as they are and altered, and writes a
    report. The same command again continues it, or prints the answer at once.

    Parameters
    ----------
    model
        MODULE:FACTORY, FILE.py:FACTORY, or a registered model such as mlp_1x512.
    data
        An .npz, Parquet or CSV file, a folder of images, or a registered data set.
    test
        Test data, where they lie apart. Default: the data's own test part, or a fifth held out of them.
    label
        Column of a table that holds the labels. Default: the first of label, labels, target, targets, y, class and
        fine_label that is there.
    data_dir
        Folder that holds the files of a named data set.
    weights
        Trained weights (.safetensors, or a state dict that torch loads without running code) to be looked at, too.
    budget
        Time that the trainings may take, such as 90s, 10m or 2h.
    checks
        Which checks; commas between several, or repeat it. Default: all. See `shattering list checks`.
    assignments
        Sets a field of every training, such as training.learning_rate=1e-3. Repeat it for more.
    out
        Folder of the results.
    device
        Where to train.
    jobs
        Trainings at a time. Default: one per core.
    dry_run
        Print what would be trained and what it could tell, and train nothing.
    """
    from shattering.cli.run import check_out
    from shattering.core.config import Config, minutes_of
    from shattering.execution.audit import run_audit
    from shattering.execution.audit_subject import names_of, prepare_audit

    check_out(Path(out))
    given: dict[str, str | list[str] | None] = {
        "data": data,
        "test": test,
        "label": label,
        "data_dir": data_dir,
        "weights": weights,
        "budget": None if budget == "10m" else budget,
        "checks": checks,
        "set": assignments,
        "out": None if out == "audit" else out,
        "device": None if device == "cpu" else device,
        "jobs": None if jobs is None else str(jobs),
    }
    prepared = prepare_audit(
        model,
        data=data,
        test=test,
        label=label,
        data_dir=Path(data_dir) if data_dir is not None else None,
        weights=Path(weights) if weights is not None else None,
        minutes=minutes_of(budget),
        names=names_of(checks or []),
        overrides=resolve_fields(assignments or [], Config()),
        out=Path(out),
        device=device,
        jobs=jobs,
        command=command_line(["audit", model], given, {}),
    )
    if dry_run:
        return _describe(prepared, common)
    done = run_audit(prepared, out=Path(out), quiet=common.quiet)
    if done.interrupted_by is not None:
        tell(f"Stopped; finished trainings are kept. To continue: {prepared.planned.plan.command}")
        raise Interrupted(done.interrupted_by)
    from shattering.report.audited import reported

    report = reported(done)
    if common.json:
        emit_json(report.told)
    else:
        emit(str(report))
    return EXIT_RUNS_FAILED if done.counts["failed"] else 0


def _describe(prepared: Prepared, common: Common) -> int:
    """What ``--dry-run`` prints: what each check would get, and what it could tell."""
    from shattering.report.audit import plan_told
    from shattering.report.audit_terminal import render_plan
    from shattering.report.words import duration

    told = plan_told(prepared)
    if common.json:
        emit_json(told)
        return 0
    emit(
        f"{told['model']} on {told['data']}, {duration(prepared.minutes)} on "
        f"{plural(prepared.jobs, 'process')}; as far as can be foreseen before the first training:\n"
        f"{render_plan(told['plan'])}Nothing was trained."
    )
    return 0
