"""``shattering run``: carries out a study, or tells what that would take."""

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
    option_names,
    resolve_fields,
    resolve_options,
)
from shattering.cli.output import Interrupted, emit, emit_json, tell
from shattering.core.errors import EXIT_RUNS_FAILED, SpecError

if TYPE_CHECKING:
    from shattering.execution.plan import Planned
    from shattering.execution.study import Outcome

CONFIRM_ABOVE = 10_000
"""Runs; a plan of more must be confirmed with ``--yes``."""


def run(
    study: str,
    /,
    *,
    data: Annotated[str | None, Parameter(metavar="NAME|PATH")] = None,
    data_dir: Annotated[str | None, Parameter(metavar="DIR")] = None,
    scale: Annotated[str | None, Parameter(metavar="smoke|small|paper")] = None,
    seeds: Annotated[str | None, Parameter(metavar="N")] = None,
    models: Annotated[Words, Parameter(metavar="A,B")] = None,
    assignments: Annotated[Words, Parameter(name="--set", metavar="FIELD=VALUE")] = None,
    config: Annotated[str | None, Parameter(metavar="FILE")] = None,
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
    """Run a study; the same command again continues it.

    Parameters
    ----------
    study
        The study's name, or any unique beginning of it.
    data
        A data set's name, or the path of an .npz file or a folder of images. Default: digits, or the study's own.
    data_dir
        Folder that holds the files of a named data set.
    scale
        smoke takes seconds, small minutes on two cores, paper follows the published protocol. Default: small.
    seeds
        Number of seeds. Default: as many as the study plans.
    models
        Models in place of the study's own: registered names or MODULE:FACTORY; commas between them, or repeat it.
    assignments
        Sets a field of every run, such as training.learning_rate=1e-3. Repeat it for more.
    config
        YAML file of such fields, with the options of this command under the key run; the command line wins.
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
        Do not ask back about more than 10,000 runs.
    dry_run
        Print the plan with its cost, and write nothing.
    """
    from shattering.core.config import Config, read_config
    from shattering.core.study import find_study
    from shattering.execution.distributed import is_first, launch_command, launched
    from shattering.execution.engines import check_choice

    switches = {"keep_weights": keep_weights, "yes": yes}
    given: dict[str, str | list[str] | None] = {
        "data": data,
        "data_dir": data_dir,
        "scale": scale,
        "seeds": seeds,
        "models": models,
        "engine": engine,
        "address": address,
        "slurm": slurm,
        "out": out,
        "device": device,
        "jobs": jobs,
    }
    settings = read_config(Path(config), option_names()) if config is not None else Config()
    options = resolve_options({**given, "keep_weights": "true" if keep_weights else None}, settings)
    fields = resolve_fields(assignments or [], settings)
    _check_size(options.seeds or 0, yes)
    check_out(options.out)
    check_choice(options.engine, options.address, options.slurm)
    name = find_study(study).name
    command = command_line(["run", name], {**given, "set": assignments, "config": config}, switches)
    if (processes := launched()) > 1:
        fields = {"compute.processes": processes, **fields}
        command = f"{launch_command()} {command}"
        if not dry_run:
            return _together(name, options, fields, command, yes, common)
        if not is_first():
            return 0
    planned = _plan(name, options, fields, command)
    _check_size(len(planned.plan.specs), yes)
    if dry_run:
        from shattering.cli.dry_run import describe, describe_text
        from shattering.execution.engines import too_small

        described = describe(planned, options.out, options.jobs, quiet=common.quiet)
        if note := too_small(options.engine, described["seconds"]):
            tell(note)
        if common.json:
            emit_json(described)
        else:
            emit(describe_text(described))
        return 0
    return _carry_out(planned, options, common)


def _plan(name: str, options: RunOptions, fields: dict[str, Any], command: str) -> Planned:
    from shattering.execution.plan import plan_study

    return plan_study(
        name,
        data=options.data,
        data_dir=options.data_dir,
        scale=options.scale,
        seeds=options.seeds,
        models=options.models,
        overrides=fields,
        device=options.device,
        command=command,
    )


def _carry_out(planned: Planned, options: RunOptions, common: Common) -> int:
    from shattering.execution.study import run_plan

    outcome = run_plan(
        planned,
        out=options.out,
        jobs=options.jobs,
        keep_weights=options.keep_weights,
        quiet=common.quiet,
        **engine_of(planned, options, common),
    )
    return reported(outcome, common)


def engine_of(planned: Planned, options: RunOptions, common: Common) -> dict[str, Any]:
    """What `run_plan` is to be told of the engine: nothing where it is the default.

    Says on standard error where the engine's start-up costs more than the work.
    """
    if options.engine == "local":
        return {}
    from shattering.execution.engines import choose_engine, warning

    heard = (lambda text: None) if common.quiet else tell
    if not common.quiet and (note := warning(options.engine, planned, options.out, options.jobs)):
        tell(note)
    engine = choose_engine(
        options.engine,
        planned,
        out=options.out,
        address=options.address,
        slurm=options.slurm,
        jobs=options.jobs,
        tell=heard,
    )
    return {"engine": engine}


def _together(name: str, options: RunOptions, fields: dict[str, Any], command: str, yes: bool, common: Common) -> int:
    """What one of the processes that torchrun started does; the first of them reports."""
    from shattering.execution.distributed import run_together

    if options.engine != "local":
        raise SpecError("engine-together", f"--engine {options.engine} and torchrun exclude each other; leave one out.")
    if options.jobs is not None:
        raise SpecError("jobs-together", "--jobs and torchrun exclude each other: all processes share each run.")

    def plan() -> Planned:
        planned = _plan(name, options, fields, command)
        _check_size(len(planned.plan.specs), yes)
        return planned

    done = run_together(
        plan, device=options.device, out=options.out, keep_weights=options.keep_weights, quiet=common.quiet
    )
    if done.outcome is not None:
        return reported(done.outcome, common)
    if done.interrupted_by is not None:
        raise Interrupted(done.interrupted_by)
    return 0


def reported(outcome: Outcome, common: Common) -> int:
    """Writes and prints the report of a plan that was carried out; returns the exit code.

    Raises `Interrupted`, once it is said how to continue, where the plan was stopped.
    """
    from shattering.cli.reading import print_report

    if outcome.interrupted_by is not None:
        tell(f"Stopped; finished runs are kept. To continue: {outcome.plan.command}")
        raise Interrupted(outcome.interrupted_by)
    counts = print_report(outcome.store, outcome.plan, outcome.seconds, common)
    return EXIT_RUNS_FAILED if counts.get("failed", 0) + counts.get("cancelled", 0) else 0


def _check_size(runs: int, yes: bool) -> None:
    if runs > CONFIRM_ABOVE and not yes:
        told = f"The plan has {runs} runs or more, and the limit is {CONFIRM_ABOVE}"
        raise SpecError("plan-too-large", f"{told}; ask for fewer --seeds, or confirm with --yes.")


def check_out(out: Path) -> None:
    """Raises `SpecError` where ``--out`` names a file, or a folder below one."""
    for part in (out, *out.parents):
        if part.exists() and not part.is_dir():
            raise SpecError("out-is-file", f"--out {out}: {part} is a file, not a folder; name another folder.")
