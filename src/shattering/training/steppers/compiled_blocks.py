"""Blocks of matrices held in registers: of a product, and of a transposition."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types

from shattering.training.steppers.compiled_vectors import (
    HEIGHTS,
    VECTOR_BYTES,
    Code,
    Lanes,
    Signature,
    fused_multiply_add,
    intrinsic,
    load_from,
    pointer_to,
    scalar_of,
    splat_of,
    store_to,
    vector_of,
)

_INT = ir.IntType(64)


def _whole(value: int) -> Any:
    return ir.Constant(_INT, value)


def _product_block(rows: int, columns: int) -> Any:
    """The block ``rows`` × ``columns`` registers of A·B; its sums stay in registers until they are whole."""

    def typed(
        typing: Any,
        like: Any,
        depth: Any,
        a: Any,
        row_step: Any,
        depth_step: Any,
        b: Any,
        b_step: Any,
        c: Any,
        c_step: Any,
        start: Any,
        floor: Any,
        mask: Any,
    ) -> tuple[Signature, Code]:
        lanes = Lanes(like)
        kind = vector_of(lanes)

        def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            _, depth, a, row_step, depth_step, b, b_step, c, c_step, start, floor, mask = args
            places = [(r, k) for r in range(rows) for k in range(columns)]
            first = [load_from(builder, builder.add(start, _whole(k * VECTOR_BYTES)), lanes) for k in range(columns)]
            a_rows = [a]
            for _ in range(rows - 1):
                a_rows.append(builder.add(a_rows[-1], row_step))
            before = builder.block
            loop = builder.append_basic_block("depth")
            after = builder.append_basic_block("whole")
            builder.branch(loop)
            builder.position_at_end(loop)
            step, a_offset, b_at = (builder.phi(_INT) for _ in range(3))
            sums = {place: builder.phi(kind) for place in places}
            row = [load_from(builder, builder.add(b_at, _whole(k * VECTOR_BYTES)), lanes) for k in range(columns)]
            next_sums = {}
            for r in range(rows):
                pointer = pointer_to(builder, builder.add(a_rows[r], a_offset), scalar_of(like))
                factor = splat_of(builder, builder.load(pointer), lanes)
                for k in range(columns):
                    next_sums[r, k] = fused_multiply_add(builder, factor, row[k], sums[r, k], kind)
            next_step = builder.add(step, _whole(1))
            next_a, next_b = builder.add(a_offset, depth_step), builder.add(b_at, b_step)
            for phi, entering, going_on in (
                (step, _whole(0), next_step),
                (a_offset, _whole(0), next_a),
                (b_at, b, next_b),
            ):
                phi.add_incoming(entering, before)
                phi.add_incoming(going_on, loop)
            for r, k in places:
                sums[r, k].add_incoming(first[k], before)
                sums[r, k].add_incoming(next_sums[r, k], loop)
            builder.cbranch(builder.icmp_signed("<", next_step, depth), loop, after)
            builder.position_at_end(after)
            least = splat_of(builder, floor, lanes)
            done = {}
            for place, value in next_sums.items():
                # In this order a NaN stays one.
                done[place] = builder.select(builder.fcmp_ordered("<", value, least), least, value)
            masked, plain, end = (builder.append_basic_block(name) for name in ("masked", "plain", "end"))
            builder.cbranch(builder.icmp_signed("!=", mask, _whole(0)), masked, plain)
            for block in (masked, plain):
                builder.position_at_end(block)
                offset = _whole(0)
                zero = ir.Constant(kind, [0.0] * lanes.count)
                for r in range(rows):
                    for k in range(columns):
                        place, value = builder.add(offset, _whole(k * VECTOR_BYTES)), done[r, k]
                        if block is masked:
                            gate = load_from(builder, builder.add(mask, place), lanes)
                            value = builder.select(builder.fcmp_ordered(">", gate, zero), value, zero)
                        store_to(builder, builder.add(c, place), value, lanes)
                    offset = builder.add(offset, c_step)
                builder.branch(end)
            builder.position_at_end(end)
            return context.get_dummy_value()

        whole = types.int64
        return types.void(like, *([whole] * 9), like, whole), code

    return intrinsic(typed)


PRODUCT_BLOCKS = tuple(_product_block(HEIGHTS[columns], columns) for columns in (1, 2, 3, 4))
"""One, two, three and four registers wide."""


@intrinsic
def transpose_block(
    typing: Any, like: Any, source: Any, source_step: Any, target: Any, target_step: Any
) -> tuple[Signature, Code]:
    """Transposes a square of as many rows as a register has lanes."""
    lanes = Lanes(like)

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        _, source, source_step, target, target_step = args
        count, rows = lanes.count, []
        for _ in range(count):
            rows.append(load_from(builder, source, lanes))
            source = builder.add(source, source_step)
        distance = 1
        while distance < count:
            # Swaps the off-diagonal quarters of every square of 2 · distance.
            upper = [j if not j & distance else count + j - distance for j in range(count)]
            lower = [j + distance if not j & distance else count + j for j in range(count)]
            masks = [ir.Constant(ir.VectorType(ir.IntType(32), count), picked) for picked in (upper, lower)]
            for i in range(count):
                if not i & distance:
                    pair = rows[i], rows[i + distance]
                    rows[i], rows[i + distance] = (builder.shuffle_vector(*pair, mask) for mask in masks)
            distance *= 2
        for row in rows:
            store_to(builder, target, row, lanes)
            target = builder.add(target, target_step)
        return context.get_dummy_value()

    whole = types.int64
    return types.void(like, whole, whole, whole, whole), code
