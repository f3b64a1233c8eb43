"""``shattering sweep``: carries out any combination of spec fields, or tells what that would take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from shattering.cli.options import (
    COMMON,
    Common,
    Flag,
    RunOptions,
    Words,
    command_line,
    resolve_fields,
    resolve_options,
)
from shattering.cli.output import emit, emit_json

if TYPE_CHECKING:
    from shattering.core.sweep import Sweep
    from shattering.execution.plan import Planned


def sweep(
    file: str,
    /,
    *,
    data: Annotated[str | None, Parameter(metavar="NAME|PATH")] = None,
    data_dir: Annotated[str | None, Parameter(metavar="DIR")] = None,
    scale: Annotated[str | None, Parameter(metavar="smoke|small|paper")] = None,
    seeds: Annotated[str | None, Parameter(metavar="N")] = None,
    assignments: Annotated[Words, Parameter(name="--set", metavar="FIELD=VALUE")] = None,
    engine: Annotated[str | None, Parameter(metavar="local|ray|slurm")] = None,
    address: Annotated[str | None, Parameter(metavar="auto|HOST:PORT")] = None,
    slurm: Annotated[Words, Parameter(metavar="KEY=VALUE")] = None,
    out: Annotated[str | None, Parameter(metavar="DIR")] = None,
    device: Annotated[str | None, Parameter(metavar="cpu|cuda")] = None,
    jobs: Annotated[str | None, Parameter(metavar="N")] = None,
    keep_weights: Flag = False,
    yes: Flag = False,
    dry_run: Flag = False,
    common: Common = COMMON,
) -> int:
    """Run every combination that a YAML file asks for; the same command again continues it.

    A file names a base (a study, or fields of one run) and what to vary: grid, zip, sample, seeds, threshold. See
    docs/sweeps.md and the files in examples.

    Parameters
    ----------
    file
        The sweep's YAML file.
    data
        A data set's name, or the path of an .npz file or a folder of images. Default: the file's, or digits.
    data_dir
        Folder that holds the files of a named data set.
    scale
        Of the file's study, in place of the file's: smoke, small or paper.
    seeds
        Number of seeds, in place of the file's.
    assignments
        Sets a field of every run, such as training.learning_rate=1e-3. Repeat it for more.
    engine
        Where runs are carried out: processes of this machine, Ray, or Slurm. Default: local.
    address
        With --engine ray: a running cluster. Default: one on this machine, for as long as the command runs.
    slurm
        With --engine slurm: a setting such as partition=cpu or timeout_min=120. Repeat it for more.
    out
        Folder of the results. Default: runs.
    device
        Default: cpu.
    jobs
        Runs at a time. Default: one per core.
    keep_weights
        Keep the final weights of every run.
    yes
        Do not ask back about more than 10,000 runs, or more than the file's runs_at_most.
    dry_run
        Print the plan with its cost, and write nothing.
    """
    from shattering.cli.run import check_out
    from shattering.core.config import Config
    from shattering.core.sweep_file import changed, read_sweep
    from shattering.execution.engines import check_choice
    from shattering.execution.sweep import plan_sweep

    given: dict[str, str | list[str] | None] = {
        "data": data,
        "data_dir": data_dir,
        "scale": scale,
        "seeds": seeds,
        "engine": engine,
        "address": address,
        "slurm": slurm,
        "out": out,
        "device": device,
        "jobs": jobs,
    }
    options = resolve_options({**given, "keep_weights": "true" if keep_weights else None}, Config())
    check_choice(options.engine, options.address, options.slurm)
    check_out(options.out)
    fields = resolve_fields(assignments or [], Config())
    declared = read_sweep(Path(file))
    replaced: dict[str, Any] = {name: value for name, value in (("data", data), ("scale", scale)) if value is not None}
    if options.seeds is not None and declared.threshold is not None:
        replaced["threshold"] = {**declared.tree["threshold"], "seeds": options.seeds}
    elif options.seeds is not None:
        replaced["seeds"] = options.seeds
    if replaced or fields:
        declared = changed(declared, base=fields, **replaced)
    switches = {"keep_weights": keep_weights, "yes": yes}
    planned = plan_sweep(
        declared,
        data_dir=options.data_dir,
        device=options.device,
        yes=yes,
        command=command_line(["sweep", file], {**given, "set": assignments}, switches),
    )
    if dry_run:
        return _describe(planned, declared, options, common)
    return _carry_out(planned, declared, options, common)


def _carry_out(planned: Planned, declared: Sweep, options: RunOptions, common: Common) -> int:
    from shattering.cli.run import engine_of, reported
    from shattering.execution.sweep import run_sweep

    outcome = run_sweep(
        planned,
        declared,
        out=options.out,
        jobs=options.jobs,
        keep_weights=options.keep_weights,
        quiet=common.quiet,
        **engine_of(planned, options, common),
    )
    return reported(outcome, common)


def _describe(planned: Planned, declared: Sweep, options: RunOptions, common: Common) -> int:
    from shattering.cli.sweep_plan import describe_sweep, render_sweep_plan

    described: dict[str, Any] = describe_sweep(planned, declared, options.out, options.jobs, quiet=common.quiet)
    if common.json:
        emit_json(described)
    else:
        emit(render_sweep_plan(described))
    return 0
