"""``shattering shatter``: how easily a network fits random labels, at the data set's size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from shattering.cli.options import COMMON, Common, Flag, Words, command_line, resolve_fields
from shattering.cli.output import Interrupted, emit, emit_json, tell
from shattering.core.errors import EXIT_RUNS_FAILED, SpecError
from shattering.core.words import plural

if TYPE_CHECKING:
    from shattering.execution.capacity import Prepared


def shatter(
    model: str,
    /,
    *,
    data: Annotated[str | None, Parameter(metavar="NAME|PATH")] = None,
    data_dir: Annotated[str | None, Parameter(metavar="DIR")] = None,
    minutes: Annotated[float, Parameter(metavar="M")] = 3.0,
    budget: Annotated[Words, Parameter(metavar="UPDATES")] = None,
    seeds: Annotated[int, Parameter(metavar="N")] = 3,
    assignments: Annotated[Words, Parameter(name="--set", metavar="FIELD=VALUE")] = None,
    out: Annotated[str, Parameter(metavar="DIR")] = "runs",
    device: Literal["cpu", "cuda"] = "cpu",
    jobs: Annotated[int | None, Parameter(metavar="N")] = None,
    dry_run: Flag = False,
    common: Common = COMMON,
) -> int:
    """Tell how easily a network fits random labels of as many examples as the data set has.

    Trains on subsets with real and with random labels, and carries the times to fit on to the whole data set, with
    the error of doing so. The same command again continues it, or prints the answer at once.

    Parameters
    ----------
    model
        MODULE:FACTORY, or a registered model such as mlp_1x512.
    data
        A data set's name, or the path of an .npz file or a folder of images. Default: digits.
    data_dir
        Folder that holds the files of a named data set.
    minutes
        Time that the training may take; subsets are chosen to end in it.
    budget
        Updates within which to find the largest subset that is fitted; commas between several, or repeat it. Default:
        what the time allows.
    seeds
        Runs of each kind.
    assignments
        Sets a field of every run, such as training.learning_rate=1e-3. Repeat it for more.
    out
        Folder of the results.
    device
        Where to train.
    jobs
        Runs at a time. Default: one per core.
    dry_run
        Print what would be trained first and how fast, and write nothing.
    """
    from shattering.cli.run import check_out
    from shattering.core.config import Config
    from shattering.execution.capacity import prepare_check, run_check

    _require_counts(seeds, jobs)
    check_out(Path(out))
    given: dict[str, str | list[str] | None] = {
        "data": data,
        "data_dir": data_dir,
        "minutes": None if minutes == 3.0 else f"{minutes:g}",
        "budget": budget,
        "seeds": None if seeds == 3 else str(seeds),
        "set": assignments,
        "out": None if out == "runs" else out,
        "device": None if device == "cpu" else device,
        "jobs": None if jobs is None else str(jobs),
    }
    prepared = prepare_check(
        model,
        data=data,
        data_dir=Path(data_dir) if data_dir is not None else None,
        minutes=minutes,
        budgets=_budgets(budget or []),
        seeds=seeds,
        overrides=resolve_fields(assignments or [], Config()),
        device=device,
        jobs=jobs,
        command=command_line(["shatter", model], given, {}),
    )
    if dry_run:
        return _describe(prepared, Path(out), common)
    check = run_check(prepared, out=Path(out), quiet=common.quiet)
    if check.interrupted_by is not None:
        tell(f"Stopped; finished runs are kept. To continue: {prepared.planned.plan.command}")
        raise Interrupted(check.interrupted_by)
    from shattering.report.capacity import findings
    from shattering.report.capacity_html import write_check
    from shattering.report.capacity_terminal import render_check

    found = findings(check)
    write_check(check, found)
    if common.json:
        emit_json(found)
    else:
        emit(render_check(found))
    return EXIT_RUNS_FAILED if found["runs"]["failed"] + found["runs"]["cancelled"] else 0


def _describe(prepared: Prepared, out: Path, common: Common) -> int:
    """What ``--dry-run`` prints: the question, its settings, the speed of an update, and what that time allows."""
    from shattering.execution.capacity import require_time

    question = prepared.question
    step = require_time(prepared)
    told: dict[str, Any] = {
        "study": "shatter",
        "model": question.base.model.name,
        "data": question.base.data.name,
        "n": question.target,
        "store": str(out),
        "smallest": question.smallest,
        "batch_size": question.base.training.batch_size,
        "learning_rates": list(question.rates),
        "seeds": question.seeds,
        "minutes": question.minutes,
        "jobs": question.jobs,
        "seconds_per_update": step,
        "updates_in_all": int(60 * question.minutes * question.jobs / step),
        "command": prepared.planned.plan.command,
    }
    if common.json:
        emit_json(told)
        return 0
    rates = ", ".join(f"{rate:g}" for rate in question.rates)
    emit(
        f"{told['model']} on {told['data']}: subsets of {question.smallest:,} examples and up, to answer for "
        f"{question.target:,}.\n"
        f"Real and random labels, {question.seeds} seeds, batches of {told['batch_size']}, "
        f"learning rate{'s to choose from' if len(question.rates) > 1 else ''} {rates}.\n"
        f"An update takes about {step:.2g} s, so {question.minutes:g} min on "
        f"{plural(question.jobs, 'process')} hold at most about {told['updates_in_all']:,} updates; starting "
        "the processes, some seconds, is not counted. Sizes follow from how fast the smaller ones are fitted.\n"
        "Nothing was written."
    )
    return 0


def _budgets(given: list[str]) -> list[int]:
    pieces = [piece.strip() for text in given for piece in text.split(",")]
    for piece in pieces:
        if not piece.isdecimal() or int(piece) < 1:
            raise SpecError("shatter-budget", f"--budget {piece!r} is no number of updates; give 1 or more.")
    return [int(piece) for piece in pieces]


def _require_counts(seeds: int, jobs: int | None) -> None:
    if seeds < 1:
        raise SpecError("seeds-too-few", f"--seeds {seeds} plans no run; give at least 1 (3 or more for intervals).")
    if jobs is not None and jobs < 1:
        raise SpecError("jobs-too-few", f"--jobs {jobs} leaves nobody to train; give at least 1.")
