"""Vectors of the machine's own width for Numba, and the block of a matrix product that stays in its registers.

Numba has no vector type, and whether LLVM makes vectors of a loop is luck. Here a value of the type `Lanes` is one
register; addresses and steps are bytes, in int64. A scalar ``like`` of the wanted type says whether lanes are float32
or float64.
"""

from __future__ import annotations

from collections.abc import Callable
from math import factorial
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic as numba_intrinsic
from numba.extending import models, register_model

_FEATURES = llvmlite.binding.get_host_cpu_features()
_WIDE = bool(_FEATURES.get("avx512f"))
VECTOR_BYTES = 64 if _WIDE else 32 if _FEATURES.get("avx") else 16
"""Width of a register."""
WIDEST = 3 if VECTOR_BYTES == 32 else 4
"""Columns of registers in a block: with the rows below, AVX2's 16 registers hold it, and the 32 of others."""
HEIGHTS = {4: 4, 3: 4, 2: 4 if VECTOR_BYTES == 32 else 8, 1: 8}
"""Rows of a block by its columns of registers."""

Signature = Any
Code = Callable[..., Any]


def intrinsic(function: Callable[..., tuple[Signature, Code]]) -> Any:
    """Numba's decorator, as a typed one."""
    return numba_intrinsic(function)


class Lanes(types.Type):
    """One register of float32 or float64."""

    def __init__(self, dtype: Any) -> None:
        self.dtype, self.count = dtype, VECTOR_BYTES * 8 // dtype.bitwidth
        super().__init__(name=f"Lanes({dtype}x{self.count})")


class _Register(models.PrimitiveModel):
    def __init__(self, manager: Any, lanes: Lanes) -> None:
        super().__init__(manager, lanes, vector_of(lanes))


register_model(Lanes)(_Register)


def scalar_of(dtype: Any) -> Any:
    """LLVM's type of one number."""
    return ir.FloatType() if dtype == types.float32 else ir.DoubleType()


def vector_of(lanes: Lanes) -> Any:
    """LLVM's type of a register."""
    return ir.VectorType(scalar_of(lanes.dtype), lanes.count)


def pointer_to(builder: Any, address: Any, kind: Any) -> Any:
    """An integer address as a pointer."""
    return builder.inttoptr(address, kind.as_pointer())


def load_from(builder: Any, address: Any, lanes: Lanes) -> Any:
    """Emits the load of a register."""
    return builder.load(pointer_to(builder, address, vector_of(lanes)), align=lanes.dtype.bitwidth // 8)


def store_to(builder: Any, address: Any, value: Any, lanes: Lanes) -> None:
    """Emits the store of a register."""
    builder.store(value, pointer_to(builder, address, vector_of(lanes)), align=lanes.dtype.bitwidth // 8)


def splat_of(builder: Any, value: Any, lanes: Lanes) -> Any:
    """Emits a register with the number in every lane."""
    kind = vector_of(lanes)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes.count), [0] * lanes.count)
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros)


def _constant(value: float, lanes: Lanes) -> Any:
    return ir.Constant(vector_of(lanes), [value] * lanes.count)


def _call(builder: Any, name: str, kind: Any, values: list[Any]) -> Any:
    suffix = f"v{kind.count}f{32 if isinstance(kind.element, ir.FloatType) else 64}"
    signature = ir.FunctionType(kind, [kind] * len(values))
    module = builder.module
    full = f"llvm.{name}.{suffix}"
    return builder.call(module.globals.get(full) or ir.Function(module, signature, full), values)


def fused_multiply_add(builder: Any, a: Any, b: Any, c: Any, kind: Any) -> Any:
    """Emits a · b + c in one rounding."""
    # fmuladd, since without the instruction a fused one would be a call for each number.
    return _call(builder, "fmuladd", kind, [a, b, c])


@intrinsic
def width_of(typing: Any, like: Any) -> tuple[Signature, Code]:
    """Bytes of a number."""
    size = like.bitwidth // 8
    return types.int64(like), lambda context, builder, sig, args: ir.Constant(ir.IntType(64), size)


@intrinsic
def load(typing: Any, like: Any, address: Any) -> tuple[Signature, Code]:
    """The register at an address."""
    lanes = Lanes(like)
    return lanes(like, types.int64), lambda context, builder, sig, args: load_from(builder, args[1], lanes)


@intrinsic
def store(typing: Any, address: Any, value: Any) -> tuple[Signature, Code]:
    """Writes a register to an address."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        store_to(builder, args[0], args[1], value)
        return context.get_dummy_value()

    return types.void(types.int64, value), code


@intrinsic
def load_one(typing: Any, like: Any, address: Any) -> tuple[Signature, Code]:
    """The number at an address."""
    kind = scalar_of(like)
    return like(like, types.int64), lambda context, builder, sig, args: builder.load(pointer_to(builder, args[1], kind))


@intrinsic
def store_one(typing: Any, address: Any, value: Any) -> tuple[Signature, Code]:
    """Writes a number to an address."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        builder.store(args[1], pointer_to(builder, args[0], scalar_of(value)))
        return context.get_dummy_value()

    return types.void(types.int64, value), code


@intrinsic
def splat(typing: Any, value: Any) -> tuple[Signature, Code]:
    """The same number in every lane."""
    lanes = Lanes(value)
    return lanes(value), lambda context, builder, sig, args: splat_of(builder, args[0], lanes)


def _pairwise(name: str) -> Any:
    def typed(typing: Any, a: Any, b: Any) -> tuple[Signature, Code]:
        return a(a, a), lambda context, builder, sig, args: getattr(builder, name)(*args)

    return intrinsic(typed)


add, subtract, times, divide = (_pairwise(name) for name in ("fadd", "fsub", "fmul", "fdiv"))


@intrinsic
def multiply_add(typing: Any, a: Any, b: Any, c: Any) -> tuple[Signature, Code]:
    """a · b + c, in one rounding where the machine can."""
    kind = vector_of(a)
    return a(a, a, a), lambda context, builder, sig, args: fused_multiply_add(builder, args[0], args[1], args[2], kind)


@intrinsic
def square_root(typing: Any, a: Any) -> tuple[Signature, Code]:
    """√a."""
    return a(a), lambda context, builder, sig, args: _call(builder, "sqrt", vector_of(a), list(args))


def _where(comparison: str) -> Any:
    def typed(typing: Any, a: Any, b: Any, x: Any, y: Any) -> tuple[Signature, Code]:
        def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.select(builder.fcmp_ordered(comparison, args[0], args[1]), args[2], args[3])

        return a(a, a, a, a), code

    return intrinsic(typed)


where_above, where_equal = _where(">"), _where("==")


def _folded(builder: Any, value: Any, kind: Any, operation: str) -> Any:
    """Halves upon halves, so that the order is the same however many lanes there are in a step."""
    while kind.count > 1:
        half = kind.count // 2
        parts = [
            builder.shuffle_vector(
                value,
                ir.Constant(kind, ir.Undefined),
                ir.Constant(ir.VectorType(ir.IntType(32), half), list(range(first, first + half))),
            )
            for first in (0, half)
        ]
        kind = ir.VectorType(kind.element, half)
        value = getattr(builder, operation)(*parts)
    return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))


def _fold(operation: str) -> Any:
    def typed(typing: Any, a: Any) -> tuple[Signature, Code]:
        def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            kind = ir.VectorType(ir.DoubleType(), a.count)
            value = args[0] if a.dtype == types.float64 else builder.fpext(args[0], kind)
            return _folded(builder, value, kind, operation)

        return types.float64(a), code

    return intrinsic(typed)


total, product = _fold("fadd"), _fold("fmul")
"""Of all lanes, in float64."""


@intrinsic
def exponential(typing: Any, a: Any) -> tuple[Signature, Code]:
    """exp(a) for a ≤ 0, to about an ulp; what would be subnormal is the smallest normal number; NaN stays.

    exp(a) = 2ⁿ · exp(r) with n the integer next to a / ln 2, and exp(r), |r| ≤ ln 2 / 2, by its series.
    """
    single = a.dtype == types.float32
    # ln 2 in two parts, of which the first has so many zeros at its end that its product with n is exact.
    high, low = (355 / 512, -2.12194440054690583e-4) if single else (0.6931471803691238, 1.9082149292705877e-10)
    mantissa, bias, lowest, terms = (23, 127, -87.0, 7) if single else (52, 1023, -708.0, 13)

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind, whole = vector_of(a), ir.VectorType(ir.IntType(a.dtype.bitwidth), a.count)
        low_end = _constant(lowest, a)
        value = builder.select(builder.fcmp_ordered("<", args[0], low_end), low_end, args[0])
        # Adding 1.5 · 2^mantissa rounds to an integer and leaves it in the lowest bits.
        magic = _constant(1.5 * 2.0**mantissa, a)
        shifted = fused_multiply_add(builder, value, _constant(1.4426950408889634, a), magic, kind)
        count = builder.fsub(shifted, magic)
        rest = fused_multiply_add(builder, count, _constant(-high, a), value, kind)
        rest = fused_multiply_add(builder, count, _constant(-low, a), rest, kind)
        series = _constant(1 / factorial(terms), a)
        for power in range(terms - 1, -1, -1):
            series = fused_multiply_add(builder, series, rest, _constant(1 / factorial(power), a), kind)
        exponent = builder.add(builder.bitcast(shifted, whole), ir.Constant(whole, [bias] * a.count))
        scale = builder.shl(exponent, ir.Constant(whole, [mantissa] * a.count))
        return builder.fmul(series, builder.bitcast(scale, kind))

    return a(a), code
