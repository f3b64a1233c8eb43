"""The command ``shattering``: the one place where an error turns into a message and an exit code."""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from difflib import get_close_matches

from cyclopts import App
from cyclopts.exceptions import (
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    RepeatArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from shattering import __version__
from shattering.cli.audit import audit
from shattering.cli.listing import list_registered
from shattering.cli.output import Interrupted, StdoutClosed, discard_stdout, tell
from shattering.cli.query import query
from shattering.cli.reading import compare, report, show
from shattering.cli.run import run
from shattering.cli.serve import serve
from shattering.cli.shatter import shatter
from shattering.cli.sweep import sweep
from shattering.core.errors import ShatteringError, SpecError, StoreError, nearest
from shattering.execution.signals import die_by

MACHINE_ERRORS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EMFILE,
    errno.ENOMEM,
}
"""What the machine may refuse at any time; every other `OSError` that gets here is a mistake of ours."""

USAGE_IDENTIFIERS: dict[type[CycloptsError], str] = {
    UnusedCliTokensError: "unused-argument",
    MissingArgumentError: "missing-argument",
    RepeatArgumentError: "repeated-option",
    CoercionError: "option-wrong-value",
}

app = App(
    name="shattering",
    help="Why do networks that can fit pure noise generalise at all, and does yours?\n\n"
    "Results go to standard output, progress and messages to standard error. Exit codes: 0 all planned "
    "runs have outcomes, 1 a bug in shattering, 2 usage or spec, 3 data, 4 your model, 5 store or machine, "
    "6 some runs failed, 130 stopped by Ctrl-C (128 + the signal's number).",
    version=__version__,
    help_format="plaintext",
    exit_on_error=False,
    print_error=False,
    suppress_keyboard_interrupt=False,
    result_action="return_value",
)
app.command(list_registered, name="list")
app.command(run)
app.command(audit)
app.command(sweep)
app.command(shatter)
app.command(report)
app.command(compare)
app.command(show)
app.command(query)
app.command(serve)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line.

    Args:
        argv: the words after the program's name; none: those of the process.

    Returns:
        The exit code. A signal, and a closed standard output, end the process by that signal instead.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    if debug:
        os.environ["SHATTERING_DEBUG"] = "1"  # workers inherit it and print their tracebacks
    try:
        code = _run(words)
        sys.stdout.flush()
        return code
    except (KeyboardInterrupt, Interrupted, StdoutClosed, BrokenPipeError) as error:
        number = _signal_of(error)
        die_by(number)
        return 128 + number
    except Exception as error:
        if debug:
            traceback.print_exc()
        return _fail(error)


def _run(words: list[str]) -> int:
    try:
        return int(app(words) or 0)
    except CycloptsError as error:
        raise _usage(error) from error


def _usage(error: CycloptsError) -> SpecError:
    error.verbose = False
    command = " ".join(["shattering", *(error.command_chain or ())])
    if isinstance(error, UnknownOptionError):
        option = (error.token.keyword or error.token.value).partition("=")[0]
        known = [name for argument in error.argument_collection for name in argument.names]
        return SpecError("unknown-option", f"`{command}` has no option {option!r}; {nearest(option, known)}")
    if isinstance(error, UnknownCommandError) and error.unused_tokens:
        return _unknown_command(error.unused_tokens[0])
    identifier = next((name for kind, name in USAGE_IDENTIFIERS.items() if isinstance(error, kind)), "usage")
    told = " ".join(str(error).split())
    joint = " See" if told.endswith("?") else "; see"
    return SpecError(identifier, f"{told.removesuffix('.')}{joint} `{command} --help`.")


def _unknown_command(word: str) -> SpecError:
    commands = [name for name in app if not name.startswith("-")]
    close = get_close_matches(word, commands, n=1, cutoff=0.5)
    meant = f" (did you mean {close[0]!r}?)" if close else ""
    told = f"`shattering` has no command {word!r}{meant}; the commands are {', '.join(commands)}."
    return SpecError("unknown-command", told)


def _fail(error: Exception) -> int:
    match error:
        case ShatteringError():
            told = error
        case MemoryError():
            told = StoreError("out-of-memory", "The memory does not suffice; use fewer --jobs or a smaller --scale.")
        case OSError() if error.errno in MACHINE_ERRORS:
            discard_stdout()
            place = f" at {error.filename}" if error.filename else ""
            remedy = "free space there or mend its permissions"
            told = StoreError("machine-refused", f"The machine refused{place}: {error.strerror}; {remedy}.")
        case _:
            what = " ".join(f"{type(error).__name__}: {error}".split())
            told = ShatteringError(
                "bug",
                f"This is a bug in shattering ({what}); type the command again with --debug and report what it says.",
            )
    tell(f"error [{told.identifier}]: {told.message}")
    return told.exit_code


def _signal_of(error: BaseException) -> int:
    match error:
        case KeyboardInterrupt():
            return int(signal.SIGINT)
        case Interrupted():
            return error.number
        case _:
            discard_stdout()
            return int(signal.SIGPIPE)
