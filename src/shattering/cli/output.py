"""The two ways out of the program: results to standard output, everything else to standard error."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

from shattering.core.errors import StoreError


class StdoutClosed(Exception):
    """The reader of standard output has gone, as in ``shattering list | head -1``."""


class Interrupted(Exception):
    """A command was stopped by a signal, and has put its things in order.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def emit(text: str) -> None:
    """Writes a result to standard output, at once; what its encoding lacks becomes a question mark.

    Raises:
        StdoutClosed: nobody reads it any more.
        StoreError: it cannot be written, as on a full disk.
    """
    encoding = sys.stdout.encoding or "utf-8"
    printable = text.encode(encoding, "replace").decode(encoding)
    try:
        sys.stdout.write(printable if printable.endswith("\n") else f"{printable}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        discard_stdout()
        raise StdoutClosed from None
    except OSError as error:
        discard_stdout()
        raise StoreError(
            "stdout-unwritable",
            f"Standard output cannot be written: {error.strerror}; free space or redirect elsewhere.",
        ) from None


def emit_json(result: dict[str, Any]) -> None:
    """Writes the one JSON object of ``--json``."""
    emit(json.dumps(result, indent=2, allow_nan=False))


def tell(text: str) -> None:
    """Writes a message to standard error; a closed one is no reason to stop."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def waiting(what: str, *, quiet: bool) -> Iterator[None]:
    """Says on standard error what goes on, for as long as it does: moving on a terminal, as one line elsewhere."""
    from rich.console import Console

    console = Console(stderr=True)
    if quiet:
        yield
    elif console.is_terminal:
        with console.status(what):
            yield
    else:
        tell(what)
        yield


def columns(rows: list[tuple[str, ...]]) -> str:
    """Lines of cells, aligned on the left."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def discard_stdout() -> None:
    """Points standard output to nowhere, so that the interpreter's last flush cannot fail again."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
