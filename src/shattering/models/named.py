"""What a user names ``MODULE:NAME``, or ``FILE.py:NAME``, is imported; what fails becomes `ModelError`."""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import sys
import sysconfig
import traceback
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from torch import nn

from shattering.core.errors import ModelError, nearest

_IMPORTING: ContextVar[str | None] = ContextVar("importing", default=None)


def load_named(name: str) -> Any:
    """Imports the module, looked for in the current directory first, and returns what it calls ``NAME``.

    Args:
        name: ``package.module:NAME``, or ``folder/file.py:NAME``; ``NAME`` may have dots.

    Raises:
        ModelError: the name is malformed, there is no such module, file or entry, or the import fails, ``sys.exit``
            included.
    """
    module_part, attribute = _parts(name)
    token = _IMPORTING.set(module_part)
    try:
        found: Any = _imported(name, module_part)
    finally:
        _IMPORTING.reset(token)
    for part in attribute.split("."):
        if not hasattr(found, part):
            names = [entry for entry in vars(found) if not entry.startswith("_")] if hasattr(found, "__dict__") else []
            hint = nearest(part, names) if names else "it has no public names."
            raise ModelError("model-factory-missing", f"The module {module_part!r} has no {attribute!r}; {hint}")
        found = getattr(found, part)
    return found


def being_imported() -> str | None:
    """The module or file that `load_named` is just importing; none where it is not."""
    return _IMPORTING.get()


def module_name(name: str) -> str:
    """The key under which the module of ``name`` stands in ``sys.modules`` once it has been imported."""
    module_part, _ = _parts(name)
    if not module_part.endswith(".py"):
        return module_part
    path = Path(module_part).expanduser().resolve()
    # Not the stem alone: a file may be called like a module of the standard library.
    return f"{path.stem}_{hashlib.sha256(str(path).encode('utf-8', 'surrogateescape')).hexdigest()[:12]}"


def file_fingerprint(name: str) -> str:
    """SHA-256 of the file of the module that ``name`` is in, which is found but not run.

    Raises:
        ModelError: the name is malformed, or there is no such file.
    """
    module_part, _ = _parts(name)
    path: Path | None
    if module_part.endswith(".py"):
        path = Path(module_part).expanduser()
    else:
        _look_here()
        with told("model-import-failed", f"Looking for {module_part!r} failed"):
            try:
                spec = importlib.util.find_spec(module_part)
            except ModuleNotFoundError:  # of a package above it
                spec = None
        path = Path(spec.origin) if spec is not None and spec.origin is not None else None
    if path is None or not path.is_file():
        raise ModelError(
            "model-module-missing",
            f"There is no Python file for {name!r}; run from the folder that holds it, or give its path, FILE.py:NAME.",
        )
    return hashlib.sha256(path.read_bytes()).hexdigest()


def require_no_file(name: str) -> None:
    """Raises `ModelError` where the name of a registered network is that of a file, whose function it does not say."""
    if name.endswith(".py") or Path(name).is_file():
        raise ModelError(
            "model-name-malformed",
            f"{name!r} is a file, and which of its functions builds the network is not said; name it behind a colon, "
            f"FILE.py:FACTORY, such as {name}:build.",
        )


def name_of(value: Any, what: str = "model", wanted: str = "a function that returns a new network") -> str:
    """The name under which worker processes find a function or class of the caller's.

    Args:
        value: a function or class of a module that can be imported, or of the script itself; a string is a name.
        what: the argument, for messages.
        wanted: what it should be, for messages.

    Returns:
        ``MODULE:NAME``; for a script's own, its file's stem as ``MODULE`` where it lies in the working directory, else
        its path.

    Raises:
        ModelError: it has no such name: an object, a lambda, a function within a function, or one typed in by hand.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, nn.Module) or not callable(value):
        raise ModelError(
            f"{what}-is-an-object",
            f"{what}= is {kind_of(value)}, and worker processes need {wanted} that they can import; define one in a "
            "file and give that.",
        )
    if isinstance(value, functools.partial):
        raise ModelError(
            f"{what}-unnameable",
            f"{what}= is a functools.partial, which has no name to import it by; give the function, and its arguments "
            "as model fields.",
        )
    qualified = getattr(value, "__qualname__", "")
    if not qualified or "<" in qualified:
        kind = "a lambda" if "<lambda>" in qualified else "defined inside a function"
        raise ModelError(
            f"{what}-unnameable",
            f"{what}= is {kind} ({qualified or kind_of(value)}), which worker processes cannot import; define it at "
            "the top of a file.",
        )
    module = sys.modules.get(value.__module__)
    if value.__module__ == "__main__":
        return f"{_script(module, what, qualified)}:{qualified}"
    found: Any = module
    for part in qualified.split("."):
        found = getattr(found, part, None)
    if found is not value:
        raise ModelError(
            f"{what}-unnameable",
            f"{value.__module__}:{qualified} is not the {what} that was given; give it by the name that it has in its "
            "module.",
        )
    return f"{value.__module__}:{qualified}"


def _script(module: Any, what: str, qualified: str) -> str:
    spec = getattr(module, "__spec__", None)
    if spec is not None and spec.name:  # python -m package.module
        return str(spec.name.removesuffix(".__main__")) if spec.name != "__main__" else "__main__"
    file = getattr(module, "__file__", None)
    if file is None or not Path(file).is_file():
        raise ModelError(
            f"{what}-unnameable",
            f"{what}= ({qualified}) was typed into an interactive session, which worker processes cannot import; save "
            "it in a file and import it from there.",
        )
    path = Path(file).resolve()
    if path.parent == Path.cwd() and path.suffix == ".py" and path.stem.isidentifier():
        return path.stem
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _parts(name: str) -> tuple[str, str]:
    file, mark, rest = name.rpartition(".py:")
    module_part, _, attribute = (file + ".py", ":", rest) if mark else name.partition(":")
    if not module_part or not attribute:
        raise ModelError("model-name-malformed", f"{name!r} is not of the form MODULE:FACTORY, such as mynet:build.")
    return module_part, attribute


def _imported(name: str, module_part: str) -> types.ModuleType:
    if module_part.endswith(".py"):
        return _imported_file(name, module_part)
    _look_here()
    try:
        with told("model-import-failed", f"Importing {module_part!r} failed"):
            return importlib.import_module(module_part)
    except ModelError as error:
        cause = error.__cause__
        if isinstance(cause, ModuleNotFoundError) and cause.name and f"{module_part}.".startswith(f"{cause.name}."):
            raise ModelError(
                "model-module-missing",
                f"There is no module {cause.name!r} for {name!r}; run from the folder that holds it or install it.",
            ) from cause
        raise


def _look_here() -> None:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    importlib.invalidate_caches()


def _imported_file(name: str, file: str) -> types.ModuleType:
    path = Path(file).expanduser().resolve()
    if not path.is_file():
        raise ModelError("model-module-missing", f"There is no file {file!r} for {name!r}; check the path.")
    key = module_name(name)
    if key in sys.modules:
        return sys.modules[key]
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # for what it imports from beside it; behind all that is installed
    spec = importlib.util.spec_from_file_location(key, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[key] = module
    try:
        with told("model-import-failed", f"Importing {file!r} failed"):
            spec.loader.exec_module(module)
    except ModelError:
        del sys.modules[key]
        raise
    return module


@contextmanager
def told(identifier: str, what: str) -> Iterator[None]:
    """Turns what the user's code raises into a `ModelError` that names the exception and the line it came from."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Lazy modules are a new feature")
            yield
    except ModelError:
        raise
    except SystemExit as error:
        raise ModelError(
            "model-exits", f"{what}: its code called sys.exit({error.code!r}){_place(error)}; remove that call."
        ) from error
    except Exception as error:
        lines = str(error).strip().splitlines()
        reason = f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
        raise ModelError(identifier, f"{what} with {reason}{_place(error)}; mend the network's code.") from error


def _place(error: BaseException) -> str:
    """Where in code that is neither ours nor a library's the error arose, as `` (file, line n)``."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}, line {error.lineno})"
    libraries = (Path(__file__).parents[1], Path(sysconfig.get_path("stdlib")))
    place = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = Path(frame.f_code.co_filename)
        library = "site-packages" in file.parts or any(file.is_relative_to(folder) for folder in libraries)
        if file.is_file() and not library:
            place = f" ({file}, line {line})"
    return place


def kind_of(value: object) -> str:
    """What a value is, with its article: ``a Linear``."""
    noun = type(value).__name__
    return f"{'an' if noun[0] in 'aeiouAEIOU' else 'a'} {noun}" if value is not None else "None"
