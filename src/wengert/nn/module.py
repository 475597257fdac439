"""`Module`: the base of all layers. It names the parameters, buffers and submodules given to it.

A module is used in two ways. As an *object*: it holds `Parameter`s, boxes that an optimizer
updates. As a *pytree*: `wg.grad`, `tree_map` and the other transforms see the values of its
trainable parameters as leaves, and give back a module of the same build; see `wengert.nn.pytree`.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Self

from wengert.core.dtypes import as_dtype, is_float
from wengert.core.errors import ArgumentError, DtypeError
from wengert.core.state import state
from wengert.core.tensor import Tensor
from wengert.core.variable import Parameter
from wengert.nn import loading
from wengert.nn.owner import MODULE, Owner, structure_version
from wengert.transforms.call import zeros_like

__all__ = ["Module", "Parameter"]


class _Running(threading.local):
    """Where this thread is: the paths of the modules below the outermost one that is running."""

    paths: dict[int, str] | None = None


_running = _Running()


def _no_forward(self: Module, *args: Any, **kwargs: Any) -> Any:
    raise ArgumentError(
        type(self).__name__,
        "the module does not say what it computes",
        cause="no forward method, or a misspelt one",
        fix="define `def forward(self, x):` in the class",
    )


class Handle:
    """What `register_forward_hook` returns: `remove()` takes the hook away again."""

    def __init__(self, module: Module, slot: str, hook: Callable[..., Any]) -> None:
        self.module, self.slot, self.hook = module, slot, hook

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        kept = list(getattr(self.module, self.slot))
        if self.hook in kept:
            kept.remove(self.hook)
        self.module._set(self.slot, tuple(kept))

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


class Module(Owner):
    """Base class of layers and models.

    A subclass calls `super().__init__()` first, assigns parameters and submodules as attributes,
    and defines `forward`. Attributes are registered by their type: a `Parameter` is trained, a
    `Variable` is a buffer (state that is saved but not trained), a `Module` is a part.

    >>> import wengert as wg
    >>> class Scale(wg.nn.Module):
    ...     def __init__(self, size):
    ...         super().__init__()
    ...         self.weight = wg.nn.Parameter(wg.ones(size))
    ...     def forward(self, x):
    ...         return x * self.weight
    >>> model = Scale(3)
    >>> model(wg.ones(3)).sum().backward()
    >>> [(name, p.grad.tolist()) for name, p in model.named_parameters()]
    [('weight', [1.0, 1.0, 1.0])]
    """

    training: bool = True
    forward: Callable[..., Any] = _no_forward
    _pre_hooks: tuple[Callable[..., Any], ...] = ()
    _hooks: tuple[Callable[..., Any], ...] = ()
    _paths: tuple[int, dict[int, str]] = (-1, {})

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "training", True)

    # -- running -----------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run `forward` and the hooks; nodes made inside know this module's path."""
        outer_paths, outer_path = _running.paths, state.module
        path = None if outer_paths is None else outer_paths.get(id(self))
        if path is None:  # the outermost module, or one that the running module does not own
            _running.paths, path = self._enter(outer_paths is not None, outer_path)
        state.module = path
        if state.trace is not None:
            state.trace.reach(self)
        try:
            for hook in self._pre_hooks:
                args = _as_args(hook(self, args), args)
            out = self.forward(*args, **kwargs)
            for hook in self._hooks:
                replaced = hook(self, args, out)
                out = out if replaced is None else replaced
            return out
        finally:
            state.module = outer_path
            _running.paths = outer_paths

    def _enter(self, nested: bool, outer_path: str) -> tuple[dict[int, str], str]:
        """Paths of all modules below this one, and its own."""
        cached, version = self._paths, structure_version()
        if cached[0] != version:
            cached = (version, {id(module): path for path, module in self.named_modules()})
            object.__setattr__(self, "_paths", cached)
        paths = cached[1]
        if not nested:
            return paths, ""
        own = f"{outer_path}.{type(self).__name__}".lstrip(".")
        return {key: f"{own}.{path}".rstrip(".") for key, path in paths.items()}, own

    def register_forward_pre_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call `hook(module, args)` before `forward`; what it returns (if not None) replaces the
        positional arguments. The result's `remove()` undoes this."""
        self._set("_pre_hooks", (*self._pre_hooks, hook))
        return Handle(self, "_pre_hooks", hook)

    def register_forward_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call `hook(module, args, output)` after `forward`; what it returns (if not None)
        replaces the output. The result's `remove()` undoes this."""
        self._set("_hooks", (*self._hooks, hook))
        return Handle(self, "_hooks", hook)

    def num_parameters(self, trainable_only: bool = False) -> int:
        """The number of values in all parameters, tied ones counted once.

        >>> import wengert as wg
        >>> wg.nn.Linear(3, 2).num_parameters()
        8
        """
        return sum(p.size for p in self.parameters() if p.requires_grad or not trainable_only)

    # -- changing everything inside ----------------------------------------------------------

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call `fn` on every module below, children first, and on this one; returns it."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def train(self, mode: bool = True) -> Self:
        """Switch training behaviour (dropout, batch statistics) on or off; returns the module."""
        for module in self.modules():
            if module.training is not bool(mode):
                module._set("training", bool(mode))
        return self

    def train_alone(self, mode: bool) -> None:
        """Switch training behaviour of this module only, not of its parts."""
        self._set("training", mode)

    def eval(self) -> Self:
        """Switch training behaviour off; returns the module."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Track (or stop tracking) every floating parameter; returns the module."""
        for p in self.parameters():
            if is_float(p.dtype):
                p.requires_grad_(requires_grad)
        return self

    def freeze(self, *patterns: str) -> Self:
        """Stop training the parameters whose path matches one of the patterns, or all.

        A pattern is a path ("features" means all below it) or has wildcards ("*.bias"). Frozen
        parameters get no gradient and are no leaves of the pytree. Running statistics are
        buffers: `eval()` is what stops them. Returns the module.

        >>> import wengert as wg
        >>> model = wg.nn.Sequential(wg.nn.Linear(2, 2), wg.nn.Linear(2, 1)).freeze("0")
        >>> [name for name, p in model.named_parameters() if p.requires_grad]
        ['1.weight', '1.bias']
        """
        return self._set_trainable(patterns, False)

    def unfreeze(self, *patterns: str) -> Self:
        """Train again the parameters whose path matches one of the patterns, or all; see
        `freeze`."""
        return self._set_trainable(patterns, True)

    def _set_trainable(self, patterns: tuple[str, ...], trainable: bool) -> Self:
        named = list(self.named_parameters(remove_duplicate=False))
        for pattern in patterns:
            if not any(_matches(name, pattern) for name, _ in named):
                raise ArgumentError(
                    "unfreeze" if trainable else "freeze",
                    "no parameter has such a path",
                    met=repr(pattern),
                    fix="choose among " + ", ".join(name for name, _ in named),
                )
        for name, p in named:
            if not patterns or any(_matches(name, pattern) for pattern in patterns):
                p.requires_grad_(trainable)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, or make them zeros."""
        for p in self.parameters():
            if set_to_none:
                p.grad = None
            elif p.grad is not None:
                p.grad = zeros_like(p)

    def to(self, dtype: Any) -> Self:
        """Convert floating parameters and buffers to another floating dtype; returns the module.

        The boxes stay the same objects, so an optimizer that holds them need not be told.
        """
        dtype = as_dtype(dtype)
        if not is_float(dtype):
            raise DtypeError(
                "to",
                "parameters can only be converted to a floating dtype",
                met=str(dtype),
                fix="use wg.float32, wg.float64, wg.float16 or wg.bfloat16",
            )
        for box in itertools.chain(self.parameters(), self.buffers()):
            if is_float(box.dtype):
                box.retype(dtype)
        return self

    def float(self) -> Self:
        """`to(float32)`."""
        return self.to("float32")

    def double(self) -> Self:
        """`to(float64)`."""
        return self.to("float64")

    def half(self) -> Self:
        """`to(float16)`."""
        return self.to("float16")

    # -- state -------------------------------------------------------------------------------

    def state_dict(self, prefix: str = "") -> dict[str, Tensor]:
        """Path → value of all parameters and persistent buffers, in order of registration.

        It is a snapshot: values are immutable, so later training does not change it, and nothing
        was copied. A tied parameter is listed at each of its places.
        """
        return {prefix + path: Tensor(box._data) for path, box in loading.saved_boxes(self)}

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True
    ) -> loading.IncompatibleKeys:
        """Take over the values of a state dict: tensors, arrays, or anything that
        `numpy.asarray` reads. They are copied, and cast to each parameter's dtype.

        All is checked before anything is changed: one `StateError` lists every missing,
        unexpected, misshapen or unreadable entry. With `strict=False`, missing and unexpected
        ones are returned in place of being an error.
        """
        return loading.load(self, state_dict, strict)

    def __getstate__(self) -> dict[str, Any]:
        """What copies take over: all but the cached paths, which name objects by identity."""
        return {name: value for name, value in self.__dict__.items() if name != "_paths"}

    # -- showing -----------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What a subclass shows of its settings in `repr`."""
        return ""

    def __repr__(self) -> str:
        parts = [
            f"({name}): " + repr(self.__dict__[name]).replace("\n", "\n  ")
            for name, kind in self._members.items()
            if kind == MODULE
        ]
        extra = self.extra_repr()
        if not parts:
            return f"{type(self).__name__}({extra})"
        return f"{type(self).__name__}({extra}\n  " + "\n  ".join(parts) + "\n)"


def _as_args(replaced: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    if replaced is None:
        return args
    return replaced if isinstance(replaced, tuple) else (replaced,)


def _matches(name: str, pattern: str) -> bool:
    return name == pattern or name.startswith(pattern + ".") or fnmatchcase(name, pattern)
