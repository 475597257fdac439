"""Writes the epilogue of a kernel: a nest over one row of a piece of the kernel's result."""

from __future__ import annotations

from collections.abc import Sequence

from wengert.compiler.form import Form
from wengert.compiler.llvm.emit import Function, Operand, Value
from wengert.compiler.llvm.points import Points, Scope
from wengert.core.dtypes import DType


class Epilogue:
    """The nest of a form as an `Epilogue` of a kernel in whose table of addresses the nest's
    slots begin with number `first`."""

    def __init__(self, form: Form, slot_dtypes: Sequence[DType], first: int) -> None:
        self.form, self.slot_dtypes, self.first = form, slot_dtypes, first
        self.writer: _Writer | None = None

    def __call__(
        self, f: Function, args: Value, row: Value, column: Value, columns: Operand
    ) -> None:
        """Write the code for `columns` entries of a row from a column on."""
        self._writer(f, args).row(row, column, columns)

    def _writer(self, f: Function, args: Value) -> _Writer:
        if self.writer is None or self.writer.f is not f:
            with f.at_start():
                self.writer = _Writer(f, args, self.form, self.slot_dtypes, self.first)
                self.writer.emit_ready()  # what is the same everywhere
        return self.writer


class _Writer(Points):
    """Writes rows in one function."""

    def row(self, row: Value, column: Value, columns: Operand) -> None:
        """Write a row: what it has in common, then its vectors."""
        outer = self._stand_at(row)
        before = self.scope, self.opened, self.lanes
        self.lanes = min(self.lanes, max(4, 1 << (self.form.sizes[-1] - 1).bit_length()))
        self.scope, self.opened = Scope(self.scope), set(outer)
        self.emit_ready()
        self._vectors(column, self.f.i64(columns))
        self.scope, self.opened, self.lanes = before

    def _stand_at(self, row: Value) -> range:
        """Let the loops over rows stand at a row; gives their numbers."""
        outer = range(len(self.form.sizes) - 1)
        left = row
        for i in reversed(outer[1:]):
            self.loop_values[i] = left % self.form.sizes[i]
            left = left // self.form.sizes[i]
        if outer:
            self.loop_values[0] = left
        return outer

    def _vectors(self, column: Value, columns: Value) -> None:
        whole = columns // self.lanes * self.lanes
        with self.f.loop(0, whole, self.lanes) as j:
            self._vector(column + j, None)
        rest = columns - whole
        with self.f.when(self.f.compare("sgt", rest, 0)):
            self._vector(column + whole, self.f.first_lanes(rest, self.lanes))

    def _vector(self, column: Value, mask: Value | None) -> None:
        """One vector of a row."""
        vector = self.form.vector
        assert vector is not None
        before = self.scope
        self.loop_values[vector], self.mask = column, mask
        self.scope = Scope(before)
        self.opened.add(vector)
        self._stores(0, inside=False)
        self.opened.discard(vector)
        self.scope, self.mask = before, None
