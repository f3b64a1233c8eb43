"""Reads the pickles of the CIFAR authors without running anything.

A small machine interprets the few opcodes these files need. Names are only compared with a list; nothing is imported
or called, arrays become views of bytes that are already there, and the number of steps is bounded. So a hostile file
can neither act nor ask for more memory than a fixed multiple of its size.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from shattering.core.errors import DataError

MAX_STEPS = 400_000
"""Opcodes in one file; the largest original file has half as many."""

_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): "reconstruct",
    ("numpy._core.multiarray", "_reconstruct"): "reconstruct",
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",
    ("__builtin__", "bytes"): "bytes",
}
_DTYPES = {"u1": "u1", "|u1": "u1", "i4": "<i4", "<i4": "<i4", "i8": "<i8", "<i8": "<i8"}
_INTEGERS = {0x4B: "<B", 0x4D: "<H", 0x4A: "<i"}
_BYTES = {0x55: "<B", 0x54: "<i", 0x43: "<B", 0x42: "<I", 0x8E: "<Q"}
_TEXT = {0x8C: "<B", 0x58: "<I", 0x8D: "<Q"}
_SINGLES = {0x4E: None, 0x88: True, 0x89: False}
_TUPLES = {0x29: 0, 0x85: 1, 0x86: 2, 0x87: 3}


@dataclass(frozen=True)
class _Name:
    what: str


@dataclass(frozen=True)
class _Dtype:
    code: str


@dataclass(eq=False)
class _Array:
    value: np.ndarray[Any, Any] | None = None


def read_pickle(data: bytes, where: str) -> dict[str, Any]:
    """The dictionary that a batch file holds: text keys to lists, bytes and arrays.

    Args:
        data: the file's bytes.
        where: its path, for messages.

    Raises:
        DataError: a cut file (``data-pickle-truncated``), a name outside the list (``data-pickle-forbidden``), a demand
            for memory that the file does not back with bytes (``data-pickle-size``), or anything else that such a file
            never holds (``data-pickle-unsupported``).
    """
    result = _Machine(data, where).run()
    if not isinstance(result, dict):
        _fail("unsupported", where, f"holds a {type(result).__name__} instead of a dictionary")
    tree = {}
    for key, value in result.items():
        name = key.decode("latin-1") if isinstance(key, bytes) else key
        tree[name] = value.value if isinstance(value, _Array) else value
    return tree


def _fail(kind: str, where: str, problem: str) -> NoReturn:
    raise DataError(
        f"data-pickle-{kind}",
        f"{where} {problem}; nothing in it was run. Replace it with the original file, or use the binary version.",
    )


class _Machine:
    def __init__(self, data: bytes, where: str) -> None:
        self.data, self.where, self.at = data, where, 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.encoded = 0

    def run(self) -> Any:
        for _ in range(MAX_STEPS):
            opcode = self.take(1)[0]
            if opcode == 0x2E:
                return self.pop()
            self.step(opcode)
        _fail("size", self.where, f"takes more than {MAX_STEPS} steps to read")

    def step(self, opcode: int) -> None:
        stack = self.stack
        if opcode in _INTEGERS:
            stack.append(self.number(_INTEGERS[opcode]))
        elif opcode in _BYTES:
            stack.append(self.take(self.number(_BYTES[opcode])))
        elif opcode in _TEXT:
            stack.append(self.text(self.take(self.number(_TEXT[opcode]))))
        elif opcode in _SINGLES:
            stack.append(_SINGLES[opcode])
        elif opcode in _TUPLES:
            stack.append(tuple(reversed([self.pop() for _ in range(_TUPLES[opcode])])))
        elif opcode == 0x80:
            self.take(1)
        elif opcode == 0x95:
            self.take(8)
        elif opcode == 0x8A:
            stack.append(int.from_bytes(self.take(self.number("<B")), "little", signed=True))
        elif opcode == 0x47:
            stack.append(struct.unpack(">d", self.take(8))[0])
        elif opcode == 0x7D:
            stack.append({})
        elif opcode == 0x5D:
            stack.append([])
        elif opcode == 0x28:
            self.marks.append(len(stack))
        elif opcode == 0x74:
            stack.append(tuple(self.marked()))
        elif opcode in (0x71, 0x72, 0x94):
            where = {0x71: "<B", 0x72: "<I"}.get(opcode)
            self.memo[self.number(where) if where else len(self.memo)] = self.top(Any)
        elif opcode in (0x68, 0x6A):
            index = self.number("<B" if opcode == 0x68 else "<I")
            if index not in self.memo:
                self.broken()
            stack.append(self.memo[index])
        elif opcode in (0x61, 0x65):
            items = [self.pop()] if opcode == 0x61 else self.marked()
            self.top(list).extend(items)
        elif opcode in (0x73, 0x75):
            items = [self.pop(), self.pop()][::-1] if opcode == 0x73 else self.marked()
            self.set_items(items)
        elif opcode == 0x63:
            self.name(self.line(), self.line())
        elif opcode == 0x93:
            name, module = self.pop(), self.pop()
            self.name(module, name)
        elif opcode == 0x52:
            arguments, function = self.pop(), self.pop()
            stack.append(self.reduce(function, arguments))
        elif opcode == 0x62:
            self.build(self.pop())
        else:
            _fail("unsupported", self.where, f"has the opcode 0x{opcode:02x} at offset {self.at - 1}")

    def take(self, count: int) -> bytes:
        if count < 0:
            self.broken()
        if count > len(self.data) - self.at:
            _fail(
                "truncated",
                self.where,
                f"ends at offset {len(self.data)} where {count} more bytes are due after offset {self.at}",
            )
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, layout: str) -> int:
        return int(struct.unpack(layout, self.take(struct.calcsize(layout)))[0])

    def line(self) -> str:
        end = self.data.find(b"\n", self.at, self.at + 200)
        if end < 0:
            _fail("truncated", self.where, f"has no end to the name at offset {self.at}")
        line = self.text(self.take(end + 1 - self.at)[:-1])
        return line

    def text(self, raw: bytes) -> str:
        try:
            return raw.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            self.broken()

    def pop(self) -> Any:
        floor = self.marks[-1] if self.marks else 0
        if len(self.stack) <= floor:
            self.broken()
        return self.stack.pop()

    def marked(self) -> list[Any]:
        if not self.marks:
            self.broken()
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def top(self, kind: Any) -> Any:
        if not self.stack or (kind is not Any and not isinstance(self.stack[-1], kind)):
            self.broken()
        return self.stack[-1]

    def set_items(self, items: list[Any]) -> None:
        # Only text may be a key: hashing a nested tuple takes time exponential in its depth.
        if len(items) % 2 or not all(isinstance(key, (str, bytes)) for key in items[::2]):
            self.broken()
        self.top(dict).update(zip(items[::2], items[1::2], strict=True))

    def name(self, module: Any, name: Any) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            self.broken()
        if (module, name) not in _ALLOWED:
            label = f"{module}.{name}"[:100].encode("unicode_escape").decode()
            _fail("forbidden", self.where, f"names {label} at offset {self.at}, which a data file has no need of")
        self.stack.append(_Name(_ALLOWED[module, name]))

    def reduce(self, function: Any, arguments: Any) -> Any:
        if not isinstance(function, _Name) or not isinstance(arguments, tuple):
            self.broken()
        if function.what == "encode" and len(arguments) == 2 and isinstance(arguments[0], str):
            self.encoded += len(arguments[0])
            if self.encoded > len(self.data):
                _fail("size", self.where, f"repeats text beyond its own {len(self.data)} bytes")
            try:
                return arguments[0].encode("latin-1")
            except UnicodeEncodeError:
                self.broken()
        if function.what == "bytes" and not arguments:
            return b""
        if function.what == "reconstruct" and len(arguments) == 3:
            owner, shape, _ = arguments
            if not (isinstance(owner, _Name) and owner.what == "ndarray" and isinstance(shape, tuple)):
                self.broken()
            if len(shape) != 1 or type(shape[0]) is not int or shape[0] != 0:
                _fail("size", self.where, f"asks for an array before offset {self.at} that it holds no bytes for")
            return _Array()
        if function.what == "dtype" and arguments and isinstance(arguments[0], (str, bytes)):
            code = arguments[0] if isinstance(arguments[0], str) else arguments[0].decode("latin-1")
            if code not in _DTYPES:
                _fail("unsupported", self.where, f"has an array of a type other than integers before offset {self.at}")
            return _Dtype(_DTYPES[code])
        self.broken()

    def build(self, state: Any) -> None:
        target = self.top(Any)
        if isinstance(target, _Dtype):
            order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
            if order not in ("|", "<", b"|", b"<"):
                self.broken()
            return
        if not (isinstance(target, _Array) and isinstance(state, tuple) and len(state) == 5):
            self.broken()
        _, shape, dtype, fortran, raw = state
        if not (isinstance(shape, tuple) and len(shape) <= 4 and isinstance(dtype, _Dtype) and isinstance(raw, bytes)):
            self.broken()
        if not all(type(size) is int and size >= 0 for size in shape):
            self.broken()
        kind = np.dtype(dtype.code)
        if math.prod(shape) * kind.itemsize != len(raw):
            _fail(
                "size",
                self.where,
                f"declares an array of {math.prod(shape) * kind.itemsize} bytes before offset {self.at} "
                f"and holds {len(raw)}",
            )
        target.value = np.frombuffer(raw, dtype=kind).reshape(shape, order="F" if fortran is True else "C")

    def broken(self) -> NoReturn:
        _fail("unsupported", self.where, f"is not a valid data pickle at offset {self.at}")
