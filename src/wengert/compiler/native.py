"""A program as native code: assembled, compiled, loaded."""

from __future__ import annotations

from wengert.compiler.assemble import Assembly, assemble
from wengert.compiler.frame import emit_copying, emit_placing
from wengert.compiler.ir import Program
from wengert.compiler.linked import FAULT, FAULTS, Linked, load_libraries
from wengert.compiler.llvm import build
from wengert.compiler.llvm.emit import Module
from wengert.compiler.llvm.types import I64, PTR
from wengert.compiler.refusals import refusal


class Native(Linked):
    """A program that is compiled here and now; see `Linked`.

    Attributes
    ----------
    assembly : its jobs, their steps, and the text of the code
    name : of the code in the cache on disk
    """

    def __init__(self, program: Program, threads: int | None = None) -> None:
        made = self.assembly = assemble(program)
        load_libraries(made.module.libraries)
        for emit in (emit_placing, emit_copying, _emit_faults):
            emit(made.module)
        text = made.module.text()
        self.name = build.name_of(text)
        try:
            code = build.load_cached(text)
        except RuntimeError as refused:
            raise refusal(made, refused) from refused
        super().__init__(program, made, code, len(made.checks), threads)

    def whole(self) -> Assembly:
        return self.assembly


def _emit_faults(module: Module) -> None:
    """`i64 any_fault(ptr)`: whether one of the reports, whose place and number it gets, is set."""
    f = module.function(FAULTS, [PTR], I64)
    (args,) = f.args
    reports = f.load(PTR, args)
    found = f.variable(I64, 0)
    with f.loop(0, f.load(I64, f.at(args, 1, I64))) as i:
        found.set(found.get() | f.load(I64, f.at(reports, i * 2, I64)))
    f.ret(f.select(f.compare("ne", found.get(), 0), f.i64(FAULT), f.i64(0)))
