"""What the parts of matrix multiplication share: names, descriptions, and the call of an epilogue.

A *description* is a table of 64-bit integers with all sizes and strides of a product. A program
holds it as a constant, and passes it to functions that are compiled once per machine.
"""

from __future__ import annotations

from wengert.compiler.llvm.emit import Function, Value
from wengert.compiler.llvm.types import I64, PTR
from wengert.core.dtypes import DType

FIELDS = (
    "rows",
    "columns",
    "depth",
    "row_a",
    "column_a",
    "row_b",
    "column_b",
    "row_c",
    "slot_a",  # entries of the table of addresses
    "slot_b",
    "slot_c",
    "accumulate",
    "alpha",  # bits of a float64
    "staged",  # whether tiles go through a buffer: for half precision, and for alpha
    "panel",  # columns of a panel
    "tiles",  # tiles that a panel is cut into,
    "height",  # the rows of each,
    "higher",  # and how many of them, the first ones, have one row more
    "depth_block",
    "row_block",  # in tiles
    "column_block",  # in panels
    "pack_a",  # pack a if the thread has at least so many panels
    "pack_b",  # pack b if the thread has at least so many tiles a panel
    "own_at",  # where the threads' own parts of the workspace start, their size, and
    "own_size",
    "b_at",  # where the packed b and the tile's buffer start in them
    "buffer_at",
    "split",  # parts that k is cut into, each with a result of its own
    "split_depth",
    "batch",  # matrices in all, each part of k counting as one
    "dims",  # number of batch axes; for each follow its size and the strides of a, b and c
)
AT = {name: i for i, name in enumerate(FIELDS)}
GRID_THREADS = 64  # more threads than that do not help one product

# description, grid, micro-kernels, epilogue, args, thread, threads
DRIVER_ARGS = (PTR, PTR, PTR, PTR, PTR, I64, I64)
SUM_ARGS = (PTR, PTR, PTR, I64, I64)  # description, epilogue, args, thread, threads
DOTS_ARGS = SUM_ARGS
PACK_ARGS = (I64, I64, "ptr noalias readonly", I64, I64, "ptr noalias", I64)
FINISH_ARGS = (PTR, I64, PTR, I64, I64, I64, "double", I64)


def driver_name(dtype: DType) -> str:
    """The library's function for products of matrices of this dtype."""
    return f"wengert_gemm_{dtype.name}"


def sum_name(dtype: DType) -> str:
    """The library's function that adds up what the parts of k have given."""
    return f"wengert_gemm_sum_{dtype.name}"


def dots_name(dtype: DType) -> str:
    """The library's function for a row times columns that lie in memory."""
    return f"wengert_dots_{dtype.name}"


def finish_name(dtype: DType) -> str:
    """The function, in the driver's library and that of sums, that stores a part of a result."""
    return f"finish_{dtype.name}"


def pack_name(dtype: DType) -> str:
    """The library's function that packs a part of a matrix."""
    return f"wengert_pack_{dtype.name}"


class Description:
    """A description in a function: its fields, loaded where the function starts."""

    def __init__(self, f: Function, place: Value, fields: tuple[str, ...] = FIELDS) -> None:
        self.f, self.place = f, place
        self._values = {name: f.load(I64, f.at(place, AT[name], I64)) for name in fields}

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def flag(self, name: str) -> Value:
        """A field as a condition."""
        return self.f.compare("ne", self[name], 0)

    def offsets(self, index: Value) -> list[Value]:
        """How far a, b and c of a matrix of the batch lie from the first."""
        f = self.f
        rest = f.variable(I64, index)
        found = [f.variable(I64, 0) for _ in range(3)]
        axes = f.at(self.place, len(FIELDS), I64)
        count = self["dims"]
        with f.loop(0, count) as i:
            axis = f.at(axes, (count - 1 - i) * 4, I64)
            size = f.load(I64, axis)
            digit = f.variable(I64, rest.get())
            with f.when(f.compare("slt", i + 1, count)):
                digit.set(rest.get() % size)
                rest.set(rest.get() // size)
            for j, one in enumerate(found, 1):
                one.set(one.get() + digit.get() * f.load(I64, f.at(axis, j, I64)))
        return [one.get() for one in found]


def call_epilogue(
    f: Function, epilogue: Value, args: Value, row: Value, end: Value, column: Value, columns: Value
) -> None:
    """Call the program's epilogue for finished rows, if it has one."""
    with f.when(f.compare("ne", f.op(I64, f"ptrtoint ptr {epilogue} to i64"), 0)):
        given = f"ptr {args}, i64 {row}, i64 {end}, i64 {column}, i64 {columns}"
        f.write(f"call void {epilogue}({given})")


def part(f: Function, total: Value, index: Value, parts: Value) -> tuple[Value, Value]:
    """Part `index` of `range(total)`, as start and stop."""
    return index * total // parts, (index + 1) * total // parts
