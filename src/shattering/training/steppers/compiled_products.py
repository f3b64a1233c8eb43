"""Products, transpositions and copies of matrices in compiled code.

Addresses and steps are bytes, in int64; ``like`` is a zero of the run's dtype. Every number of a product is summed in
order, so bits depend on neither the blocks nor the width of the machine's vectors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

from shattering.training.steppers.compiled_blocks import PRODUCT_BLOCKS, transpose_block
from shattering.training.steppers.compiled_vectors import (
    HEIGHTS,
    VECTOR_BYTES,
    WIDEST,
    add,
    load,
    load_one,
    splat,
    store,
    store_one,
    width_of,
)

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

ROW = max(VECTOR_BYTES // 4, 8)
"""Every dimension is padded to a multiple of this."""


def kernel(function: Kernel) -> Kernel:
    """Compiles at the first call, for whoever calls it from compiled code."""
    return cast(Kernel, numba.njit(nogil=True, error_model="numpy")(function))


def entry(function: Kernel) -> Kernel:
    """The same for what is called from outside; its machine code is kept on the disk where there is a place for it.

    Numba looks only at the file that the function stands in to tell whether the code it kept is still right. Let the
    function be closed over `sources`, which it looks at as well.
    """
    try:
        return cast(Kernel, numba.njit(nogil=True, error_model="numpy", cache=True)(function))
    except RuntimeError:  # neither the package's folder nor the user's cache can be written to
        return kernel(function)


def sources() -> int:
    """A number that tells the compiled code's sources from what they were or will be."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("compiled*.py")):
        digest.update(path.read_bytes())
    return int.from_bytes(digest.digest()[:7], "little")


@kernel
def padded(size: int) -> int:
    """The next multiple of `ROW`."""
    return (size + ROW - 1) // ROW * ROW


def _strip(block: Any, height: int) -> Any:
    """A strip of a product, as wide as a block, one block below another."""

    @kernel
    def strip(
        like: Any,
        rows: int,
        depth: int,
        a: int,
        row_step: int,
        depth_step: int,
        b: int,
        b_step: int,
        c: int,
        c_step: int,
        start: int,
        floor: Any,
        mask: int,
    ) -> None:
        for i in range(0, rows, height):
            gate, to = mask + i * c_step if mask else 0, c + i * c_step
            block(like, depth, a + i * row_step, row_step, depth_step, b, b_step, to, c_step, start, floor, gate)

    return strip


_strip_1, _strip_2, _strip_3, _strip_4 = (_strip(block, HEIGHTS[k]) for k, block in enumerate(PRODUCT_BLOCKS, start=1))


@kernel
def multiply(
    like: Any,
    rows: int,
    columns: int,
    depth: int,
    a: int,
    row_step: int,
    depth_step: int,
    b: int,
    b_step: int,
    c: int,
    c_step: int,
    start: int,
    floor: Any,
    mask: int,
) -> None:
    """C = max(start + A·B, floor), zero where the mask is not above zero.

    Args:
        like: a zero of the dtype.
        rows: of C; as many more are written as a block needs.
        columns: registers in a row of C.
        depth: columns of A, rows of B.
        a: A, with bytes from row to row and from column to column.
        row_step: see there.
        depth_step: see there.
        b: B, with bytes from row to row.
        b_step: see there.
        c: C, with bytes from row to row.
        c_step: see there.
        start: a row that every row of the sum begins with.
        floor: the least a number may be.
        mask: laid out as C; 0: none.
    """
    done = 0
    while done < columns:
        left, off = columns - done, done * VECTOR_BYTES
        at, to, begin, gate = b + off, c + off, start + off, mask + off if mask else 0
        if WIDEST == 4 and left >= 4:
            _strip_4(like, rows, depth, a, row_step, depth_step, at, b_step, to, c_step, begin, floor, gate)
            done += 4
        elif left >= 3:
            _strip_3(like, rows, depth, a, row_step, depth_step, at, b_step, to, c_step, begin, floor, gate)
            done += 3
        elif left == 2:
            _strip_2(like, rows, depth, a, row_step, depth_step, at, b_step, to, c_step, begin, floor, gate)
            done += 2
        else:
            _strip_1(like, rows, depth, a, row_step, depth_step, at, b_step, to, c_step, begin, floor, gate)
            done += 1


@kernel
def transpose(like: Any, rows: int, columns: int, source: int, source_step: int, target: int, target_step: int) -> None:
    """Target = sourceᵀ; both sizes are padded."""
    size = width_of(like)
    lanes = VECTOR_BYTES // size
    for i in range(0, rows, lanes):
        for j in range(0, columns, lanes):
            at = target + j * target_step + i * size
            transpose_block(like, source + i * source_step + j * size, source_step, at, target_step)


@kernel
def copy(like: Any, count: int, source: int, target: int) -> None:
    """Copies numbers that lie one after another."""
    size = width_of(like)
    whole = count * size // VECTOR_BYTES * VECTOR_BYTES
    for off in range(0, whole, VECTOR_BYTES):
        store(target + off, load(like, source + off))
    for off in range(whole, count * size, size):
        store_one(target + off, load_one(like, source + off))


@kernel
def transpose_any(
    like: Any, rows: int, columns: int, source: int, source_step: int, target: int, target_step: int
) -> None:
    """Target = sourceᵀ, where neither has room to spare."""
    size = width_of(like)
    lanes = VECTOR_BYTES // size
    whole_rows, whole_columns = rows // lanes * lanes, columns // lanes * lanes
    transpose(like, whole_rows, whole_columns, source, source_step, target, target_step)
    for i in range(rows):
        for j in range(whole_columns if i < whole_rows else 0, columns):
            store_one(target + j * target_step + i * size, load_one(like, source + i * source_step + j * size))


@kernel
def gather(
    like: Any, rows: Any, inputs: int, example_step: int, offsets: Any, width: int, target: int, target_step: int
) -> None:
    """Copies examples into the rows of a batch, flattened as ``offsets`` say (bytes; none: as they lie)."""
    size = width_of(like)
    whole = width * size // VECTOR_BYTES * VECTOR_BYTES
    for k in range(len(rows)):
        source, at = inputs + rows[k] * example_step, target + k * target_step
        if len(offsets) > 0:
            for j in range(width):
                store_one(at + j * size, load_one(like, source + offsets[j]))
        else:
            for j in range(0, whole, VECTOR_BYTES):
                store(at + j, load(like, source + j))
            for j in range(whole, width * size, size):
                store_one(at + j, load_one(like, source + j))


@kernel
def sum_rows(like: Any, rows: int, columns: int, source: int, step: int, target: int) -> None:
    """Sums of columns; four registers at a time, since each addition waits for the one before."""
    stretch = padded(columns) * width_of(like)
    off = 0
    while stretch - off >= 4 * VECTOR_BYTES:
        s0, s1, s2, s3 = splat(like), splat(like), splat(like), splat(like)
        for r in range(rows):
            at = source + off + r * step
            s0, s1 = add(s0, load(like, at)), add(s1, load(like, at + VECTOR_BYTES))
            s2, s3 = add(s2, load(like, at + 2 * VECTOR_BYTES)), add(s3, load(like, at + 3 * VECTOR_BYTES))
        store(target + off, s0)
        store(target + off + VECTOR_BYTES, s1)
        store(target + off + 2 * VECTOR_BYTES, s2)
        store(target + off + 3 * VECTOR_BYTES, s3)
        off += 4 * VECTOR_BYTES
    while off < stretch:
        s0 = splat(like)
        for r in range(rows):
            s0 = add(s0, load(like, source + off + r * step))
        store(target + off, s0)
        off += VECTOR_BYTES
