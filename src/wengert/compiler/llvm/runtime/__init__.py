"""The native part of the runtime: the walker of programs, barriers, and the loop of a worker.

`run(block, program, threads)` walks the steps of a program (see `steps`). With one thread that is a
bare loop. With more, all threads walk the same steps, each with its own number, and meet in
barriers. The *block* is the memory that they share, in lines of 64 bytes so that no two threads
write to the same one; `threads` makes it, and starts the workers.

A *ticket* (number of the job, threads that it needs) calls the workers. It is one word, so that a
worker which is not needed never looks at the rest of a job, and the caller need not wait for it.

A barrier goes in rounds: in round k a thread writes the number of the barrier to the line of the
thread 2ᵏ further on, and waits for its own line (D. Hensgen, R. Finkel and U. Manber, "Two
algorithms for barrier synchronization", 1988). For two threads that is one store and one load each.
"""

from __future__ import annotations

from functools import lru_cache

from wengert.compiler.llvm.emit import Module
from wengert.compiler.llvm.runtime.jobs import (
    emit_close,
    emit_request,
    emit_rouse,
    emit_run,
    emit_take_part,
    emit_work,
)
from wengert.compiler.llvm.runtime.waiting import (
    emit_barrier,
    emit_linger,
    emit_pauses,
    emit_was_late,
)
from wengert.compiler.llvm.runtime.walking import emit_decide, emit_loop, emit_walk


@lru_cache(maxsize=8)
def text(triple: str) -> str:
    """The runtime's module for a kind of processor."""
    module = Module()
    emit_pauses(module, triple)
    emit_linger(module)
    emit_was_late(module)
    emit_barrier(module, triple)
    emit_decide(module)
    for together in (False, True):
        emit_loop(module, together)
        emit_walk(module, together)
    emit_rouse(module)
    emit_take_part(module)
    emit_run(module)
    emit_request(module)
    emit_work(module, triple)
    emit_close(module)
    return module.text()
