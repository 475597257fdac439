"""Stand-ins for wengert's compiled calls, so that the same code runs in the eager engine.

The table shows the interpreter beside the compiler, and the benchmarks stay usable where a version
of the library has no compiler: the row then says "not compiled".
"""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any


class Plain:
    """What `wg.jit` returns, without compiling anything."""

    def __init__(self, f: Callable[..., Any]) -> None:
        self.f = f
        update_wrapper(self, f)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.f(*args, **kwargs)

    def bind(self, *args: Any, **kwargs: Any) -> Callable[[], Any]:
        """The call with these arguments."""
        return lambda: self.f(*args, **kwargs)


def jit(f: Callable[..., Any] | None = None, **options: Any) -> Any:
    """In place of `wg.jit`."""
    return Plain if f is None else Plain(f)


def fori_loop(lower: int, upper: int, body: Callable[[int, Any], Any], init: Any) -> Any:
    """In place of `wg.fori_loop`."""
    for i in range(lower, upper):
        init = body(i, init)
    return init


def scan(f: Callable[[Any, Any], tuple[Any, Any]], init: Any, xs: Any) -> tuple[Any, Any]:
    """In place of `wg.scan`, for results that are tensors of one shape."""
    import wengert as wg

    leaves, tree = wg.tree.tree_flatten(xs)
    found = []
    for i in range(leaves[0].shape[0]):
        init, y = f(init, tree.unflatten([leaf[i] for leaf in leaves]))
        found.append(y)
    return init, wg.stack(found)


def interpret(wg: Any) -> None:
    """Let the code of workloads run uncompiled in this process."""
    wg.jit, wg.fori_loop, wg.scan = jit, fori_loop, scan
