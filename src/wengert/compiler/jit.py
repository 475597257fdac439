"""`jit`: a function that is traced once, compiled, and run as one native program from then on."""

from __future__ import annotations

import functools
import inspect
import sys
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from time import perf_counter
from typing import Any

import numpy as np

from wengert.compiler import forks
from wengert.compiler.buffers import address
from wengert.compiler.cached import Cached, Plain, make, names_of
from wengert.compiler.compile import prepare, uncollected
from wengert.compiler.explain import History
from wengert.compiler.ir import Program
from wengert.compiler.signature import Signature, Static, read
from wengert.compiler.tracing import inside_jit
from wengert.core.errors import ArgumentError, TraceError
from wengert.core.live import clock
from wengert.core.state import state
from wengert.core.tensor import Tensor
from wengert.transforms.call import check_function

_new_tensor = Tensor.__new__
_ndarray = np.ndarray


def jit(
    f: Callable[..., Any] | None = None,
    *,
    static_argnums: int | Iterable[int] = (),
    static_argnames: str | Iterable[str] = (),
    cache_size: int = 64,
    check: bool = False,
    check_nan: bool = False,
) -> Any:
    """Compile a function: a loss, a gradient, or a whole training step with its state.

    The function runs once for each kind of arguments, on symbolic tensors; what it computed is
    compiled into one native program, and later calls run that. Parameters, buffers, optimizer
    state, gradients and random generators that the function reads or writes are found by
    themselves and updated as they are eagerly: in place where nobody else holds their arrays.

    Arguments are pytrees. Arrays are inputs of the program; numbers, strings and other hashable
    values are static: each new value is compiled anew, so pass a number that changes as an array.
    Modules, optimizers and generators may be arguments, and are told apart by identity.

    Python's own side effects (print, a list that grows, a counter) do not happen in later calls;
    those that can be seen are errors.

    Parameters
    ----------
    f : the function, or a method; without it, `jit` is a decorator with options
    static_argnums, static_argnames : arguments that are static as a whole
    cache_size : how many programs are kept; the one that was not used for longest goes first
    check : trace the function twice, and raise an error unless both traces are the same program
    check_nan : raise an error where a result, or a new value of state, has NaN. It names the line
        that the NaN came from, backward passes and loops included; nothing is then changed. (What
        is updated in place is copied before each call.)

    >>> import wengert as wg
    >>> model = wg.nn.Linear(2, 1); opt = wg.optim.SGD(model.parameters(), lr=0.1)
    >>> @wg.jit
    ... def step(x, y):
    ...     loss = ((model(x) - y) ** 2).mean()
    ...     loss.backward(); opt.step(); opt.zero_grad()
    ...     return loss
    >>> x, y = wg.ones((4, 2)), wg.zeros((4, 1))
    >>> bool(step(x, y) > step(x, y))
    True
    """
    if f is None:
        return functools.partial(
            jit,
            static_argnums=static_argnums,
            static_argnames=static_argnames,
            cache_size=cache_size,
            check=check,
            check_nan=check_nan,
        )
    check_function("jit", f)
    numbers = (static_argnums,) if isinstance(static_argnums, int) else tuple(static_argnums)
    names = (static_argnames,) if isinstance(static_argnames, str) else tuple(static_argnames)
    if cache_size < 1:
        raise ArgumentError(
            "jit", "cache_size is at least 1", met=repr(cache_size), fix="leave it out for 64"
        )
    _check_kind(f)
    _check_static(f, numbers, names)
    return Jit(f, numbers, names, cache_size, check, check_nan)


def _check_kind(f: Callable[..., Any]) -> None:
    """The error for a function whose body does not run when it is called."""
    kinds = (
        (inspect.isgeneratorfunction, "a generator"),
        (inspect.iscoroutinefunction, "a coroutine"),
        (inspect.isasyncgenfunction, "an asynchronous generator"),
    )
    for is_kind, kind in kinds:
        if is_kind(f):
            raise ArgumentError(
                "jit",
                f"{kind} cannot be compiled: its body runs after the call",
                met=getattr(f, "__qualname__", repr(f)),
                fix="compile the function that computes one step, and call it there",
            )


def _check_static(f: Callable[..., Any], numbers: Sequence[int], names: Sequence[str]) -> None:
    """The error for static arguments that the function does not have."""
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):  # not known: some built-in functions
        return
    kinds = {p.kind for p in parameters}
    by_place = [p.name for p in parameters if p.kind in _BY_PLACE]
    by_name = [p.name for p in parameters if p.kind in _BY_NAME]
    for n in numbers:
        if (
            not -len(by_place) <= n < len(by_place)
            and inspect.Parameter.VAR_POSITIONAL not in kinds
        ):
            raise ArgumentError(
                "jit",
                "static_argnums names an argument that the function does not have",
                met=f"{n}, and {len(by_place)} positional parameters",
                fix="count from 0; self counts as well; name keyword arguments in static_argnames",
            )
    for name in names:
        if name not in by_name and inspect.Parameter.VAR_KEYWORD not in kinds:
            raise ArgumentError(
                "jit",
                "static_argnames names an argument that the function does not have",
                met=f"{name!r}, and the parameters {', '.join(by_name) or '(none)'}",
                fix="write it as it stands in the function's definition",
            )


_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Jit:
    """What `jit` returns: the function, compiled."""

    def __init__(
        self,
        f: Callable[..., Any],
        static_argnums: Sequence[int],
        static_argnames: Sequence[str],
        cache_size: int,
        check: bool = False,
        check_nan: bool = False,
    ) -> None:
        functools.update_wrapper(self, f, updated=())  # not the attributes of a module
        self.f = f
        self.static_argnums, self.static_argnames = static_argnums, static_argnames
        self.cache_size, self.check, self.check_nan = cache_size, check, check_nan
        self.name = getattr(f, "__qualname__", type(f).__name__)
        self.cache: OrderedDict[Any, list[Cached]] = OrderedDict()
        self.history = History(self.name, f)
        self.lock = forks.lock_of(self)
        self.methods: weakref.WeakKeyDictionary[Any, Jit] = weakref.WeakKeyDictionary()
        self.running: list[Any] = []  # keys of the traces that are going on, innermost last
        self.recent: Plain | None = None  # the last one, if it may be called the short way

    # -- calling -----------------------------------------------------------------------------

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Run the function; see `jit`."""
        # The short way: the program of the last call, for arrays of the same shapes and dtypes.
        recent = self.recent
        if (
            recent is not None
            and clock.settings == recent.settings
            and len(args) == recent.count
            and not kwargs
            and state.trace is None
            and state.watch is None
            and state.recording is recent.recording
            and (not recent.names or recent.bindings.same())
        ):
            entry = recent.entry
            table, slots, i = entry.table, recent.slots, 0
            lock = entry.lock
            lock.acquire()
            try:
                entry.given = None
                for a in args:
                    if a.__class__ is Tensor:
                        if a._node is not None:
                            break
                        a = a._data
                    elif a.__class__ is not _ndarray:
                        break
                    if a.dtype is not recent.dtypes[i] or a.shape != recent.shapes[i]:
                        break
                    slot = slots[i]
                    if slot is not None:
                        table[slot] = place = address(a)
                        if place & recent.masks[i] or not a.flags.c_contiguous:
                            break
                    i += 1
                else:
                    for box, has in recent.present:
                        if (box._node.grad is not None) is not has:
                            break
                    else:
                        arrays = entry.run()
                        if recent.single:
                            result = _new_tensor(Tensor)
                            result._data, result._node = arrays[0], None
                            return result
                        return entry.plan.result(entry.wrapped(arrays))
            finally:
                lock.release()
        return self._general(args, kwargs)

    def _general(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Any call."""
        if inside_jit():
            return self._inline(args, kwargs)
        signature = self._signature(args, kwargs)
        cached = self._cached(signature)
        if cached is None:
            return self._inline(args, kwargs)
        return cached.call(signature)

    def prepare(self, /, *args: Any, **kwargs: Any) -> None:
        """Compile for such arguments, if that was not done yet, and run nothing."""
        if not inside_jit():
            self._cached(self._signature(args, kwargs))

    def _signature(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Signature:
        if self.static_argnums or self.static_argnames:
            given = list(args)
            for n in self.static_argnums:
                if -len(args) <= n < len(args):
                    given[n] = Static(args[n])
            args = tuple(given)
            kwargs = {k: Static(v) if k in self.static_argnames else v for k, v in kwargs.items()}
        return read(args, kwargs)

    def _cached(self, signature: Signature) -> Cached | None:
        """The program for a call, compiled if need be; None where the call cannot be one op."""
        with self.lock:
            found = self.cache.get(signature.key, [])
            for cached in found:
                if cached.is_current():
                    self.cache.move_to_end(signature.key)
                    self._remember(cached)
                    return cached
            made = self._compile(signature, found)
            found[:] = [c for c in found if not c.is_dead()]
            if made is not None and not made.once:
                self.cache[signature.key] = [*found, made]
                self.cache.move_to_end(signature.key)
                self._remember(made)
                self._evict()
            return made

    def _remember(self, cached: Cached) -> None:
        if isinstance(cached, Plain) and cached.short:
            self.recent = cached

    def _evict(self) -> None:
        """Drop what was not used for longest, until there are as many as there may be."""
        while sum(map(len, self.cache.values())) > self.cache_size:
            key, oldest = next(iter(self.cache.items()))
            gone = oldest.pop(0)
            if self.recent is gone:
                self.recent = None
            if not oldest:
                del self.cache[key]

    def _compile(self, signature: Signature, before: Sequence[Cached]) -> Cached | None:
        started = perf_counter()
        with uncollected():
            prepare()
            cached = make(self, signature)
        if cached is not None:
            spent = perf_counter() - started
            self.history.add(signature, cached, before, names_of(self, signature), spent)
        return cached

    def traced(self, signature: Signature) -> Callable[..., Any]:
        """The function as it is traced: it knows that it is running."""

        @functools.wraps(self.f, updated=())
        def run(*args: Any, **kwargs: Any) -> Any:
            self.running.append(signature.key)
            try:
                return self.f(*args, **kwargs)
            finally:
                self.running.pop()

        return run

    def _inline(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Inside of another trace the function is simply run: it becomes a part of that."""
        key = self._signature(args, kwargs).key
        if key in self.running:
            raise TraceError(
                "jit",
                f"{self.name} calls itself with arguments like those that it was called with",
                met="a trace inside of its own trace, without end",
                cause="recursion that would end on a value, which a trace does not have",
                fix="use wg.fori_loop or wg.scan, or recurse on a static number",
            )
        self.running.append(key)
        try:
            return self.f(*args, **kwargs)
        finally:
            self.running.pop()

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """As a method: each object has its own programs."""
        if instance is None:
            return self
        return BoundJit(self._of(instance), instance)

    def _of(self, instance: Any) -> Jit:
        """The compiled method of an object."""
        bound = self.methods.get(instance)
        if bound is None:
            method = _Method(self.f, instance)
            numbers = [n - 1 for n in self.static_argnums if n > 0]
            bound = Jit(method, numbers, *self._options[1:])
            self.methods[instance] = bound
        return bound

    # -- looking at it -------------------------------------------------------------------------

    def program(self, /, *args: Any, **kwargs: Any) -> Program:
        """The program for a call with such arguments, which is compiled but not run."""
        cached = self._cached(self._signature(args, kwargs))
        assert cached is not None
        return cached.program

    lower = program

    def bind(self, /, *args: Any, **kwargs: Any) -> Any:
        """The step on the buffers of these very arrays, for calls that cost almost nothing.

        A call of the result reads what the arrays hold at that time: write new data into the NumPy
        arrays that were passed, in place.

        >>> import numpy as np, wengert as wg
        >>> x = np.ones(3); total = wg.jit(lambda x: x.sum()).bind(x)
        >>> x[:] = 2.0; float(total())
        6.0
        """
        from wengert.compiler.bound import Bound

        return Bound(self, args, kwargs)

    def explain(self) -> Any:
        """What was compiled, when, how long it took, how often it was called, and why again."""
        return self.history.report(self.cache_size)

    def dump(self, /, *args: Any, llvm: bool = False, **kwargs: Any) -> Any:
        """Every stage of the way to native code, for a call with such arguments, each line with
        the user's own; see `wengert.compiler.dump`."""
        from wengert.compiler.stages import dump

        return dump(self, *args, llvm=llvm, **kwargs)

    def memory(self, /, *args: Any, **kwargs: Any) -> Any:
        """What a call with such arguments takes of memory, and which lines of the function take
        the most of it, before it has run.

        >>> import wengert as wg
        >>> found = wg.jit(lambda x: (x @ x).sum()).memory(wg.ones((64, 64)))
        >>> found.inputs, found.outputs, found.arena >= 4 * 64 * 64
        (16384, 4, True)
        """
        from wengert.compiler.stages import memory

        return memory(self, *args, **kwargs)

    def clear_cache(self) -> None:
        """Forget all programs."""
        with self.lock:
            self.cache.clear()
            self.recent = None
            self.history.clear()
            for bound in self.methods.values():
                bound.clear_cache()

    def __repr__(self) -> str:
        return f"<jit of {self.name}, {len(self.history.events)} compiled>"

    def __deepcopy__(self, memo: dict[int, Any]) -> Jit:
        return Jit(self.f, *self._options)

    def __reduce__(self) -> Any:
        """A decorated function of a module is found there by its name, as functions are."""
        found: Any = sys.modules.get(self.f.__module__)
        for part in self.name.split("."):
            found = getattr(found, part, None)
        if found is self:
            return self.name
        return Jit, (self.f, *self._options)

    @property
    def _options(self) -> tuple[Any, ...]:
        """All that it was made with but the function."""
        numbers, names = self.static_argnums, self.static_argnames
        return numbers, names, self.cache_size, self.check, self.check_nan


class BoundJit(functools.partial[Any]):
    """A compiled method of an object, as `object.method` gives it: it keeps the object alive, which
    the programs do not. It has all that a `Jit` has."""

    instance: Any  # an attribute, not a slot: then a partial of this one keeps it whole

    def __new__(cls, compiled: Jit, instance: Any) -> BoundJit:
        made = super().__new__(cls, compiled)
        made.instance = instance
        return made

    def __getattr__(self, name: str) -> Any:
        return getattr(self.func, name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BoundJit) and other.func is self.func

    def __hash__(self) -> int:
        return hash(self.func)

    def __repr__(self) -> str:
        return repr(self.func)

    def __reduce__(self) -> Any:
        return getattr, (self.instance, self.func.__name__)


class _Method:
    """A method of an object that is held weakly: `BoundJit` has the object."""

    def __init__(self, f: Callable[..., Any], instance: Any) -> None:
        functools.update_wrapper(self, f, updated=())
        self.f, self.reference = f, weakref.ref(instance)

    @property
    def __self__(self) -> Any:
        found = self.reference()
        if found is None:
            raise TraceError(
                "jit",
                f"the object of the compiled method {self.f.__qualname__} has died",
                cause="the bound method was kept, but not the object",
                fix="keep the object as well",
            )
        return found

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.f(self.__self__, *args, **kwargs)


__all__ = ["Jit", "jit"]
