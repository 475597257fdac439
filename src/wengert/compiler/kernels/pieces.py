"""What kernels that walk through memory share: vectors of a dtype, and the entries left over."""

from __future__ import annotations

from dataclasses import dataclass

from wengert.compiler.llvm import convert
from wengert.compiler.llvm.arithmetic import Arithmetic
from wengert.compiler.llvm.build import Target
from wengert.compiler.llvm.emit import Function, Operand, Value
from wengert.compiler.llvm.scalars import Scalars
from wengert.compiler.llvm.types import computed, stored, vector, width
from wengert.core import dtypes
from wengert.core.dtypes import DType

SMALL = 4096  # entries; below it one thread is faster than two


def wide(dtype: DType) -> DType:
    """The dtype that a dtype is added up in."""
    return dtypes.float32 if dtype in convert.HALVES else dtype


def split_lanes(count: int) -> list[tuple[int, int]]:
    """Vectors for `count` entries, less than a whole vector's: their starts and lengths, which are
    powers of two, so that no mask is needed."""
    found, start = [], 0
    while start < count:
        length = 1 << ((count - start).bit_length() - 1)
        found.append((start, length))
        start += length
    return found


@dataclass(frozen=True)
class Entries:
    """Neighbouring entries of a dtype: loads and stores of so many at once (1: a number)."""

    f: Function
    dtype: DType
    target: Target

    @property
    def rules(self) -> Arithmetic:
        """Arithmetic on what is loaded."""
        return Scalars(self.f, self.dtype, target=self.target)

    @property
    def lanes(self) -> int:
        """Entries of a whole vector."""
        return width(self.dtype)

    def at(self, base: Value, index: Operand) -> Value:
        """The address of an entry."""
        return self.f.at(base, index, stored(self.dtype))

    def load(self, place: Value, length: int) -> Value:
        """Entries as they are computed with."""
        raw = self.f.load(vector(length if length > 1 else 0, stored(self.dtype)), place)
        return convert.unpack(self.rules, raw, self.dtype)

    def store(self, x: Value, place: Value) -> None:
        """Write entries."""
        self.f.store(convert.pack(self.rules, x, self.dtype), place)

    def type(self, length: int) -> str:
        """The type of entries in registers."""
        return vector(length if length > 1 else 0, computed(self.dtype))
