"""A script whose top level begins work: each worker that imports it would begin that work anew.

Workers are new interpreters, which import the script of the caller, and the file of the network, for what these define.
What else a file does at its top level they do as well, unless it stands under ``if __name__ == "__main__"``.
"""

from __future__ import annotations

import multiprocessing
import os

from shattering.core.errors import ModelError
from shattering.models.named import being_imported

WORKER = "shattering-worker"
"""Name of the processes that `execution.local` starts."""

EXIT_CODE = 87
"""With which a worker leaves whose caller's script began work while the worker imported it."""

_ADVICE = 'put it under `if __name__ == "__main__":`, since every worker process imports the file.'


def refuse_while_imported(call: str) -> None:
    """Does nothing unless a file is being imported, as it is for a worker.

    Args:
        call: what is being called, such as ``shattering.run``.

    Raises:
        ModelError: ``script-unguarded``, in the middle of an import of a network's file. A worker that is just
            importing the caller's script leaves with `EXIT_CODE` instead, since nobody would see what it raises.
    """
    process = multiprocessing.current_process()
    if process.name == WORKER and getattr(process, "_inheriting", False):  # as multiprocessing itself looks
        os._exit(EXIT_CODE)
    if name := being_imported():
        raise ModelError("script-unguarded", f"Importing {name!r} calls {call}(…) at its top level; {_ADVICE}")


def unguarded() -> ModelError:
    """The caller's error where a worker left with `EXIT_CODE`."""
    return ModelError("script-unguarded", f"The script calls shattering at its top level; {_ADVICE}")
