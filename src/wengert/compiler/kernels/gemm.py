"""Matrix multiplication: what is to be computed, and which of the kernels computes it.

`Gemm` describes c = alpha·a·b for (stacks of) matrices that lie in memory in any way. Results do
not depend on threads, tiles or the processor: each entry of c is one chain of multiply-adds

    s ← 0,   s ← a[i, p]·b[p, j] + s   for p = 0, 1, …, k − 1

with one rounding a step, except for two cases, which sizes and strides alone decide:

* *Dots*: where one matrix is a single row (or column) and the other's k runs along memory, entry p
  goes to chain p mod 2L, with L = 16 for float32 and 8 for float64. The second L chains are added
  to the first L; then halves are added, L/2 to L/2 and so on, until one number is left.
* *Cut*: where k is long and c small, k is cut into ranges of `Problem.cut` entries, each a sum of
  its own (a chain, or dots). These are added one after the other.

With `accumulate`, a chain starts from c's old entry instead of 0. In the other cases (alpha ≠ 1,
half precision, dots, cut) the old entry is added at the end: c + alpha·s. Half precision is widened
to float32, and the result is rounded once. Integers wrap around. NaN and infinities are carried on
as IEEE arithmetic has it: no product is left out, not even with zero. A processor without fused
multiply-add rounds twice in each step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from wengert.compiler.kernels.base import Array, Epilogue, Grid, Phase, Workspace
from wengert.compiler.kernels.gemm_blocked import Blocked, DotRows
from wengert.compiler.kernels.gemm_problem import Problem, problem
from wengert.compiler.kernels.gemm_small import Small, is_small
from wengert.compiler.llvm import build
from wengert.compiler.llvm.build import Target
from wengert.compiler.llvm.emit import Module
from wengert.core.dtypes import DType


@dataclass(frozen=True)
class Gemm:
    """c = alpha·a·b, or c += alpha·a·b, as a `Kernel`; the operands are a and b, the result c.

    Strides are in entries, one for each batch axis (`batch`) and two for the matrix: a (…, m, k),
    b (…, k, n), c (…, m, n). Those of a and b are free (0 repeats a matrix); of c, either columns
    or rows must be neighbours in memory.

    The epilogue gets pieces of rows of c, with `row` counting the rows of all matrices of the
    batch: b·m + i. Where `swapped` is true, its rows are c's columns: row b·n + j, column i.
    """

    dtype: DType
    batch: tuple[int, ...]
    m: int
    n: int
    k: int
    a: tuple[int, ...]
    b: tuple[int, ...]
    c: tuple[int, ...]
    accumulate: bool = False
    alpha: float = 1.0
    target: Target = field(default_factory=build.host)

    @staticmethod
    def of(a: Array, b: Array, c: Array, accumulate: bool = False, alpha: float = 1.0) -> Gemm:
        """The product of arrays (…, m, k) and (…, k, n) as they lie in memory."""
        *batch, m, n = c.shape
        sizes = (tuple(batch), m, n, a.shape[-1])
        return Gemm(c.dtype, *sizes, a.strides, b.strides, c.strides, accumulate, alpha)

    @property
    def swapped(self) -> bool:
        """Whether the kernel computes cᵀ = bᵀ·aᵀ, and the epilogue sees rows of cᵀ."""
        return self.problem.swapped

    @property
    def grid(self) -> Grid:
        """The rows and columns that the epilogue sees."""
        p = self.problem
        return Grid((*((x.size, x.c) for x in p.batch), (p.rows, p.row_c)), p.columns)

    @cached_property
    def problem(self) -> Problem:
        """The product in the kernels' form."""
        return problem(self.batch, self.m, self.n, self.k, self.a, self.b, self.c)

    @cached_property
    def plan(self) -> Blocked | Small:
        """The kernel that computes it."""
        if is_small(self, self.problem):
            return Small(self, self.problem)
        return (DotRows if self.problem.dots else Blocked)(self, self.problem)

    @property
    def workspace(self) -> Workspace:
        """Scratch memory."""
        return self.plan.workspace

    def emit(self, module: Module, name: str, epilogue: Epilogue | None = None) -> list[Phase]:
        """Write the steps into a module."""
        if not self.problem.count * self.m * self.n:
            return []
        return self.plan.emit(module, name, epilogue)
